"""Run made-up inputs through a reader and keep what went wrong: an error that is no refusal, a hang, memory."""

from __future__ import annotations

import random
import resource
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from tests.fuzz.kinds import REFUSALS, Kind
from tests.fuzz.mutations import mutated

MOST_S = 2.0
MOST_BYTES = 200 << 20


class TooSlow(BaseException):
    """An input took longer than MOST_S. No reader may take it for an error of its own."""


@dataclass
class Fuzzed:
    """What came of a kind. wrong: each input that was not refused in a sentence, with what happened."""

    inputs: int = 0
    accepted: int = 0
    wrong: list[tuple[bytes, str]] = field(default_factory=list)


def fuzz(kind: Kind, inputs: int, seed: str) -> Fuzzed:
    """Read so many inputs. The same seed makes the same ones."""
    draw, done = random.Random(seed), Fuzzed()
    for number in range(inputs):
        data = kind.corpus[number] if number < len(kind.corpus) else mutated(draw, kind.corpus)
        try_one(kind, data, done)
    return done


def try_one(kind: Kind, data: bytes, done: Fuzzed) -> None:
    """Read one input."""
    done.inputs += 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("error")
            kind.read(data)
        done.accepted += 1
    except REFUSALS:
        pass
    except TooSlow:
        done.wrong.append((data, f"took longer than {MOST_S:g} s"))
    except Exception:
        done.wrong.append((data, traceback.format_exc(limit=-3)))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MOST_BYTES:
        done.wrong.append((data, f"took {grown >> 20} MiB"))


@contextmanager
def _limited() -> Iterator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    previous = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, MOST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
