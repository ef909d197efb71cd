"""The live view on real terminals: tmux draws what 'volley bench' writes. Bounds and orders only, no speeds."""

import itertools
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.conftest import require
from tests.integration.machine import VOLLEY
from tests.tmux import terminal

UTF8 = {"LC_ALL": "C.UTF-8", "TERM": "screen-256color"}
HEAD = re.compile(r"(trial \d+ of \d+  .*\d %|preparing, )")
FINISHED = re.compile(r" s  trial (\d) of 2: .* req/s")
DOING = re.compile(r"127\.0\.0\.1-\d+\/load(: \w.*)?$")
DEADLINE_S = 120


@pytest.fixture(autouse=True)
def _tools():
    require("tmux")


@pytest.fixture(scope="module")
def url():
    """A server that answers at once."""
    command = [sys.executable, "-m", "agents.trivial", "127.0.0.1", "0", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/"
        server.stdin.close()


@contextmanager
def bench(url, folder, columns, lines, *options, **environment):
    """Two short trials in a terminal."""
    load = ("-c", "4", "-d", "1s", "--repeat", "2", "--out", str(folder / "runs"))
    with terminal(columns, lines, [*VOLLEY, "bench", url, *load, *options], UTF8 | environment) as shown:
        yield shown


def head_of(screen):
    """The line of the screen on which the block begins; None without a block. It is there once."""
    heads = [i for i, line in enumerate(screen) if HEAD.match(line)]
    assert len(heads) <= 1, screen
    return heads[0] if heads else None


@pytest.mark.parametrize(("columns", "lines"), [(80, 24), (40, 10)])
def test_one_block_is_redrawn_in_place(url, tmp_path, columns, lines):
    """From its first frame to its last it is there, whole, within the screen, and moves only down, for the lines above."""
    with bench(url, tmp_path, columns, lines) as shown:
        frames = list(shown.frames(DEADLINE_S))
        status, everything, cursor = shown.status(1), shown.screen(500), shown.has_cursor()
    heads = [head_of(frame) for frame in frames]
    first = next(i for i, head in enumerate(heads) if head is not None)
    last = max(i for i, head in enumerate(heads) if head is not None)

    assert None not in heads[first : last + 1], "a frame without the block between two with it"
    blocks = [
        [line for line in frame[head:] if line]
        for frame, head in zip(frames[first : last + 1], heads[first : last + 1], strict=True)
    ]
    assert max(len(block) for block in blocks) < lines
    for block in blocks:
        assert not any(FINISHED.search(line) for line in block), "a finished trial below the block"
        if block[0].startswith("trial "):
            # Half drawn, the second line would be missing or that of something else.
            assert DOING.match(block[1]), block
    for before, after in itertools.pairwise(heads[first : last + 1]):
        # Down as lines come above it. On a low screen it stays at the lower end, where a line more or less moves it by one.
        assert after >= before - (1 if lines == 10 else 0), (before, after)
    assert any("req/s" in line for block in blocks for line in block)
    assert any("CPU" in line for block in blocks for line in block)
    assert any("window" in line for block in blocks for line in block)
    # What is left: each finished trial once, then the page.
    finished = [match[1] for line in everything if (match := FINISHED.search(line))] if columns == 80 else ["1", "2"]
    assert finished == ["1", "2"]
    assert status in (0, 3)
    assert not [line for line in everything if HEAD.match(line)]
    assert cursor


def test_a_terminal_that_changes_its_size(url, tmp_path):
    """The block fits after each change, and none of its old lines is left."""
    with bench(url, tmp_path, 80, 24, "-d", "20s") as shown:
        shown.wait_for(lambda screen: any("window," in line for line in screen), DEADLINE_S)
        for columns, lines in ((50, 24), (100, 30), (44, 24), (80, 24)):
            shown.resize(columns, lines)
            # Of its own width: the time left follows the bar, and a narrow block has two lines of figures.
            screen = shown.wait_for(
                lambda screen, narrow=columns < 73: narrow != any(
                    "req/s" in line and "time p50" in line for line in screen
                ) and any("time p50" in line for line in screen), DEADLINE_S,
            )  # fmt: skip
            assert head_of(screen) is not None
            assert sum("time p50" in line for line in screen) == 1, screen
        shown.keys("C-c")
        status, screen, cursor = shown.status(60), shown.screen(100), shown.has_cursor()

    assert status == 130
    assert cursor
    assert not [line for line in screen if HEAD.match(line) or "time p50" in line], screen
    assert sum("interrupted: cleaning up" in line for line in screen) == 1


@pytest.mark.parametrize(
    ("environment", "live", "mark"),
    [
        ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, True, "#"),
        ({"NO_COLOR": "1"}, True, "█"),
        ({"TERM": "dumb"}, False, None),
        ({"CI": "true"}, False, None),
    ],
    ids=["ascii", "no-color", "dumb", "ci"],
)
def test_what_the_terminal_can_show_decides(url, tmp_path, environment, live, mark):
    """ASCII bars in an ASCII locale, no colour where none is wanted, plain lines where nothing can be redrawn."""
    with bench(url, tmp_path, 80, 24, "--repeat", "1", **environment) as shown:
        frames = list(shown.frames(DEADLINE_S))
    blocks = [frame[head:] for frame in frames if (head := head_of(frame)) is not None]

    assert bool(blocks) is live
    if live:
        assert any(mark in block[0] for block in blocks)
        if mark == "#":
            assert all("\n".join(block).isascii() for block in blocks)
