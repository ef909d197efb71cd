"""The live view: its state from events, and its lines for every size of terminal."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.report import progress
from orchestrator.report.live.block import Room, block
from orchestrator.report.live.marks import ASCII, UNICODE, marks_for
from orchestrator.report.live.painter import Above, Line, Painter
from orchestrator.report.live.state import State
from orchestrator.run.events import Event

FIGURES = {
    "answered_per_s": 7568.4, "failed_per_s": 2.25, "p50_us": 2580.0, "p99_us": 4140.0, "response": False, "rows": 9,
    "busy": {"local": 0.871, "web": 0.12}, "elapsed_s": 1.5, "of_s": 3.8, "phase": "window",
}  # fmt: skip
TRIAL = {"number": 2, "of": 3, "case": "127.0.0.1-8000/load", "left_s": 8.0, "expected_s": 4.0}
PROBE = {
    "number": 7,
    "case": "shop, probe at 2.5/s",
    "expected_s": 9.0,
    "at_most": 60,
    "so_far": "capacity above 2.0/s",
}


def state(*events):
    """The state 2 s after the last event, which was at 100 s."""
    made = State(90.0)
    for event in events:
        made.take_in(event, 100.0)
    return made


def lines(made, columns=80, rows=24, marks=UNICODE, now_s=102.0):
    return [line.plain for line in block(made, now_s, Room.of(columns, rows), marks)]


RUNNING = (Event("trial", "", TRIAL), Event("load", "", FIGURES, passing=True))


def test_the_page_while_it_runs():
    """Trial and time left, phase, figures, throughput, hosts."""
    shown = lines(state(*RUNNING, Event("judged", "", {"findings": ["shared-host"]}), *RUNNING))

    assert re.fullmatch(r"trial 2 of 3  █+.?░+  +50 %  about 6 s left", shown[0])
    assert shown[1] == "127.0.0.1-8000/load: window, 4 of 4 s"
    assert shown[2] == "7,568 req/s   2.2 errors/s   service time p50 2.58 ms, p99 4.14 ms"
    assert re.fullmatch(r" +█ +max 7,568/s", shown[3])
    assert shown[4] == "CPU  local 87 %   web 12 %"
    assert shown[5] == "doubts so far: shared-host"


def test_a_search_shows_its_probe_and_its_interval():
    shown = lines(state(Event("trial", "", PROBE, passing=True)))

    assert shown[0] == "probe 7 (at most 60 for each target), 12 s so far"
    assert shown[1:3] == ["shop, probe at 2.5/s", "capacity above 2.0/s"]


def test_before_the_first_trial_it_says_what_it_is_doing():
    shown = lines(state(Event("build", "Step 3/9: \x1b[31mRUN\ttrue", passing=True)))

    assert shown[:2] == ["preparing, 12 s", "Step 3/9: RUN true"]


@given(st.integers(1, 200), st.integers(1, 60), st.sampled_from([UNICODE, ASCII]), st.booleans())
def test_it_fits_every_terminal(columns, rows, marks, searching):
    """No line wraps, and there is room for the line above; the height does not depend on what is known yet."""
    events = (Event("trial", "", PROBE if searching else TRIAL), Event("load", "", FIGURES, passing=True))
    full = state(*events, Event("judged", "", {"findings": ["shared-host", "host-steal"] * 9}), *events)
    early = state(events[0])
    for made in (full, early, State(90.0)):
        drawn = block(made, 102.0, Room.of(columns, rows), marks)
        assert all(line.cell_len <= max(1, columns - 1) for line in drawn)
        assert len(drawn) <= max(1, rows - 1)
        assert marks is UNICODE or all(line.plain.isascii() for line in drawn)
    assert len(lines(full, columns, rows)) == len(lines(early, columns, rows))


def test_a_trial_that_takes_longer_does_not_look_finished():
    """The last trial, an hour late."""
    late = state(Event("trial", "", TRIAL | {"number": 3, "left_s": 4.0}))

    assert late.share(4000.0) < 1
    assert lines(late, now_s=4000.0)[0].endswith("99 %  a moment left")


@pytest.mark.parametrize(
    ("encoding", "marks"), [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII)]
)
def test_an_encoding_decides_what_is_drawn_with(encoding, marks):
    assert marks_for(encoding) is marks


def test_bars_and_sparklines():
    assert [UNICODE.bar(share, 4) for share in (0, 0.4, 1, 7)] == ["░░░░", "█▌░░", "████", "████"]
    assert ASCII.bar(0.5, 4) == "##--"
    assert UNICODE.sparkline([None, 0, 4, 8]) == " ▁▅█"
    assert UNICODE.sparkline([0.0, 0.0]) == "▁▁"


class Terminal(io.StringIO):
    """Keeps what is written; each write is a frame."""

    encoding = "utf-8"

    def isatty(self):
        return True


def test_a_frame_replaces_the_one_before():
    """One write: up to the first line of the old block, however the terminal has folded it, then line by line."""
    painter = Painter(terminal := Terminal())
    painter.draw([Line("x" * 100, 100), Line("y", 1)])
    terminal.truncate(0)
    painter.draw([Line("z", 1)], ["stays"])
    shown = terminal.getvalue().lstrip("\0")
    painter.close()
    painter.draw(above=["after"])

    # 100 cells are two rows of 80.
    assert "\r\x1b[2A\x1b[2Kstays\n\x1b[2Kz\x1b[J" in shown
    assert terminal.getvalue().endswith("\x1b[J\x1b[?25h\x1b[?2026lafter\n")


def test_what_is_printed_meanwhile_stays_above_the_block():
    """Whole lines, folded; the cursor is visible after each frame."""
    painter = Painter(terminal := Terminal())
    painter.draw([Line("block", 5)])
    above = Above(painter, terminal)
    above.write("x" * 160 + "\nrest")
    above.finish()

    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert shown.split("block") == ["\r", "\r" + "x" * 79 + "\n" + "x" * 79 + "\nxx\n", "\rrest\n", ""]
    assert terminal.getvalue().count("\x1b[?25l") == terminal.getvalue().count("\x1b[?25h")


def test_a_log_has_a_line_for_each_trial_and_one_for_each_ten_seconds(monkeypatch, capsys):
    """Each trial's line stands alone; long trials show that they go on."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])  # type: ignore[attr-defined]
    shown = progress.Progress()
    shown.show(Event("run", "run b: 2 trials"))
    for number in (1, 2):
        shown.show(Event("trial", f"trial {number} of 2: x", {"number": number, "of": 2, "case": "x"}))
        for _ in range(12 if number == 2 else 3):
            clock[0] += 1
            shown.show(Event("load", "3 s of 4 s: 9 req/s", FIGURES, passing=True))
        shown.show(Event("judged", f"trial {number} of 2: x: 9 req/s: VALID", {"findings": []}))
    shown.close()

    assert [line.partition(" s  ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "run b: 2 trials",
        "trial 1 of 2: x: 9 req/s: VALID",
        "trial 2 of 2: 3 s of 4 s: 9 req/s",
        "trial 2 of 2: x: 9 req/s: VALID",
    ]


def test_quiet_shows_nothing(capsys):
    progress.Progress(quiet=True).show(Event("run", "run b"))

    assert capsys.readouterr().err == ""


def test_a_command_above_the_block_is_not_cut_at_a_hyphen(monkeypatch):
    """It can be copied from a line of its own."""
    shown = progress._Terminal(io.StringIO())
    monkeypatch.setattr(shown._painter, "size", lambda: (80, 24))
    name = "runs/saturate-saturation-20261126T190138Z"
    assert f"          {name}" in shown._staying(f"interrupted; continue with: volley resume {name}", 12.7)
