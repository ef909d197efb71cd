"""A Ray cluster that is already there: its nodes as the hosts of a run. docs/adr/0027 explains the decisions."""
