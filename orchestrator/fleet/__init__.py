"""Hosts: how they come up, what runs where."""
