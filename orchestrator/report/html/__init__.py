"""report.html: one file that needs no network, from a run of any kind or a comparison of two."""
