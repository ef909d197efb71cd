"""No page of a run lets text from servers, files and hosts act: on a terminal, in Markdown, in JUnit, in tables."""

import io
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agents.printable import printable
from orchestrator.report import pull_request
from orchestrator.report.details import render as details
from orchestrator.report.markdown import cell, code
from orchestrator.report.terminal import render
from orchestrator.stored.about import About
from tests.hostile_page import ESCAPES, EVIL, MARKDOWN, hostile_run

TEXT = f"{EVIL}{ESCAPES}{MARKDOWN}"
# Sequences of a terminal, and what is left of them; everything that cannot be seen.
ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


@pytest.fixture(scope="module")
def run():
    return hostile_run(TEXT)


def known():
    return About(datetime.fromtimestamp(0, UTC), f"abc{TEXT}", TEXT, [TEXT])


@pytest.mark.parametrize("width", [60, 80, 160])
def test_on_a_terminal(run, width):
    """The page and all details, as rich prints them."""
    summary, trials, stored = run
    out = io.StringIO()
    console = Console(file=out, width=240, highlight=False, soft_wrap=True, markup=False, emoji=False)
    for piece in [*render(summary, width, trials), *details(summary, trials, stored.environment, width)]:
        console.print(piece)

    assert "script" in out.getvalue()
    assert not ACTS.search(out.getvalue())
    assert "owned" not in out.getvalue()


def test_in_markdown(run):
    """No link, image, mention, heading, table cell or HTML of its own."""
    text = pull_request.markdown(run[0], known())
    outside = re.sub(r"`[^`\n]*`", "", text)

    assert "script" in text
    assert not ACTS.search(text)
    assert "<" not in re.sub(r"\\<", "", outside).replace("&lt;", "")
    assert "](" not in outside
    assert "@volley" not in outside
    assert not re.search(r"^\s*# ", text, re.MULTILINE)
    heading = next(line for line in text.splitlines() if line.startswith("| case | verdict |"))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| VALID |" in line]
    assert len(rows) == 2
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {heading.count("|")}


def test_in_junit(run):
    """It is XML, and holds no character that a terminal obeys."""
    text = pull_request.junit(run[0], known())

    assert ElementTree.fromstring(text) is not None
    assert not ACTS.search(text)
    assert "owned" not in text


@given(
    st.text(alphabet=st.characters(), max_size=60)
    | st.lists(st.sampled_from([*ESCAPES, *MARKDOWN, "\x1b]", "a"])).map("".join)
)
def test_any_text_is_harmless(text):
    """Whatever the sequence: once cleaned nothing acts, and cleaning again changes nothing."""
    clean = printable(text)

    assert not ACTS.search(clean)
    assert printable(clean) == clean
    for shown in (cell(text), code(text)):
        assert not ACTS.search(shown)
        assert "\n" not in shown
        assert not re.search(r"(?<!\\)(?:\\\\)*\]\(", shown.strip("`")) or shown.startswith("`")
