"""The command line: one file per kind of verb; exit.py alone maps signals, errors and summaries to exit codes.

The verbs are where a command starts, not where the two towers meet. results*.py, progress.py and exit.py import
evaluation only; all other verbs import execution only. `campaign` alone imports both.
"""
