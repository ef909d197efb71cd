"""Errors that cross from a host as text."""

import pytest

from agents.generators.adapter import NotArmed
from agents.generators.h2load import H2loadMissing
from agents.images import BuildFailed
from agents.server_host import EngineUnreachable, PortInUse
from orchestrator.fleet.hosts import failed
from orchestrator.fleet.nodes import first_error


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
