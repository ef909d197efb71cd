"""Change an input a little, or a lot: seeded, so that each can be made again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

# What readers stumble over: ends of ranges, other spellings of numbers, markup, control characters, references to itself.
TOKENS: Sequence[bytes] = tuple(
    text.encode()
    for text in (
        *("0", "-0", "-1", "1e999", "9" * 400, "0x10", "1_000", ".5", "NaN", ".inf", "1" * 20, "٣", "1,5", "0b1"),
        *("null", "~", "true", "off", "2024-01-01", "!!omap", "!!python/object:x", "!!binary a", "&a", "*a", "<<: *a"),
        *("[", "]", "{", "}", "[[[[[[", "{{{{", "- - - -", ": :", "? ", "|", ">", "%", "@", "`", "'", '"', "\\", "#"),
        *(
            "${HOME}",
            "${",
            "${X:-",
            "$$",
            "${a.b}",
            "${row.id}",
            "\t",
            "\n",
            "\r\n",
            "\0",
            "\x1b[2J",
            "\x1b]0;x\x07",
            "\u202e",
        ),
        *(
            "../../etc/passwd",
            "/dev/zero",
            "[bold]x[/bold]",
            "[/x]",
            "~nobody-here/x",
            "http://[::1",
            "http://a:99999/",
            "unix:",
            "://",
            "%zz",
        ),
        *(
            "5s",
            "500ms",
            "1m30s",
            "5h5h",
            "100MiB",
            "3%",
            "1000/s",
            "p99 < 50ms",
            "errors < 0.1%",
            "<",
            ">",
            ",,",
            "ü",
            "日本",
        ),
        *("_" * 300, "a" * 5000, "{}", "[]", "\ufeff", "\ud7ff", "--set", "=", ".", ".."),
    )
)


def _flip(draw: random.Random, data: bytearray) -> None:
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _replace(draw: random.Random, data: bytearray) -> None:
    if data:
        data[draw.randrange(len(data))] = draw.randrange(256)


def _insert(draw: random.Random, data: bytearray) -> None:
    at = draw.randint(0, len(data))
    data[at:at] = draw.choice(TOKENS)


def _overwrite(draw: random.Random, data: bytearray) -> None:
    at = draw.randint(0, len(data))
    data[at : at + draw.randint(0, 12)] = draw.choice(TOKENS)


def _cut(draw: random.Random, data: bytearray) -> None:
    at = draw.randint(0, len(data))
    del data[at : at + draw.randint(1, 40)]


def _repeat(draw: random.Random, data: bytearray) -> None:
    at = draw.randint(0, len(data))
    piece = data[at : at + draw.randint(1, 40)]
    data[at:at] = piece * draw.choice((1, 2, 50))


def _move(draw: random.Random, data: bytearray) -> None:
    at = draw.randint(0, len(data))
    piece = data[at : at + draw.randint(1, 40)]
    del data[at : at + len(piece)]
    to = draw.randint(0, len(data))
    data[to:to] = piece


def _multiply(draw: random.Random, data: bytearray) -> None:
    """Repeat a piece hundreds of times: what takes the square of a length takes long."""
    at = draw.randint(0, len(data))
    piece = data[at : at + draw.randint(1, 60)]
    data[at:at] = piece * (draw.choice((2_000, 20_000)) // max(1, len(piece)))


# Of so many inputs one is multiplied, because it takes as long as hundreds of others.
_SELDOM = 300
_CHANGES: Sequence[Callable[[random.Random, bytearray], None]] = (
    *(_flip, _replace, _insert, _insert, _overwrite, _overwrite, _cut, _repeat, _move),
)  # fmt: skip


def mutated(draw: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Return an input of the corpus with one to eight changes, at times the half of one behind the half of another."""
    data = bytearray(draw.choice(corpus))
    if draw.random() < 0.1:
        other = draw.choice(corpus)
        data = data[: draw.randint(0, len(data))] + other[draw.randint(0, len(other)) :]
    for _ in range(draw.choice((1, 1, 1, 1, 2, 8))):
        draw.choice(_CHANGES)(draw, data)
    if draw.randrange(_SELDOM) == 0:
        _multiply(draw, data)
    return bytes(data)
