"""What every column of every table and view means."""
