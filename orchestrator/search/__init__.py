"""The search for capacity as pure arithmetic: ask for a rate, be told the outcome, state an interval."""
