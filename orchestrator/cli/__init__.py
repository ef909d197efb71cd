"""The command line: one file per kind of verb; exit.py alone maps signals, errors and summaries to exit codes.

No module here imports both towers: results*.py, progress.py and exit.py import evaluation, all others execution.
Where a verb needs both, `campaign` brings them together.
"""
