"""docs/how-to/gate-in-ci: the workflow is YAML, and every command in it is one that Volley has."""

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from ruamel.yaml import YAML

from orchestrator.cli.app import app
from orchestrator.plan import make_plan
from orchestrator.spec.enough import too_few
from orchestrator.spec.load import load
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "how-to" / "gate-in-ci.md"
WORKFLOW = ROOT / "docs" / "how-to" / "gate-in-ci.yaml"


def scripts() -> list[str]:
    """The scripts of the workflow's steps."""
    workflow = YAML(typ="safe").load(WORKFLOW.read_text())
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def blocks(language: str) -> list[str]:
    """The code blocks of the page in a language; '' for none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def commands(script: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of volley in a shell script: at the start of a line, and in $( )."""
    for rest in re.findall(r"(?:^\s*|\$\()volley (.*)", script, re.MULTILINE):
        arguments = re.match(r"""(?:[^|;&<>()'"]|'[^']*'|"[^"]*")*""", rest)
        assert arguments is not None
        yield shlex.split(arguments[0])


CALLS = [call for text in [*scripts(), *blocks("")] for call in commands(text)]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_command_is_one_that_volley_has(call):
    """Parsed by the real command line, with its options and its values, and not executed."""
    command = typer.main.get_command(app)
    context = command.make_context("volley", list(call))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)

    assert context.command is command


def test_every_verb_that_ci_needs_is_shown():
    """A parser that finds nothing would pass above."""
    assert {call[0] for call in CALLS} == {"doctor", "validate", "run", "runs", "report", "compare", "trend", "bench"}
    assert len(CALLS) >= 15


def test_an_option_that_does_not_exist_is_found():
    """The control of the test above."""
    with pytest.raises(Exception, match="No such option"):
        test_every_command_is_one_that_volley_has(["run", "c.yaml", "--fail-fast"])


def test_the_campaign_of_the_page_is_valid_and_judges_its_objectives(tmp_path):
    """As it is printed, beside two checkouts."""
    (text,) = blocks("yaml")
    for checkout in ("base", "new"):
        (tmp_path / checkout / "load").mkdir(parents=True)
        (tmp_path / checkout / "Dockerfile").touch()
    file = tmp_path / "new" / "load" / "ci.yaml"
    file.write_text(text)

    campaign = load(file).campaign

    assert [case.name for case in make_plan(campaign).cases] == ["base/steady", "new/steady"]
    assert list(too_few(campaign)) == []


def test_the_page_has_every_state_and_exit_code():
    """What CI can see."""
    page = PAGE.read_text()

    assert all(f"\n| {state} |" in page for state in ("passed", "failed", "undecided", "not judged"))
    assert all(re.search(rf"^\| {code}\b", page, re.MULTILINE) for code in (0, 1, 2, 3, 4, 99, 130))
