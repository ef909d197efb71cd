"""The program `volley`: all verbs under one name. Heavy imports are made inside the verbs."""

from __future__ import annotations

import os
from typing import Annotated

# Looking for pydantic's plug-ins takes longer than reading a campaign.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from orchestrator import __version__
from orchestrator.cli import (
    bench,
    check,
    export,
    generator,
    hosts,
    init,
    results,
    results_compare,
    run,
    search,
    signals,
    streams,
    usage,
)
from orchestrator.cli import exit as leaving
from orchestrator.cli.own_agents import require_own_agents
from orchestrator.cli.waiting import spelled_out
from orchestrator.errors import EXIT_OK
from orchestrator.redact import clean_output

PROGRAM = "volley"

app = typer.Typer(
    name=PROGRAM,
    help="Find out how fast a server really is, and when the number cannot be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verbs in (init, run, bench, search, results, export, results_compare, check, hosts, generator):
    app.add_typer(verbs.app)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def main(arguments: list[str]) -> int:
    """Run one verb as the program does, which signals may interrupt, and return its exit code."""
    streams.clean_with(clean_output)
    signals.interrupt_the_verb()
    try:
        return invoke(arguments)
    except KeyboardInterrupt as error:  # the signal came while it was being said how the verb had ended
        return leaving.exit_code_of(error)
    finally:
        signals.quit_at_once()


def invoke(arguments: list[str]) -> int:
    """Run one verb, explain on stderr how it failed, and return its exit code."""
    try:
        require_own_agents()
        code: int = app(spelled_out(arguments), prog_name=PROGRAM, standalone_mode=False) or EXIT_OK
        # Typer takes an interruption for an exit code of its own.
        if interruption := signals.interruption():
            raise interruption
    except BaseException as error:
        return leaving.exit_code_of(usage.in_words(error))
    return code
