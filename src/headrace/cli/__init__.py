"""The command line: progress on standard error, data on standard output."""
