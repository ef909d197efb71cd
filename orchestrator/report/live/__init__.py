"""The live view of a run: state from events (pure), lines from state (pure), and the terminal that shows them."""
