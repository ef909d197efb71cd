"""The options of a command line that make a campaign without a file."""

from __future__ import annotations

import os
from typing import Any

import typer

from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.spec import inline
from orchestrator.spec.asked import RequestOptions
from tests.fuzz.files import runnable

VERBS = ("bench", "saturate", "sweep")
_REQUEST = RequestOptions.__dataclass_fields__
_PROGRAM: Any = typer.main.get_command(app)


def command_line(data: bytes) -> None:
    """Read words as a shell passes them: bytes that are no UTF-8 arrive as surrogates, and no word holds a NUL."""
    words = [os.fsdecode(word) for word in data.split(b" ") if b"\0" not in word]
    verb = words[0] if words and words[0] in VERBS else "bench"
    try:
        typed = _typed(verb, words[1:])
    except typer.Exit:
        return
    except Exception as error:
        # Typer refuses a command line with an error that has an exit code.
        if not hasattr(error, "exit_code"):
            raise
        raise UsageError("wrong usage") from None
    made = {"bench": _bench, "saturate": _saturate, "sweep": _sweep}[verb](typed)
    if made is not None:
        runnable(made)


def _typed(verb: str, words: list[str]) -> dict[str, Any]:
    """Return the parameters of a verb as typer reads them, without running it."""
    if any(word in ("-h", "--help") for word in words):
        return {}
    params: dict[str, Any] = _PROGRAM.commands[verb].make_context(verb, list(words)).params
    return params


def _request(typed: dict[str, Any]) -> RequestOptions:
    chosen = {name: typed[name] for name in _REQUEST if name in typed}
    return RequestOptions(**{k: tuple(v or ()) if k in ("headers", "paths") else v for k, v in chosen.items()})


def _bench(typed: dict[str, Any]) -> Any:
    if "url" not in typed:
        return None
    names = ("url", "clients", "repeat", "requests", "duration", "rate", "arrivals", "agents", "slo")
    return inline.bench(inline.Bench(**{name: typed[name] for name in names}, request=_request(typed)))


def _saturate(typed: dict[str, Any]) -> Any:
    if "what" not in typed:
        return None
    names = ("slo", "precision", "window", "highest", "budget", "agents", "arrivals")
    asked = inline.Search(**{name: typed[name] for name in names})
    return inline.saturate(str(typed["what"]), asked, _request(typed))


def _sweep(typed: dict[str, Any]) -> Any:
    if "what" not in typed:
        return None
    return inline.sweep(str(typed["what"]), typed["clients"], typed["duration"], typed["repeat"], _request(typed))
