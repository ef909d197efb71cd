"""From counters to numbers, doubts and conclusions (pure)."""
