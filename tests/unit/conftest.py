"""Fixtures of several modules here."""

import pytest

from agents.destinations import is_address
from agents.destinations import resolve as look_up
from agents.generators import h2load_version
from orchestrator.campaign import allowed
from tests.mini_hosts import mini_hosts, trusted

__all__ = ["mini_hosts", "trusted"]


@pytest.fixture(autouse=True)
def no_name_server(monkeypatch):
    """Let the coordinator know no host name but localhost: what a name server says, or that it is slow, must not matter."""

    def resolve(host, port):
        if host == "localhost" or is_address(host):
            return look_up(host, port)
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(allowed, "resolve", resolve)


@pytest.fixture(autouse=True)
def an_h2load(request, monkeypatch):
    """Let this machine have h2load, without asking the program: unit tests start none."""
    if request.node.get_closest_marker("unit") is not None:
        monkeypatch.setattr(h2load_version, "detect", lambda program="h2load": h2load_version.capabilities((1, 64)))
