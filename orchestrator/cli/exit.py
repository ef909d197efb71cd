"""How the command ends: errors and summaries, each with its exit code.

Records of results are imported inside the functions: this module is loaded before Volley has checked
that the package `agents`, which they import, is its own.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from orchestrator.cli import signals
from orchestrator.errors import (
    EXIT_BUG,
    EXIT_FAILED,
    EXIT_INVALID,
    EXIT_OK,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    ConfigurationError,
    Several,
    VolleyError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.result import Compared, GateState
    from orchestrator.search.records import Ending
    from orchestrator.stored.evaluate import Finished

# Folders of another user, and those that are read-only.
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
# A full disk, a file that reached the limit for its size, and a terminal or a disk that fails.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _explain(error: VolleyError) -> None:
    if isinstance(error, ConfigurationError):
        for problem in error.problems:
            _print(f"{problem.where}: {problem.what}", problem.hint)
        return
    for each in error.errors if isinstance(error, Several) else [error]:
        _print(each.message, each.hint)


def _print(message: str, hint: str) -> None:
    # Only where Volley has checked that what it imports is its own; there are no secrets before.
    redact = sys.modules.get("orchestrator.redact")
    if redact is not None:
        message, hint = redact.clean(message), redact.clean(hint)
    typer.echo(f"error: {message}" + (f"\n  -> {hint}" if hint else ""), err=True)


def exit_code_of(error: BaseException) -> int:
    """Explain what ended a verb on stderr, and return its exit code."""
    # The code that a signal interrupted may have wrapped it in an error of its own.
    error = signals.interruption() or error
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_BUG
    if isinstance(error, VolleyError):
        _explain(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return _no_room(error)
    if isinstance(error, OSError) and error.errno in _NOT_ALLOWED and error.filename:
        hint = "check its permissions; XDG_STATE_HOME and XDG_CACHE_HOME choose other folders for Volley's own files"
        _print(f"cannot use {os.fsdecode(error.filename)}: {error.strerror}", hint)
        return EXIT_UNREACHABLE
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        _print("no folder for temporary files can be written", "set TMPDIR to a folder that can be written")
        return EXIT_UNREACHABLE
    if isinstance(error, OSError) and _folder_is_gone():
        _print("the current folder was deleted", "change to a folder that exists, and try again")
        return EXIT_USAGE
    return _unexpected(error)


def _folder_is_gone() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _no_room(error: OSError) -> int:
    """Explain that a disk is full. What waits in standard output is dropped: it would fail again at the exit."""
    where = error.filename or "the output or the run's folder"
    _print(f"cannot write to {where}: {error.strerror}", "free some space, or write somewhere else (--out FOLDER)")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_UNREACHABLE


def _unexpected(error: BaseException) -> int:
    """Let typer explain a wrong command line. Anything else is a bug in Volley: show its traceback."""
    explain = getattr(error, "show", None)
    if callable(explain) and hasattr(error, "exit_code"):
        explain()
        return int(error.exit_code)
    import traceback

    traceback.print_exception(error)
    typer.echo("error: this is a bug in Volley\n  -> report it with the lines above", err=True)
    return EXIT_BUG


def exit_code(finished: Finished, strict: bool = False) -> int:
    """Return the exit code for the summary of a run.

    An INVALID result is 3, or 4 if its only problem is that a server or a service did not start. A failed objective
    is 99; one that was not judged 3; one that is undecided 0. strict: both are 99.
    """
    from orchestrator.analyse.objectives import states
    from orchestrator.result import FindingCode, Severity, Verdict

    summary = finished.summary
    if summary.saturation:
        code = _search_code({target.ending for target in summary.saturation})
        invalid = EXIT_INVALID if summary.verdict == Verdict.INVALID else EXIT_OK
        return code or invalid or state_code(states(summary), strict)
    if summary.verdict != Verdict.INVALID:
        return state_code(states(summary), strict)
    reasons = {
        finding.code for case in summary.cases for finding in case.findings if finding.severity == Severity.INVALID
    }
    measured = any(trial.metrics is not None for trial in finished.trials)
    not_started = {
        FindingCode.SERVER_NOT_READY,
        FindingCode.SERVER_EXITED,
        FindingCode.SERVICE_NOT_READY,
        FindingCode.SERVICE_EXITED,
        FindingCode.NOT_RUN,
        FindingCode.COMMAND_FAILED,
        FindingCode.HOST_LOST,
    }
    return EXIT_UNREACHABLE if reasons <= not_started and not measured else EXIT_INVALID


def _search_code(endings: set[Ending]) -> int:
    from orchestrator.search.records import Ending

    if endings & {Ending.NOT_RECOVERED, Ending.NOT_STARTED}:
        return EXIT_UNREACHABLE
    return EXIT_FAILED if endings & {Ending.NEVER_MET, Ending.NOT_SUSTAINED} else EXIT_OK


def state_code(states: Sequence[GateState], strict: bool) -> int:
    """Return the exit code for objectives or gates: 99 if one failed, 3 if one was not judged.

    strict: 99 unless all passed.
    """
    from orchestrator.result import GateState, Outcome, outcome_of

    if outcome_of(states, strict) == Outcome.FAIL:
        return EXIT_FAILED
    return EXIT_INVALID if GateState.NOT_JUDGED in states else EXIT_OK


def compare_exit_code(compared: Compared) -> int:
    """Return the exit code for a comparison: 99 for a regression, 3 if something could not be compared."""
    code = state_code([gate.state for gate in compared.gates], compared.strict)
    return code or (EXIT_OK if compared.comparable else EXIT_INVALID)
