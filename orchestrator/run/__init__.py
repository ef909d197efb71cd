"""One trial after the other, from gate to collected results."""
