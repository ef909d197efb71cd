"""Fixtures of several modules here."""

from tests.mini_hosts import mini_hosts, trusted

__all__ = ["mini_hosts", "trusted"]
