"""The numbers of a run with several cases: a table for each load, or for all loads of one target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.analyse.people import digits, milliseconds, rate, several
from orchestrator.report import claims, requests, transfer
from orchestrator.report.answer import reason, subject
from orchestrator.report.conditions import counted_in, load_in_words, trials_in_words
from orchestrator.report.connections import connections
from orchestrator.report.format import between, estimate, page_times, ratio, times
from orchestrator.report.layout import Cell, Column, fields, grid, wrapped
from orchestrator.report.rows import VERDICT_STYLE
from orchestrator.report.single import main_shape
from orchestrator.report.sparkline import EDGE, bar, rebinned
from orchestrator.result import (
    SHAPE_PER_DECADE,
    CaseResult,
    ComparedMetric,
    Comparison,
    Conclusion,
    Interval,
    ServerCost,
    Summary,
    Time,
    Verdict,
)
from orchestrator.slo import Metric

_BLANK = " "
_MEMORY = "peak memory"
_MOST_PICTURES, _PICTURE = 6, 40
_LABEL = 10
# By percentile: how long its column stays on a narrow terminal (see Column.need).
_FIRST = {Metric.P50: 1, Metric.P90: 3, Metric.P99: 0, Metric.P999: 8, Metric.MAX: 6}
_SECOND = {Metric.P50: 5, Metric.P99: 2}


@dataclass(frozen=True, slots=True)
class Block:
    """Cases that share a table. by_load: its rows are loads of one target, not targets under one load."""

    cases: list[CaseResult]
    comparisons: list[Comparison]
    by_load: bool

    @property
    def open_loop(self) -> bool:
        """Whether requests are due at times, so that there are response times."""
        return self.cases[0].response_time_us is not None


def blocks(summary: Summary) -> list[Block]:
    """Return the tables of a page."""
    loads = list(dict.fromkeys(case.load for case in summary.cases))
    if len({case.target for case in summary.cases}) == 1:
        open_loop = [case for case in summary.cases if case.response_time_us is not None]
        closed = [case for case in summary.cases if case.response_time_us is None]
        return [Block(cases, [], len(cases) > 1) for cases in (closed, open_loop) if cases]
    return [
        Block(
            [case for case in summary.cases if case.load == load],
            [c for c in summary.comparisons if c.load == load],
            False,
        )
        for load in loads
    ]


def render(summary: Summary, width: int) -> list[Any]:
    """Return what rich prints: each block with an empty line before it."""
    doubted = any(case.verdict is not Verdict.VALID for case in summary.cases)
    lines: list[Any] = []
    for block in blocks(summary):
        lines += ["", *_block(block, width, doubted)]
    return lines


def _block(block: Block, width: int, doubted: bool) -> list[Any]:
    shown = [c for c in block.comparisons if c.ratio is not None]
    sides = list(dict.fromkeys((c.candidate, c.baseline) for c in shown))
    columns = [
        Column("", "", [*_names(block), *(f"{new}/{old}" for new, old in sides)]),
        *_columns(block, [[c for c in shown if (c.candidate, c.baseline) == pair] for pair in sides], doubted),
    ]
    invalid = {
        i: (f"INVALID: {reason(case)}", VERDICT_STYLE[Verdict.INVALID])
        for i, case in enumerate(block.cases)
        if case.verdict is Verdict.INVALID
    }
    table = grid(columns, width, invalid)
    lines: list[Any] = [*wrapped(_title(block), width), *table]
    if any(not _settled(c) for c in shown):
        lines += wrapped("Ratios in parentheses are not settled.", width, "  ")
    lines += _errors(block, width)
    lines += _requests(block, width)
    if _MEMORY not in table[0].plain:
        lines += _servers(block, width, _cpu(block.cases) not in table[0].plain)
    lines += _services(block, width)
    return lines + _pictures(block, width)


def _services(block: Block, width: int) -> list[str]:
    """Return what the services of each case used."""
    named = zip(_names(block), block.cases, strict=True)
    texts = [f"{name}, {used}" for name, case in named for used in requests.of_services(case)]
    return [
        line
        for i, text in enumerate(texts)
        for line in wrapped(text, width, f"  {'' if i else 'services':<10}", " " * 12)
    ]


def _names(block: Block) -> list[str]:
    return [case.load if block.by_load else case.target for case in block.cases]


def _title(block: Block) -> str:
    first = block.cases[0]
    name = first.load
    if block.by_load:
        return f"{subject(first)}: {'open' if block.open_loop else 'closed'} loop{_each(block)}"
    return f"{name}: {load_in_words(first.planned)}{_each(block)}" if first.planned is not None else name


def _each(block: Block) -> str:
    """Return how many trials are behind each row, where that is the same for all; a column says it otherwise."""
    numbers = {(case.used, case.trials) for case in block.cases if case.verdict is not Verdict.INVALID}
    if len(numbers) != 1:
        return ""
    ((used, trials),) = numbers
    return f", {several(trials, 'trial', 'trials')} each" if used == trials else ""


def _cpu(cases: Sequence[CaseResult]) -> str:
    return f"CPU/{counted_in(*cases).short}"


def _columns(block: Block, pairs: Sequence[Sequence[Comparison]], doubted: bool) -> list[Column]:
    cases = block.cases
    empty: list[Cell] = [_BLANK for _ in pairs]

    def column(
        heading: str, unit: str, cells: Sequence[Cell], need: int, below: Sequence[Cell] | None = None
    ) -> Column:
        return Column(heading, unit, [*cells, *(empty if below is None else below)], need)

    throughput = [_of(pair, ComparedMetric.THROUGHPUT) for pair in pairs]
    unit = counted_in(*cases).per_s
    made = []
    if doubted:
        made.append(column("verdict", "", [(case.verdict, VERDICT_STYLE[case.verdict]) for case in cases], 0))
    if not _each(block):
        made.append(column("trials", "", [trials_in_words(case).split(" trial")[0] for case in cases], 4))
    if block.by_load and block.open_loop:
        made.append(column("asked", unit, [_asked(case) for case in cases], 0))
    if block.by_load and not block.open_loop:
        made.append(column("clients", "", ["" if c.planned is None else str(c.planned.clients) for c in cases], 1))
    made += [
        column("answered", unit, [estimate(c.throughput_per_s) for c in cases], 0, [_ratio(c) for c in throughput]),
        column("95 % interval", unit, [between(c.throughput_per_s) for c in cases], 2, [_sure(c) for c in throughput]),
    ]
    if block.open_loop:
        made += _times(block, Time.RESPONSE, _FIRST, pairs)
        made += _times(block, Time.SERVICE, _SECOND, pairs)
    else:
        made += _times(block, Time.SERVICE, _FIRST, pairs)
    servers = [case.server for case in cases]
    made += [
        column("errors", "%", [_error_share(case) for case in cases], 2),
        column("transfer", "MB/s", [_transfer(case) for case in cases], 5),
        column(_cpu(cases), "µs", [_known(s.cpu_us_per_request) for s in servers], 4),
        column(_MEMORY, "MiB", [requests.memory(s) for s in servers], 5),
        column("throttled", "% of periods", [_share(s.throttled_ratio) for s in servers], 9),
        column("OOM kills", "", [str(s.oom_kills) if s.oom_kills else "" for s in servers], 3),
        column("restarts", "", [str(s.restarts) if s.restarts else "" for s in servers], 3),
        column("CPU time", "s per trial", [_seconds(s) for s in servers], 10),
    ]
    return made


def _times(block: Block, time: Time, needs: dict[Metric, int], pairs: Sequence[Sequence[Comparison]]) -> list[Column]:
    made = []
    for name in needs:
        values = [page_times(case, time).get(name) for case in block.cases]
        below = [_ratio(_of(pair, _COMPARED.get((time, name)))) for pair in pairs]
        shown = ["" if value is None else milliseconds_of(value) for value in values]
        made.append(Column(name.label, f"{time}, ms", [*shown, *below], needs[name]))
    return made


_COMPARED = {
    (Time.SERVICE, Metric.P50): ComparedMetric.SERVICE_P50,
    (Time.SERVICE, Metric.P99): ComparedMetric.SERVICE_P99,
    (Time.RESPONSE, Metric.P99): ComparedMetric.RESPONSE_P99,
}


def milliseconds_of(value: Interval) -> str:
    """Return the estimate of a time in ms, without the unit."""
    return digits(value.estimate / 1e3)


def _of(pair: Sequence[Comparison], metric: ComparedMetric | None) -> Comparison | None:
    return next((c for c in pair if c.metric is metric), None)


def _settled(c: Comparison) -> bool:
    return c.conclusion in (*claims.SETTLED, Conclusion.EQUIVALENT)


def _ratio(c: Comparison | None) -> str:
    if c is None or c.ratio is None:
        return _BLANK
    text = f"{ratio(c.ratio.estimate)}×"
    return text if _settled(c) else f"({text})"


def _sure(c: Comparison | None) -> str:
    return _BLANK if c is None or c.ratio is None else times(c.ratio)


def _known(value: float | None) -> str:
    return "" if value is None else digits(value)


def _share(value: float | None) -> str:
    return "" if value is None else digits(100 * value)


def _seconds(server: ServerCost) -> str:
    return _known(server.cpu_s)


def _asked(case: CaseResult) -> str:
    return "" if case.planned is None or case.planned.rate_per_s is None else rate(case.planned.rate_per_s)


def _transfer(case: CaseResult) -> str:
    return estimate(case.received_bytes_per_s, transfer.MEGABYTE) if transfer.is_shown(case) else ""


def _error_share(case: CaseResult) -> str:
    share = case.requests.error_share
    return "" if not share else digits(100 * share)


def _errors(block: Block, width: int) -> list[str]:
    """Return what is claimed about errors; a table shows no differences of shares."""
    claimed = [c for c in block.comparisons if c.metric is ComparedMetric.ERRORS and c.conclusion in claims.SETTLED]
    return [line for c in claimed for line in wrapped(claims.sentence(c), width, "  ", "  ")]


def _requests(block: Block, width: int) -> list[str]:
    """Return what became of the requests: of each case with errors, and of the others together."""
    noun = counted_in(*block.cases).many
    failed = [case for case in block.cases if case.requests.unsuccessful]
    clean = [case for case in block.cases if not case.requests.unsuccessful and case.requests.ok]
    lines = fields([_with_status(clean, requests.added(clean))], width, noun, _LABEL) if clean else []
    for case in failed:
        name = case.load if block.by_load else case.target
        text = f"{name}: {_with_status([case], case.statuses)}"
        lines += fields([text], width, "" if lines else noun, _LABEL)
    first = "connected"
    for case in block.cases:
        if parts := connections(case.handshakes):
            name = case.load if block.by_load else case.target
            lines += fields([f"{name}: {parts[0]}", *parts[1:]], width, first, _LABEL)
            first = ""
    return lines


def _with_status(cases: Sequence[CaseResult], statuses: Mapping[str, int]) -> str:
    codes = requests.status_codes(statuses)
    return requests.outcome(cases) + (f"; status {codes}" if codes else "")


def _servers(block: Block, width: int, with_cpu: bool) -> list[str]:
    """Return what the requests cost each server, where the table has no room for it. with_cpu: nor for the CPU time."""
    lines: list[str] = []
    for case in block.cases:
        cpu, peak = case.server.cpu_us_per_request, requests.memory(case.server)
        parts = [f"CPU {digits(cpu)} µs/{counted_in(case).one}"] if with_cpu and cpu is not None else []
        parts += [f"peak memory {peak} MiB"] if peak else []
        if parts:
            name = case.load if block.by_load else case.target
            lines += fields([f"{name}: {', '.join(parts)}"], width, "" if lines else "server", _LABEL)
    return lines


def _pictures(block: Block, width: int) -> list[str]:
    """Return the distributions of the cases on one axis, so that they can be compared."""
    drawn = [case for case in block.cases if case.verdict is not Verdict.INVALID and main_shape(case)[1]]
    if not 1 < len(drawn) <= _MOST_PICTURES:
        return []
    present = [bucket for case in drawn for bucket, number in main_shape(case)[1].items() if number]
    first, last = min(present), max(present)
    names = [case.load if block.by_load else case.target for case in drawn]
    label = min(max(map(len, names)), max(12, width - _PICTURE - 8))
    cells = max(8, min(_PICTURE, width - label - 8))
    low, high = (milliseconds(10 ** (bucket / SHAPE_PER_DECADE)) for bucket in (first, last + 1))
    lines = wrapped(f"{main_shape(drawn[0])[0]}, {low} to {high}, logarithmic axis:", width, "  ")
    for case, name in zip(drawn, names, strict=True):
        heights = rebinned([main_shape(case)[1].get(bucket, 0) for bucket in range(first, last + 1)], cells)
        lines.append(f"  {name[:label]:<{label}}  {EDGE}{''.join(map(bar, heights))}{EDGE}")
    return lines
