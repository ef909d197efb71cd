"""How fast Volley itself is, beside others, on this machine: python -m benchmarks."""
