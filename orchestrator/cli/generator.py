"""volley generator: check a program against the generator contract."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.errors import EXIT_FAILED, HostError

if TYPE_CHECKING:
    from agents.generators.conformance import Check
    from agents.generators.contract import Model

app = typer.Typer(name="generator", help="Check a generator, the program that sends requests.", no_args_is_help=True)
WIDTH = 80
MARKS = {"passed": "ok", "failed": "FAIL", "not supported": "-", "not judged": "?"}
NAME_WIDTH = 20


class Models(StrEnum):
    """Which models to check."""

    OPEN = "open"
    CLOSED = "closed"
    BOTH = "both"


@app.callback()
def _root() -> None:
    """Keep `check` a command of its own although it is the only one."""


@app.command(context_settings={"allow_interspersed_args": False})
def check(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program with its arguments.")],
    model: Annotated[Models, typer.Option("--model", help="Which model to check.")] = Models.BOTH,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")] = False,
) -> None:
    """Run a generator against small local servers and check every rule of the contract.

    The check takes about 10 seconds. The contract is in docs/reference/generators.md. Put --model and --json before
    COMMAND: everything after it belongs to the program.

    Exit codes: 0 all checks passed, 4 the program could not be started, 99 a check failed.
    """
    from agents.generators.conformance import State
    from agents.generators.conformance import check as run_checks
    from agents.generators.conformance_program import NotStarted

    try:
        checks = run_checks(command, _models(model), note=lambda text: typer.echo(f"checking: {text}", err=True))
    except NotStarted as error:
        raise HostError(str(error), _start_hint(command)) from None
    if as_json:
        typer.echo(json.dumps({"command": command, "checks": [asdict(each) for each in checks]}, indent=2))
    else:
        typer.echo("\n".join(_lines(checks)))
    if any(each.state is State.FAILED for each in checks):
        raise typer.Exit(EXIT_FAILED)


def _models(model: Models) -> tuple[Model, ...]:
    from agents.generators.contract import Model

    return tuple(Model) if model is Models.BOTH else (Model(model.value),)


def _start_hint(command: list[str]) -> str:
    """Return what to do; a path that leads somewhere only from the user's folder is the usual cause."""
    for part in command:
        if not Path(part).is_absolute() and Path(part).is_file():
            return f"the program starts in an empty folder: write {Path(part).absolute()} instead of {part}"
    return "run the command in an empty folder, type a task, and read its error; the contract has an example task"


def _lines(checks: list[Check]) -> list[str]:
    """Return the report: a line per check, and below a failed one what to do about it."""
    lines: list[str] = []
    for model in dict.fromkeys(each.model for each in checks):
        lines.append(f"{model} loop")
        for each in checks:
            if each.model is model:
                lines += _check_lines(each)
        lines.append("")
    return [*lines, _count(checks)]


def _check_lines(each: Check) -> list[str]:
    mark = MARKS[each.state.value]
    text = each.expected if mark in ("ok", "FAIL") else f"{each.state.value}: {each.seen}"
    lines = [_cut(f"{mark:<5}{each.name:<{NAME_WIDTH - 1}} {text}")]
    if mark == "FAIL":
        lines += _wrapped("seen:", f"{each.seen} [{each.run}]") + _wrapped("fix:", each.fix)
    return lines


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 3].rstrip() + "..."


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"     {label:<6}", subsequent_indent=" " * 11)


def _count(checks: list[Check]) -> str:
    states = [each.state.value for each in checks]
    return ", ".join(f"{states.count(state)} {state}" for state in MARKS if state in states)
