"""The search for capacity as pure arithmetic: it asks for a rate, takes the outcome, and states an interval."""
