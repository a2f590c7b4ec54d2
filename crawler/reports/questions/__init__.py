"""The reports: each value of the type `Report` in a module of this folder is one."""
