"""Errors that cross from a host as text, and the address at which hosts reach the coordinator."""

from pathlib import Path

import pytest

from agents.generators.adapter import NotArmed
from agents.generators.h2load import H2loadMissing
from agents.images import BuildFailed
from agents.server_host import EngineUnreachable, PortInUse
from orchestrator.errors import HostError
from orchestrator.fleet.hosts import failed
from orchestrator.fleet.members import our_address
from orchestrator.fleet.nodes import first_error
from orchestrator.spec.inventory import Inventory


@pytest.mark.parametrize("kind", [BuildFailed, EngineUnreachable, H2loadMissing, NotArmed, PortInUse])
def test_an_error_that_the_user_can_fix_says_how(kind):
    """Hints are kept by name, so that the coordinator imports none of these classes."""
    names = [each.__name__ for each in kind.__mro__]
    error = failed("web", "start", names, "why")

    assert error.message == "host web: why"
    assert error.hint


def test_any_other_error_names_the_call():
    """In one line."""
    assert failed("web", "start", ["KeyError", "Exception"], "x\ny").message == "host web: start failed: KeyError: x"


@pytest.mark.parametrize(
    ("log", "error"),
    [
        ("starting\nTraceback (most recent call last):\n  File x\n    y\nOSError: no room\nTraceback (most recent call "
         "last):\n  z\nKeyError: 1\n", "OSError: no room"),
        ("hello\nE1 Failed to bind the socket\nW2 shutting down\nbye\n", "E1 Failed to bind the socket"),
        ("hello\nbye\n\n", "bye"),
        ("", "without a message"),
    ],
    ids=["traceback", "log lines", "no error", "nothing"],
)  # fmt: skip
def test_the_first_error_of_a_log_is_shown(log, error):
    """Not the last line, which is often only a consequence."""
    assert first_error(log) == error


@pytest.mark.process
def test_the_coordinator_s_name_becomes_an_address():
    """Ray takes no names; one that is unknown here is an error before anything starts."""
    hosts = {"gen": {"address": "127.0.0.2", "roles": ["load"]}}

    def address_of(name):
        return our_address(Inventory.model_validate({"hosts": hosts, "coordinator": {"address": name}}), Path())

    assert address_of("localhost") in ("127.0.0.1", "::1")
    assert address_of("198.18.0.1") == "198.18.0.1"
    with pytest.raises(HostError, match=r"cannot resolve coordinator\.invalid"):
        address_of("coordinator.invalid")
