"""What typer says about a wrong command line, as errors of ours: what is wrong, and what to write."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.slo import shown

_CHOICE = " is not one of "
_EXTRA = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", re.DOTALL)


def in_words(failed: BaseException) -> BaseException:
    """Return an error of typer as a UsageError, and any other as it is.

    Typer's classes are private: they are told by what they have.
    """
    error: Any = failed
    context: Any = getattr(error, "ctx", None)
    # No words at all: typer shows the help.
    if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
        return failed
    if hasattr(error, "param_type") and context is not None:
        return _missing(error, context)
    if hasattr(error, "possibilities"):
        return _unknown(f"unknown option {shown(error.option_name)}", error.possibilities or (), context, "options")
    if hasattr(error, "param_hint"):
        return _wrong_value(error)
    message = str(error.message).rstrip(".")
    if message.startswith("No such command"):
        name = message.split("'")[1]
        close = difflib.get_close_matches(name, list(getattr(context.command, "commands", ())), 1)
        return _unknown(f"unknown command {shown(name)}", close, context, "commands")
    if found := _EXTRA.fullmatch(message):
        message = f"unexpected argument: {found[1]}"
    return UsageError(message[:1].lower() + message[1:], _see(context))


def _missing(error: BaseException, context: Any) -> UsageError:
    parameter = getattr(error, "param", None)
    where = _where(parameter)
    if where.startswith("-"):
        return UsageError(f"{where} is missing", f"add {where} {getattr(parameter, 'metavar', None) or 'VALUE'}")
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    return UsageError(f"{where} is missing", f"write it as: {usage}")


def _unknown(what: str, close: Sequence[str], context: Any, kind: str) -> UsageError:
    hint = f"did you mean {close[0]}?" if close else f"'{_path(context)} --help' lists the {kind}"
    return UsageError(what, hint)


def _wrong_value(error: Any) -> UsageError:
    """Return the error of a value that an option or argument does not take."""
    where, what, hint = _where(error.param), str(error.message).rstrip("."), _see(error.ctx)
    cause = error.__cause__
    if cause is not None and hasattr(cause, "errors"):
        from orchestrator.spec.wording import sentence

        detail = cause.errors(include_url=False)[0]
        if detail["type"] == "value_error":
            what = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
        else:
            what, hint = sentence(detail["type"], detail.get("ctx", {}), _number(detail["input"]))
    if _CHOICE in what:
        value, _, choices = what.partition(_CHOICE)
        what, hint = f"{value}{_CHOICE}the choices", f"write one of: {choices.replace(chr(39), '')}"
    return UsageError(f"{where}: {what}", hint)


def _number(value: Any) -> Any:
    """Return what was typed as a number where it is one, so that it is shown without quotes."""
    digits = value.removeprefix("-") if isinstance(value, str) else ""
    return int(value) if digits.isascii() and digits.isdigit() and len(digits) < 20 else value


def _where(parameter: Any) -> str:
    """Return what the user calls a parameter: its long option, or the word in the usage line."""
    if parameter is None:
        return "the command line"
    options = [name for name in getattr(parameter, "opts", ()) if name.startswith("-")]
    if options:
        return str(max(options, key=len))
    return str(getattr(parameter, "metavar", None) or parameter.name.upper())


def _see(context: Any) -> str:
    return f"see '{_path(context)} --help'"


def _path(context: Any) -> str:
    """Return the words before the options. Typer's parser does not say where an option without a value is."""
    return "volley" if context is None else str(context.command_path)
