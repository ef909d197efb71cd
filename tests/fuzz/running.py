"""Run made-up inputs through a reader and keep what went wrong: an error that is no refusal, a hang, memory."""

from __future__ import annotations

import random
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.fuzz.kinds import Kind
from tests.fuzz.mutations import mutated
from tests.fuzz.refusals import REFUSALS, check_refusal

# Of one input: CPU time, and time by the clock for a reader that waits. Other programs share the machine.
MOST_S, MOST_WAITED_S = 2.0, 8.0
MOST_BYTES = 200 << 20
_PAGE_BYTES = resource.getpagesize()


class TooSlow(BaseException):
    """An input took longer than MOST_S, or waited. No reader may take it for an error of its own."""


@dataclass
class Fuzzed:
    """What came of a kind. wrong: each input that was not refused in a sentence, with what happened."""

    inputs: int = 0
    accepted: int = 0
    wrong: list[tuple[bytes, str]] = field(default_factory=list)


def input_number(kind: Kind, number: int, seed: str) -> bytes:
    """Return one input, the same for the same seed: first those of the corpus as they are, then changed ones."""
    if number < len(kind.corpus):
        return kind.corpus[number]
    return mutated(random.Random(f"{seed}/{number}"), kind.corpus)


def fuzz(
    kind: Kind, numbers: range, seed: str, before: Callable[[int], None] = lambda number: None, times: int = 1
) -> Fuzzed:
    """Read the inputs of these numbers. before: called with the number of each. times: as in try_one()."""
    done = Fuzzed()
    # What a reader imports when it is first used belongs to no input.
    try_one(kind, kind.corpus[0], Fuzzed(), most_bytes=None)
    for number in numbers:
        before(number)
        try_one(kind, input_number(kind, number, seed), done, times=times)
    return done


def try_one(kind: Kind, data: bytes, done: Fuzzed, most_bytes: int | None = MOST_BYTES, times: int = 1) -> None:
    """Read one input. most_bytes: of memory; None: as much as it takes. times: so many times the limits of time."""
    done.inputs += 1
    try:
        with _limited(most_bytes, times), warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                kind.read(data)
                done.accepted += 1
            except REFUSALS as error:
                check_refusal(error)
    except TooSlow:
        done.wrong.append((data, f"took longer than {MOST_S:g} s, or waited\n{traceback.format_exc(limit=-3)}"))
    except MemoryError:
        done.wrong.append((data, f"took more than {MOST_BYTES >> 20} MiB\n{traceback.format_exc(limit=-3)}"))
    except Exception:
        done.wrong.append((data, traceback.format_exc(limit=-4)))


@contextmanager
def _limited(most_bytes: int | None, times: int) -> Iterator[None]:
    """Limit the time and the memory of this process until the block ends."""

    def over(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    timers = {signal.SIGALRM: (signal.ITIMER_REAL, MOST_WAITED_S), signal.SIGPROF: (signal.ITIMER_PROF, MOST_S)}
    earlier = {timer: signal.getitimer(timer) for timer, _ in timers.values()}
    previous = {number: signal.signal(number, over) for number in timers}
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + most_bytes, hard))
            for timer, seconds in timers.values():
                signal.setitimer(timer, seconds * times)
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in previous.items():
            signal.signal(number, handler)
        for timer, left in earlier.items():
            signal.setitimer(timer, *left)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * _PAGE_BYTES
