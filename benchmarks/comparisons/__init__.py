"""Published claims as campaigns: run all of them, and write docs/explanation/comparisons.md from the runs."""
