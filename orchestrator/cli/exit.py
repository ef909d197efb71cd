"""How the command ends: signals, errors in the user's words, exit codes."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

import typer

from orchestrator.errors import EXIT_BUG, EXIT_OK, ConfigurationError, Interrupted, Several, VolleyError

_signals: list[int] = []


def watch_signals() -> None:
    """From now on Ctrl-C and TERM end the verb in order."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)


def raise_if_interrupted() -> None:
    """Raise Interrupted when a signal came, whatever the verb made of it."""
    if _signals:
        raise Interrupted(_signals[0])


def _stop(number: int, frame: object) -> NoReturn:
    """First signal: an orderly end. Second: at once; the guard cleans up after us."""
    signal.signal(signal.SIGINT, _stop_now)
    signal.signal(signal.SIGTERM, _stop_now)
    typer.echo("\ninterrupted: cleaning up (once more to leave at once)", err=True)
    _signals.append(number)
    # Ray lets this one exception through, whatever it is doing.
    raise KeyboardInterrupt


def _stop_now(number: int, frame: object) -> NoReturn:
    os._exit(128 + number)


def _explain(error: VolleyError) -> None:
    if isinstance(error, ConfigurationError):
        for problem in error.problems:
            typer.echo(
                f"error: {problem.where}: {problem.what}" + (f"\n  -> {problem.hint}" if problem.hint else ""), err=True
            )
        return
    for each in error.errors if isinstance(error, Several) else [error]:
        typer.echo(f"error: {each.message}" + (f"\n  -> {each.hint}" if each.hint else ""), err=True)


def exit_code_of(error: BaseException) -> int:
    """Explain what ended a verb, and give the exit code."""
    if _signals:
        # Whatever was under way when the signal came may have wrapped it.
        error = Interrupted(_signals[0])
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_BUG
    if isinstance(error, VolleyError):
        _explain(error)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return _unexpected(error)


def _unexpected(error: BaseException) -> int:
    """A wrong command line is typer's to explain; anything else is a bug of ours, with its traceback."""
    explain = getattr(error, "show", None)
    if callable(explain) and hasattr(error, "exit_code"):
        explain()
        return int(error.exit_code)
    import traceback

    traceback.print_exception(error)
    typer.echo("error: this is a bug of Volley's\n  -> please report it with the lines above", err=True)
    return EXIT_BUG
