"""Errors that cross from a host as text, and the address at which hosts reach the coordinator."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from agents.generators.adapter import NotArmed
from agents.generators.h2load_version import H2loadMissing
from agents.images import BuildFailed
from agents.orders import GuardEvent, GuardEventKind
from agents.server_host import EngineUnreachable, PortInUse
from orchestrator.errors import HostError
from orchestrator.fleet.hosts import HostLost, failed
from orchestrator.fleet.members import our_address
from orchestrator.fleet.nodes import end_of, first_error, trouble
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


def test_an_engine_that_stops_answering_is_a_lost_host():
    """Whichever call finds out: by the class of the HTTP client under Docker's."""
    kinds = [kind.__name__ for kind in requests.exceptions.ConnectionError.__mro__]
    error = failed("web", "finish", kinds, "('Connection aborted.', FileNotFoundError(2, 'No such file'))")

    assert isinstance(error, HostLost)
    assert (error.message, error.host) == ("host web: the Docker engine stopped answering (finish)", "web")
    assert "docker" in error.hint


@pytest.mark.parametrize(
    ("log", "gone", "words"),
    [
        ("Some Ray subprocesses exited unexpectedly:\n  raylet [exit code=-9]\n", False,
         "its Ray node died: raylet was killed by signal 9"),
        ("  gcs_server [exit code=1]\n", False, "its Ray node died: gcs_server exited with status 1"),
        ("something else\n", True, "its Ray node died"),
        (None, True, "its guard is gone"),
        (None, False, ""),
    ],
)  # fmt: skip
def test_how_a_node_has_ended_is_told_in_a_few_words(log, gone, words):
    """From what 'ray start --block' prints."""
    ended = None if log is None else GuardEvent(GuardEventKind.ENDED, status=1, log=log)

    guard = SimpleNamespace(ended=ended, gone=gone, host="web")

    assert end_of(guard) == words
    # While it was starting, too: such a start is repeated.
    assert isinstance(trouble(guard, "check it"), HostLost) == ("signal" in words or "status" in words)


def test_a_raylet_that_dies_at_its_start_is_a_lost_host():
    """Ray prints an internal line of its own, at the level of information."""
    log = "2026-11-27 03:22:13,878\tINFO node.py:438 -- Failed to get node info b'RPC error: Deadline Exceeded'\n"
    error = trouble(
        SimpleNamespace(ended=GuardEvent(GuardEventKind.ENDED, log=log), gone=False, host="web"), "check it"
    )

    assert isinstance(error, HostLost)
    assert str(error) == "host web: its Ray node died while it was starting"


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
