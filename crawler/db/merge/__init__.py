"""Several databases joined into one."""
