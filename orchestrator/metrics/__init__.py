"""Runs as Prometheus sees them: live while they last, and stored ones as OpenMetrics text."""
