"""The lines of the live view, from its state, for a width and a height. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.analyse.people import milliseconds
from orchestrator.counted import REQUESTS
from orchestrator.report.live.marks import Marks
from orchestrator.report.live.state import HISTORY_S, State
from orchestrator.slo import rate_text

if TYPE_CHECKING:
    from rich.text import Text

BAR = 24
# With less room beside the names the bar says nothing.
SHORTEST_BAR = 6
# A line for the prompt of the shell, above the block.
SPARE_LINES = 1
# A picture in fewer lines shows nothing.
LEAST_PICTURE = 9
_NOTHING = "n/a"


@dataclass(frozen=True, slots=True)
class Room:
    """What a block may take. columns: one less than the terminal has, so that no line wraps."""

    columns: int
    lines: int

    @staticmethod
    def of(columns: int, lines: int) -> Room:
        """Return the room in a terminal."""
        return Room(max(1, columns - 1), max(1, lines - SPARE_LINES))


def block(state: State, now_s: float, room: Room, marks: Marks) -> list[Text]:
    """Return the lines, the most important first; always as many for one room and run, so that nothing jumps."""
    from rich.text import Text

    lines = [
        Text(_head(state, now_s, room.columns, marks), "bold"),
        Text(_doing(state, now_s)),
        *(Text(line) for line in _figures(state, room.columns)),
        Text(_sparkline(state, now_s, room.columns, marks), "cyan"),
        Text(_hosts(state), "dim"),
        Text(_findings(state), "yellow"),
    ]
    picture = _picture(state, room.columns, room.lines - len(lines))
    if picture:
        lines += picture
    elif state.so_far or (state.trial is not None and state.trial.at_most is not None):
        lines.insert(2, Text(state.so_far))
    return [_fitted(line, room.columns, marks) for line in lines[: room.lines]]


def _fitted(line: Text, columns: int, marks: Marks) -> Text:
    from rich.text import Text

    shown = Text(marks.plain(line.plain), line.style, spans=line.spans)
    if shown.cell_len > columns:
        shown.truncate(max(0, columns - 1))
        shown.append(marks.cut)
    return shown


def _head(state: State, now_s: float, columns: int, marks: Marks) -> str:
    """Return which trial is under way, a bar, and the time left."""
    trial = state.trial
    if trial is None:
        return f"preparing, {now_s - state.began_s:.0f} s"
    if trial.of is None:
        most = "" if trial.at_most is None else f" (at most {trial.at_most} for each target)"
        return f"probe {trial.number}{most}, {_time(now_s - state.began_s)} so far"
    share, left_s = state.share(now_s) or 0.0, state.left_s(now_s)
    left = "" if left_s is None else f"about {_time(left_s)} left" if left_s >= 1 else "a moment left"
    before, after = f"trial {trial.number} of {trial.of}", f"{100 * share:3.0f} %"
    width = min(BAR, columns - len(before) - len(after) - len(left) - 6)
    bar = f"{marks.bar(share, width)}  " if width >= SHORTEST_BAR else ""
    return f"{before}  {bar}{after}  {left}".rstrip()


def _doing(state: State, now_s: float) -> str:
    name = "" if state.trial is None else state.trial.case
    doing = state.doing
    if state.figures is not None:
        at_s, of_s = state.figures.get("elapsed_s", 0.0) + now_s - state.figures_at_s, state.figures.get("of_s")
        doing += f", {at_s:.0f} s" if of_s is None else f", {min(at_s, of_s):.0f} of {of_s:.0f} s"
    return ": ".join(part for part in (name, doing) if part)


def _figures(state: State, columns: int) -> list[str]:
    """Return rates and percentiles, on one line or two."""
    figures = state.figures
    rates, times = "", ""
    if figures is not None and "answered_per_s" in figures:
        unit = figures.get("unit", REQUESTS.per_s)
        rates = f"{rate_text(figures['answered_per_s'])} {unit}   {rate_text(figures['failed_per_s'])} errors/s"
        word = "response" if figures["response"] else "service"
        times = f"{word} time p50 {_ms(figures['p50_us'])}, p99 {_ms(figures['p99_us'])}"
    return [f"{rates}   {times}".rstrip()] if columns >= 72 else [rates, times]


def _ms(us: float | None) -> str:
    return _NOTHING if us is None else milliseconds(us)


def _sparkline(state: State, now_s: float, columns: int, marks: Marks) -> str:
    if not state.history:
        return ""
    # The drawing, a blank, and "max 1,000,000/s".
    values = state.throughput(now_s, max(1, min(HISTORY_S, columns - 16)))
    highest = max((value for value in values if value is not None), default=0.0)
    return f"{marks.sparkline(values)} max {rate_text(highest)}/s"


def _hosts(state: State) -> str:
    busy: Mapping[str, float] = {} if state.figures is None else state.figures.get("busy", {})
    return "CPU  " + "   ".join(f"{host} {100 * share:.0f} %" for host, share in busy.items()) if busy else ""


def _findings(state: State) -> str:
    if not state.findings:
        return ""
    codes = ", ".join(
        code if count == 1 else f"{code} ({count} trials)" for code, count in state.findings.most_common()
    )
    return f"doubts so far: {codes}"


def _picture(state: State, columns: int, lines: int) -> list[Any]:
    """Return the lines of the picture; none where it does not fit."""
    if state.picture is None or lines < LEAST_PICTURE:
        return []
    drawn = state.picture(lines)
    rows = [] if drawn is None else list(drawn.split("\n"))
    return rows if len(rows) <= lines and all(row.cell_len <= columns for row in rows) else []


def _time(seconds: float) -> str:
    minutes, rest_s = divmod(round(seconds), 60)
    return f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
