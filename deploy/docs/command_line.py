"""docs/reference/cli.md: every verb, argument and option, made from the program itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from deploy.docs.markdown import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"
HEAD = """\
# Command line

<!-- Made by: python -m deploy.docs cli -->

Results go to standard output, everything else to standard error. `--json` prints exactly one
document. Durations, rates, sizes and shares are written with units:
[quantities](../how-to/write-a-campaign.md#quantities). `volley --install-completion` completes
verbs and options in your shell.

| exit code | means |
|---|---|
| 0 | ok |
| 1 | a bug in Volley |
| 2 | wrong usage or configuration |
| 3 | a result is INVALID, or an objective or gate was not judged |
| 4 | something cannot be placed, reached, built or started |
| 99 | an objective or a gate failed; with `--strict` also what is undecided or not judged |
| 130, 143 | interrupted; finished trials are kept |
"""


def reference() -> str:
    """Return the page."""
    from orchestrator.cli.app import app

    return "\n".join([HEAD, *_verbs(typer.main.get_command(app), "volley")])


def _verbs(command: Any, name: str) -> Iterator[str]:
    """Yield the sections of a verb, or of all verbs of a group."""
    if not isinstance(command, TyperGroup):
        yield from _section(command, name)
        return
    for each, below in command.commands.items():
        if not below.hidden:
            yield from _verbs(below, f"{name} {each}")


def _section(command: TyperCommand, name: str) -> Iterator[str]:
    """Yield the section of one verb."""
    yield f"## {name}\n"
    yield f"{_prose(command.help or '')}\n"
    arguments = [p for p in command.params if isinstance(p, TyperArgument)]
    options = [p for p in command.params if isinstance(p, TyperOption) and not p.hidden]
    usage = " ".join([name, "[OPTIONS]" if options else "", *(_argument(each) for each in arguments)]).split()
    yield f"Usage: `{' '.join(usage)}`\n"
    if arguments:
        yield "| argument | meaning |"
        yield "|---|---|"
        for argument in arguments:
            yield f"| `{_name(argument)}` | {_cell(getattr(argument, 'help', '') or '')} |"
        yield ""
    yield "| option | meaning |"
    yield "|---|---|"
    for option in options:
        yield f"| {_spelling(option)} | {_cell(option.help or '')}{_default(option)} |"
    yield "| `-h`, `--help` | Show the help of this verb and exit. |\n"


def _name(argument: TyperArgument) -> str:
    return str(argument.metavar or argument.name or "").upper().strip("[]{}").removesuffix("...")


def _argument(argument: TyperArgument) -> str:
    name = _name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _spelling(option: TyperOption) -> str:
    names = [*option.opts, *option.secondary_opts]
    choices = [str(choice) for choice in option.type_descriptor.choices or ()]
    value = "" if option.is_flag else f" {option.metavar or ' or '.join(choices) or 'VALUE'}"
    return ", ".join(f"`{name}{value}`" for name in sorted(names, key=len))


def _default(option: TyperOption) -> str:
    if option.is_flag or not option.show_default or option.default in (None, [], ()):
        return ""
    return f" Default: `{option.default}`."


def _prose(text: str) -> str:
    """Return help as Markdown: rich's marks and paragraphs that are not wrapped are not for a page."""
    paragraphs = [" ".join(part.split()) for part in text.replace("\b", "").split("\n\n")]
    return "\n\n".join(
        textwrap.fill(_cell(part), 100, break_on_hyphens=False, break_long_words=False) for part in paragraphs if part
    )


def _cell(text: str) -> str:
    """Return text for a cell: on one line, and nothing in it is markup."""
    plain = re.sub(r"\[/?(?:bold|dim|green|red|yellow|cyan)\]", "", " ".join(text.split()))
    return plain.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
