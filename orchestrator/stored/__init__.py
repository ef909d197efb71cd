"""Stored runs: open, evaluate, compare and list them without Ray, Docker or h2load."""
