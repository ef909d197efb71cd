"""Secrets are hidden in every form in which they come back; what acts on a terminal is removed."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest

from agents.printable import in_colour, printable
from orchestrator import redact
from orchestrator.facts import CommandDone, PlannedRequest, When
from orchestrator.redact import HIDDEN, Redactor, cleaned
from tests.unit.facts import agent_facts, case, trial_facts

SECRET = "aZ9+/k =&<\"'é7Qx"


def redactor(*values):
    made = Redactor()
    made.add(values)
    return made


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps({"a": SECRET}, ensure_ascii=False),
        repr(SECRET),
        SECRET.encode().hex(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        *(base64.b64encode(b"u" * n + b":" + SECRET.encode() + b"\0" * m).decode() for n in range(3) for m in range(3)),
        f"before {SECRET} between {SECRET}",
    ],
)
def test_a_secret_is_hidden_in_each_form(text):
    """As text, in a URL, in JSON, in Python, in base64 wherever it begins there, in hexadecimal."""
    shown = redactor(SECRET).hide(text)

    assert HIDDEN in shown
    assert "aZ9" not in shown
    assert "7Qx" not in shown
    assert base64.b64encode(SECRET.encode()).decode()[4:12] not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("it answered 'correct-horse-bat...'", f"it answered '{HIDDEN}...'"),
        ("the last line: correct-horse", f"the last line: {HIDDEN}"),
        ("...ery-staple-9 was wrong", f"...{HIDDEN} was wrong"),
        ("correct-horses are not it", "correct-horses are not it"),
        ("nothing", "nothing"),
    ],
)
def test_what_is_left_of_a_secret_that_was_cut_is_hidden(text, shown):
    """At the mark of a cut, and at the ends of the text; what only begins like it stays."""
    assert redactor("correct-horse-battery-with-a-very-staple-9").hide(text) == shown


def test_a_longer_secret_is_hidden_before_one_that_it_contains():
    """Nothing of it remains."""
    assert redactor("hunter2", "Bearer hunter2 and more").hide("x Bearer hunter2 and more y hunter2") == (
        f"x {HIDDEN} y {HIDDEN}"
    )


def test_a_short_value_is_known_and_not_looked_for():
    """It is in every text."""
    made = redactor("abc")
    made.add(["application/json"], sought=False)

    assert made.hide("abc application/json") == "abc application/json"
    assert made.holds("abc")
    assert made.holds("application/json")
    assert not made.holds("an abc")
    assert redactor("long-enough").holds("Bearer long-enough")


def test_all_texts_of_a_record_are_cleaned_but_the_names_of_parts():
    """Facts of a trial: names of cases, targets, hosts and agents are looked up."""
    redact.keep_secret(["steady-secret"])
    mix = [PlannedRequest("GET /steady-secret", "GET", "/steady-secret", 1.0)]
    own = case(name="steady-secret/x", target="steady-secret", mix=mix)
    done = CommandDone(When.BEFORE, "steady-secret", 0, 1, "\x1b[2Jsteady-secret\r\nb")
    facts = trial_facts(
        case=own, error="no: steady-secret", commands=[done], agents=[agent_facts(agent="steady-secret/0")]
    )

    clean = cleaned(facts)

    assert (clean.case.name, clean.case.target, clean.commands[0].host) == (
        "steady-secret/x",
        "steady-secret",
        "steady-secret",
    )
    assert clean.agents[0].agent == "steady-secret/0"
    assert (clean.error, clean.commands[0].output) == (f"no: {HIDDEN}", f"{HIDDEN}\nb")
    assert (clean.case.mix[0].name, clean.case.mix[0].path) == (f"GET /{HIDDEN}", f"/{HIDDEN}")
    assert cleaned(clean) == clean
    assert cleaned(trial_facts()) == trial_facts()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb c"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x07a", "a"),
        ("\x9d0;title\x9ca", "a"),
        ("\x1bP1$tx\x1b\\a", "a"),
        ("\x1b]0;no end\nnext line", "\nnext line"),
        ("\x1b(0a\x1b=b\x1bcc", "abc"),
        ("a\x1b", "a"),
        ("\u202eevil\u2066x\u200b\ufeff", "\ufffdevil\ufffdx\ufffd\ufffd"),
        ("a\x07b\x7fc\x85", "a\ufffdb\ufffdc\ufffd"),
        ("\ud800", "\ufffd"),
        ("é日本語😀 …µ", "é日本語😀 …µ"),
    ],
)
def test_nothing_in_a_text_acts_on_a_terminal(text, shown):
    """Sequences vanish, with their text; other characters that cannot be seen have a mark."""
    assert printable(text) == shown
    assert printable(shown) == shown


def test_colours_of_our_own_stay():
    """And no other sequence."""
    assert in_colour("\x1b[1;31mred\x1b[0m\x1b[2J\x9b1m\x07") == "\x1b[1;31mred\x1b[0m\ufffd"
