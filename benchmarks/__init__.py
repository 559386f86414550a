"""What is timed, against what; each script prints a table."""
