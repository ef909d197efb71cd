"""Published claims as campaigns: run all of them, and write docs/comparisons.md from the runs."""
