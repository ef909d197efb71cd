"""The command line: one file per kind of verb; exit.py alone maps signals, errors and summaries to exit codes."""
