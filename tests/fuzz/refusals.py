"""What a reader may do with a wrong input: refuse it in a sentence that can be printed anywhere."""

from __future__ import annotations

from agents.generators.contract import BadMessage
from agents.rows import MalformedRow
from agents.wire import BadFrame
from orchestrator.errors import ConfigurationError, HostError, StoredRunError, UsageError

REFUSALS = (ConfigurationError, UsageError, StoredRunError, HostError, BadFrame, BadMessage, MalformedRow)
# A message that is longer shows a whole input.
LONGEST = 1000


def check_refusal(error: Exception) -> None:
    """Raise AssertionError for a refusal that says nothing, or shows a whole input."""
    if isinstance(error, ConfigurationError):
        assert error.problems, "a refusal without a problem"
        for problem in error.problems:
            check_text(problem.where)
            check_text(f"{problem.what}{problem.hint}")
    else:
        check_text(getattr(error, "message", str(error)))


def check_text(text: str) -> None:
    """Raise AssertionError unless a text is a sentence. What a terminal must not see is replaced where it is printed."""
    assert 0 < len(text) <= LONGEST, f"a message of {len(text)} characters: {text[:200]!r}"
