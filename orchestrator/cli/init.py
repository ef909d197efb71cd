"""The verb `init`: a commented file to start from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.errors import UsageError

app = typer.Typer()

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
CAMPAIGN_SCHEMA = "volley.schema.json"
INVENTORY_SCHEMA = "volley-inventory.schema.json"


class Template(StrEnum):
    """What a user wants to find out, or to describe."""

    COMPARE = "compare"
    SATURATE = "saturate"
    URL = "url"
    HOSTS = "hosts"


@dataclass(frozen=True, slots=True)
class Start:
    """What a template writes, and what comes next. files: path in TEMPLATES, by path in the folder of the user."""

    files: dict[str, str]
    schema: str
    advice: str
    commands: list[str]


OWN_ADDRESS = "Put the address of your server into {file}, then:"
STARTS = {
    Template.URL: Start({"volley.yaml": "url.yaml"}, CAMPAIGN_SCHEMA, OWN_ADDRESS, ["volley run volley.yaml"]),
    Template.COMPARE: Start(
        {
            "volley.yaml": "compare.yaml",
            "server/Dockerfile": "server/Dockerfile",
            "server/app.py": "server/app.py",
        },
        CAMPAIGN_SCHEMA,
        "It runs as it is. Later put your own servers into {file}.",
        ["volley run volley.yaml"],
    ),
    Template.SATURATE: Start(
        {"volley.yaml": "saturate.yaml"}, CAMPAIGN_SCHEMA, OWN_ADDRESS, ["volley saturate volley.yaml"]
    ),
    Template.HOSTS: Start(
        {"hosts.yaml": "hosts.yaml"},
        INVENTORY_SCHEMA,
        "Put the addresses of your hosts into {file}, and write a campaign (volley init). Then:",
        ["volley hosts check --hosts hosts.yaml", "volley run volley.yaml --hosts hosts.yaml"],
    ),
}


@app.command()
def init(
    template: Annotated[
        Template,
        typer.Option(
            "--template",
            help="compare: two servers in containers. saturate: the capacity of a server. url: a server that is up. "
            "hosts: an inventory.",
        ),
    ] = Template.URL,
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where to write (default: the working directory).")
    ] = Path(),
) -> None:
    """Write a commented campaign, or an inventory, to start from. Never overwrites a file."""
    start = STARTS[template]
    write(start, folder)
    for name in (*start.files, start.schema):
        typer.echo(f"wrote {folder / name}")
    first = next(iter(start.files))
    typer.echo(f"\n{start.advice.format(file=folder / first)}")
    go_there = [] if folder == Path() else [f"cd {folder}"]
    for command in (*go_there, *start.commands):
        typer.echo(f"  {command}")


def write(start: Start, folder: Path) -> None:
    """Write a template's files and the schema that editors check them with. Raise UsageError if one is there already."""
    for name in start.files:
        if (folder / name).exists():
            raise UsageError(
                f"{folder / name} exists already, and nothing was written", "move it away, or name another folder"
            )
    try:
        for name, source in start.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write((TEMPLATES / source).read_text(encoding="utf-8"))
        # The schema is of this version of Volley: one that is there is of an earlier one, or the same.
        (folder / start.schema).write_text(schema_of(start.schema), encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write to {error.filename or folder}: {error.strerror}", "name another folder"
        ) from None


def schema_of(name: str) -> str:
    """Return the JSON Schema with this file name."""
    from orchestrator.spec.schema import campaign_schema, inventory_schema

    made = campaign_schema() if name == CAMPAIGN_SCHEMA else inventory_schema()
    return json.dumps(made, indent=2) + "\n"
