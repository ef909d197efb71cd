"""The documentation: links, anchors, prose, code blocks, and the reference of the command line."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from deploy.docs.command_line import PAGE, reference
from deploy.docs.markdown import Block, anchors, blocks, broken_links, documents, prose_lines
from deploy.docs.prose import readability, sentences, unreadable
from deploy.docs.wrap import wrap
from orchestrator.cli.app import app
from orchestrator.cli.waiting import spelled_out
from orchestrator.spec.document import read_value
from tests.conftest import ROOT

DOCUMENTS = documents()
BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
# Programs that are no part of Volley. Of these only the syntax of the line is checked.
OTHERS = {
    "apt-get", "cat", "cd", "cp", "curl", "docker", "export", "git", "kubectl", "pip", "pipx", "pre-commit", "pytest", "python3",
    "ray", "sed", "ssh", "ssh-keygen", "tar", "unzip", "uv",
}  # fmt: skip
RETIRED = re.compile(
    r"(?i)\b(?:mends?|anew|go(?:es)? on with|gave way|shortfall|somebody|nobody|look whether|so (?:much|many)|neighbours|"
    r"(?<!there )is no (?!longer|more|better)|there (?:is|are) no such|lets us|without a word|(?<!\")latency)\b"
)
# Verbs that the README shows and that are still to be built.
COMMAND: Any = typer.main.get_command(app)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def of(*languages: str) -> list:
    return [pytest.param(b, id=f"{name(b.path)}:{b.line}") for b in BLOCKS if b.language in languages]


def commands(block: Block) -> list[list[str]]:
    """The command lines of a block, as the shell splits them; a backslash continues a line."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check(words: list[str]) -> None:
    """Raise for a command line that cannot work."""
    if words[0] == "sudo" or (re.fullmatch(r"[A-Z_]+=\S*", words[0]) and len(words) > 1):
        # NAME=value COMMAND, or NAME=$(COMMAND)
        return check([re.sub(r"^[A-Z_]+=\$\(", "", words[0]), *words[1:]] if "$(" in words[0] else words[1:])
    if words[0] == "make":
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make {target}"
    elif words[0] in ("volley", ".venv/bin/volley"):
        parse(words[1:])
    elif words[0] in ("python", ".venv/bin/python") and words[1] == "-m":
        module = ROOT / words[2].replace(".", "/")
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), words[2]
    elif "/" in words[0]:
        assert (ROOT / words[0]).exists(), words[0]
    else:
        assert words[0] in OTHERS, words[0]
    return None


def parse(arguments: list[str]) -> None:
    """Parse a command line of Volley with its real options and values, and execute nothing."""
    redirected = next((i for i, word in enumerate(arguments) if word in ("|", ">", "&&", ";", "2>")), len(arguments))
    command = COMMAND
    words = spelled_out(arguments[:redirected])
    if words in (["--version"], ["--install-completion"]):
        return
    context = command.make_context("volley", words)
    while hasattr(command, "resolve_command"):
        verb, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(verb, rest, parent=context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_and_anchor_resolves(path):
    """To files of the repository, too. Links to other hosts are not followed."""
    assert list(broken_links([path])) == []


def test_prose_is_readable():
    """Few words a sentence, and no long lines."""
    assert list(unreadable(DOCUMENTS)) == []


def test_long_sentences_and_long_lines_are_found(tmp_path):
    """The control of the test above."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n" + "word " * 21 + "end.\n\nShort one. " + "x" * 100 + "\n")

    assert readability(page).columns > 100
    page.write_text("One " + "two " * 19 + ".\n\n" + "One " + "two\n" * 21 + ".\n")
    assert readability(page).words == 21


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if p.parent.name != "adr"], ids=name)
def test_documents_use_plain_words(path):
    """None of the phrases that Volley has retired: each has a usual word in its place."""
    text = " ".join(line for _, line in prose_lines(path))

    assert RETIRED.findall(text) == []


def test_broken_links_and_anchors_are_found(tmp_path, monkeypatch):
    """The control of the test above; links in code are text."""
    monkeypatch.setattr("deploy.docs.markdown.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`: three\n\n[a](#one-two-three) [b](#four)\n[c](missing.md) `[d](x.md)`\n\n```\n[e](y.md)\n```\n"
    )

    assert anchors(page) == {"one-two-three"}
    assert [line.split(": ")[1] for line in broken_links([page])] == ["#four", "missing.md"]


def test_long_lines_are_wrapped_and_nothing_else_is_changed(tmp_path):
    """Paragraphs and items; twice is the same as once."""
    page, long = tmp_path / "page.md", "word " * 30
    kept = f"# {long}\n\n```text\n{long}\n```\n\n| {long} |\n\nshort\nlines\n"
    page.write_text(f"{kept}\n- {long}\n  1. {long}\n     {long}\n")

    assert wrap(page)
    text = page.read_text()
    assert text.startswith(kept)
    assert text.split() == f"{kept} - {long} 1. {long} {long}".split()
    assert max(map(len, text.removeprefix(kept).splitlines())) <= 100
    assert [line[:7] for line in text.removeprefix(kept).splitlines()[1:4]] == ["- word ", "  word ", "  1. wo"]
    assert not wrap(page)


def test_sentences_are_told_apart():
    """Not at abbreviations, decimals or in code; at colons only before a new sentence."""
    assert sentences("Wait 0.5 s, e.g. here. Run `a. B` now! See [x](y.Z.md): It works. 3.5 is a number.") == [
        "Wait 0.5 s, eg here.", "Run code now!", "See [x]:", "It works.", "3.5 is a number.",
    ]  # fmt: skip


def test_every_block_has_a_language_that_is_checked():
    """Commands have none or sh; text is output of real runs, a drawing or a form."""
    # A test of its own loads the rules of nft.
    known = {"", "sh", "text", "yaml", "json", "python", "markdown", "dockerfile", "nft"}

    assert [f"{name(b.path)}:{b.line} {b.language}" for b in BLOCKS if b.language not in known] == []
    assert len(BLOCKS) >= 60


@pytest.mark.parametrize("block", of("", "sh"))
def test_every_command_can_work(block):
    """Volley's own are parsed by the real command line; targets of make and files of the repository exist."""
    found = commands(block)

    assert found
    for words in found:
        check(words)


@pytest.mark.parametrize(
    "line",
    ["volley bench URL --fast", "make coffee", "deploy/missing.sh", "wget x", "volley run", "python -m missing.x"],
)
def test_a_command_that_cannot_work_is_found(line):
    """The control of the test above."""
    with pytest.raises(Exception, match=r"No such option|coffee|missing|wget|Missing parameter"):
        check(shlex.split(line))


@pytest.mark.parametrize("block", of("text"))
def test_no_command_hides_in_text(block):
    """Text is not checked, so it is only for what nobody types."""
    assert not [line for line in block.text.splitlines() if re.match(r"(sudo )?(volley|make) [a-z]", line)]


@pytest.mark.parametrize("block", of("python"))
def test_python_compiles(block):
    """docs/reference/python-api.md is executed by test_data.py, too."""
    compile(
        block.text if not block.text.startswith('"') or block.text.startswith('"""') else f"{{{block.text}}}",
        "x",
        "exec",
    )


@pytest.mark.parametrize("block", of("json"))
def test_json_is_json(block):
    """One document."""
    json.loads(block.text)


@pytest.mark.parametrize("block", of("yaml"))
def test_yaml_is_yaml(block):
    """Campaigns and inventories are checked against their schemas by test_schema.py."""
    assert isinstance(read_value(block.text), dict | list)


def test_the_command_line_has_its_reference(request):
    """docs/reference/cli.md is what the program says: python -m deploy.docs cli writes it, --update-golden too."""
    if request.config.getoption("--update-golden"):
        PAGE.write_text(reference())

    assert PAGE.read_text() == reference()
    assert "| `--fail-on" in reference()


def test_the_hooks_before_a_commit_are_local():
    """They use the tools of this checkout, and name no other host."""
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    (repo,) = read_value(text)["repos"]

    assert repo["repo"] == "local"
    assert "://" not in text
    for hook in repo["hooks"]:
        program, *arguments = hook["entry"].split()
        assert program.startswith(".venv/bin/")
        assert hook["language"] == "system"
        if arguments[:1] == ["-m"]:
            check([program, *arguments])
