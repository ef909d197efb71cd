"""A short part of `make fuzz`, with inputs that are the same in every run, and the inputs that once went wrong."""

from pathlib import Path

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.spec.load import load
from tests.fuzz.kinds import kinds
from tests.fuzz.running import Fuzzed, fuzz, try_one

INPUTS = 150
NAMES = [
    "campaign", "set", "only", "inventory", "objective", "quantity", "stored run", "frames", "request log",
    "h2load's log", "h2load's output", "messages",
]  # fmt: skip
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_a_file_that_never_ends():
    """A device is read up to the limit, and refused."""
    with pytest.raises(ConfigurationError, match="/dev/zero: is larger than 1 MiB"):
        load(Path("/dev/zero"))


def test_every_kind_is_here(tmp_path):
    """A kind that is added is fuzzed in `make test`, too."""
    assert list(kinds(tmp_path)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_made_up_inputs_are_refused_in_a_sentence(name, tmp_path):
    """No error but a refusal, no hang, bounded memory; and some are accepted, or the reader refuses everything."""
    done = fuzz(kinds(tmp_path)[name], INPUTS, f"{name}/short")

    assert done.inputs == INPUTS
    assert not done.wrong, done.wrong[:3]
    assert done.accepted


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("campaign", BOMB.encode()),
        ("campaign", b"[" * 100_000),
        ("campaign", b"campaign: x\n" + b"- " * 20_000),
        ("campaign", b"\xff\xfe\x00"),
        ("quantity", b"9" * 5_000 + b"s"),
        ("set", b"slo=`id`"),
    ],
    ids=["alias bomb", "deep brackets", "deep lists", "no text", "digits", "backquotes"],
)
def test_what_once_took_minutes_or_gigabytes(name, data, tmp_path):
    """Each with the limits of any other input."""
    done = Fuzzed()
    try_one(kinds(tmp_path)[name], data, done)

    assert not done.wrong
