"""The tables of a page: rows of text, with the numbers of summary.json in the format of the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.hostmeter import HostUse
from orchestrator.analyse.findings.handshakes import statuses_in_words
from orchestrator.analyse.people import UNKNOWN, count, digits, mebibytes, p_value, percent
from orchestrator.report.conditions import counted_by, counted_in
from orchestrator.report.connections import closed_in_words
from orchestrator.report.format import page_times, with_interval
from orchestrator.report.gates import GateLine
from orchestrator.report.html.head import limits_in_words
from orchestrator.report.requests import status_codes
from orchestrator.result import AgentLine, CaseResult, Comparison, Conclusion, GateState, Summary, Time, Trial, Verdict
from orchestrator.slo import QUANTILES, Metric

SHOWN_TIMES = (*QUANTILES, Metric.MEAN, Metric.MAX)
# More cases than these stand below each other.
_MOST_BESIDE = 4
# The states of an objective or a gate as classes of the style sheet.
_STATES = {
    GateState.PASSED: "PASS",
    GateState.FAILED: "FAIL",
    GateState.UNDECIDED: "SUSPECT",
    GateState.NOT_JUDGED: "SUSPECT",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell. kind: a class of the style sheet, such as a verdict."""

    text: str
    kind: str = ""


# The kind of a cell that holds a sentence.
WORDS = "words"
Row = Sequence[str | Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is a heading. numbers: columns with numbers, from the second on, else text."""

    columns: list[str]
    rows: list[list[Cell]]
    caption: str = ""


def made(columns: Sequence[str], rows: Iterable[Row], caption: str = "") -> Table | None:
    """Return a table without the columns in which every cell is empty; None without any other column or row."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    if not cells:
        return None
    kept = [i for i in range(len(columns)) if not i or any(row[i].text not in ("", UNKNOWN) for row in cells)]
    if len(kept) < 2:
        return None
    return Table([columns[i] for i in kept], [[row[i] for i in kept] for row in cells], caption)


def results(summary: Summary) -> list[Table]:
    """Return the numbers of each case: one table of response times, one of service times."""
    valid = "Geometric mean over the trials, 95 % interval; max: the longest of all"
    tables = []
    for time in (Time.RESPONSE, Time.SERVICE):
        rows: list[Row] = []
        shown_cases: list[CaseResult] = []
        for case in summary.cases:
            times = case.response_time_us if time is Time.RESPONSE else case.service_time_us
            if times is None:
                continue
            shown_cases.append(case)
            shown = page_times(case, time)
            cells = [with_interval(shown.get(name), 1000) for name in SHOWN_TIMES]
            head: Row = [case.case, Cell(case.verdict, case.verdict), f"{case.used} of {case.trials}"]
            rows.append([*head, with_interval(case.throughput_per_s), *cells])
        unit = counted_in(*shown_cases).per_s
        columns = ["case", "verdict", "trials", unit, *(f"{Metric(name).label}, ms" for name in SHOWN_TIMES)]
        table = made(columns, rows, f"{str(time).capitalize()}. {valid}.")
        tables.append(turned(table) if table is not None and len(rows) <= _MOST_BESIDE else table)
    return [table for table in tables if table is not None]


def turned(table: Table) -> Table:
    """Return a table with a column for each row: what a few cases with many numbers need."""
    heads = [row[0].text for row in table.rows]
    rows = [[Cell(name), *(row[i] for row in table.rows)] for i, name in enumerate(table.columns) if i]
    return Table([table.columns[0], *heads], rows, table.caption)


def requests(summary: Summary) -> Table | None:
    """Return what became of the requests, and the status codes."""
    rows: list[Row] = [
        [
            case.case,
            *map(count, (case.requests.ok, case.requests.http_error, case.requests.failed)),
            count(case.requests.censored) if case.requests.censored else "",
            Cell(status_codes(case.statuses), WORDS),
        ]
        for case in summary.cases
    ]
    columns = ["case", "ok", "HTTP errors", "failed", "not ended in time (at most)", "by status code"]
    return made(columns, rows, f"{counted_in(*summary.cases).many.capitalize()} of all trials that ran.")


def connections(summary: Summary) -> Table | None:
    """Return what became of the connections of loads over WebSocket."""
    rows: list[Row] = [
        [
            case.case,
            count(known.opened),
            *(digits(known.connect_quantile_us(q) / 1e3) if known.opened else "" for q in (0.5, 0.99)),
            Cell(statuses_in_words(known), WORDS),
            Cell(closed_in_words(known), WORDS),
        ]
        for case in summary.cases
        if (known := case.handshakes) is not None
    ]
    columns = ["case", "opened", "p50, ms", "p99, ms", "failed handshakes by status", "closed instead of answering"]
    return made(columns, rows, "Connections of all trials that ran, and the time to connect.")


def server(summary: Summary) -> Table | None:
    """Return what the requests cost the server."""
    rows: list[Row] = []
    sent = counted_in(*summary.cases).short
    for case in summary.cases:
        cost = case.server
        limit = f" of {mebibytes(cost.memory_limit_bytes)}" if cost.memory_limit_bytes else ""
        peak = UNKNOWN if cost.peak_memory_bytes is None else f"{mebibytes(cost.peak_memory_bytes)}{limit}"
        throttled = UNKNOWN if cost.throttled_ratio is None else f"{percent(cost.throttled_ratio)} of periods"
        kills = [Cell(count(n), "INVALID" if n else "") for n in (cost.oom_kills, cost.restarts)]
        per = [digits(cost.cpu_us_per_request), digits(cost.requests_per_cpu_s)]
        limits = limits_in_words(case.planned) if case.planned else ""
        rows.append([case.case, limits, *per, digits(cost.cpu_s), throttled, peak, *kills])
    columns = [
        "case",
        "limits",
        f"CPU µs/{sent}",
        f"{sent} per CPU s",
        "CPU s",
        "throttled",
        "peak memory",
        "OOM kills",
        "restarts",
    ]
    return made(columns, rows, "Means per trial; peak memory, kills and restarts are over all trials.")


def services(summary: Summary) -> Table | None:
    """Return what the requests cost the services of each target."""
    rows: list[Row] = []
    sent = counted_in(*summary.cases)
    for case in summary.cases:
        planned = {service.name: service for service in (case.planned.services if case.planned else [])}
        for name, cost in case.services.items():
            quota = planned[name].cpus if name in planned else None
            limit = f" of {mebibytes(cost.memory_limit_bytes)}" if cost.memory_limit_bytes else ""
            peak = UNKNOWN if cost.peak_memory_bytes is None else f"{mebibytes(cost.peak_memory_bytes)}{limit}"
            throttled = UNKNOWN if cost.throttled_ratio is None else f"{percent(cost.throttled_ratio)} of periods"
            kills = [Cell(count(n), "INVALID" if n else "") for n in (cost.oom_kills,)]
            again = count(cost.restarts) if cost.restarts else ""
            per = [digits(cost.cpu_us_per_request), digits(cost.cpu_s), "" if quota is None else f"{quota:g}"]
            lifetime = planned[name].lifetime if name in planned else ""
            rows.append([case.case, name, lifetime, *per, throttled, peak, *kills, again])
    columns = [
        "case",
        "service",
        "kept for",
        f"CPU µs/{sent.short}",
        "CPU s",
        "quota, cores",
        "throttled",
        "peak memory",
    ]
    caption = f"Means per trial; peak memory and kills are over all trials. Per {sent.one} that the target answered."
    return made([*columns, "OOM kills", "started again"], rows, caption)


def hosts(trials: Sequence[Trial]) -> Table | None:
    """Return the worst that each host did in any trial."""
    by_host: dict[str, list[HostUse]] = {}
    for trial in trials:
        for use in trial.facts.hosts:
            by_host.setdefault(use.host, []).append(use)
    rows: list[Row] = []
    for host, uses in by_host.items():
        first = uses[0]
        link = max((use.link_share for use in uses if use.link_share is not None), default=None)
        again = sum(use.segments_sent_again for use in uses)
        rows.append(
            [
                host,
                str(first.role),
                count(first.cores),
                percent(max(use.busy_share for use in uses)),
                percent(max(use.busiest_core for use in uses)),
                percent(max(use.steal_share for use in uses)),
                percent(max(use.softirq_share for use in uses)),
                first.link,
                percent(link),
                count(again),
                count(max(use.held for use in uses)),
            ]
        )
    columns = ["host", "role", "cores", "busy", "busiest core", "taken by other VMs", "interrupts", "link", "link use"]
    return made([*columns, "segments sent again", "sockets"], rows, "The worst trial of each host; segments of all.")


def agents(trials: Sequence[Trial], cases: Sequence[str]) -> Table | None:
    """Return what each agent did over the trials of each case. cases: their order."""
    lines: dict[tuple[str, str], list[AgentLine]] = {}
    for trial in trials:
        for line in trial.metrics.agents if trial.metrics else []:
            lines.setdefault((trial.facts.case.name, line.agent), []).append(line)
    bounds, sent = _clock_bounds(trials), counted_by(trials)
    ordered = sorted(lines.items(), key=lambda item: (cases.index(item[0][0]), item[0][1]))
    rows = [_agent(case, own, bounds.get(agent.rpartition("/")[0])) for (case, agent), own in ordered]
    columns = ["case", "agent", sent.many, "p50, ms", "p99, ms", "start skew, ms", "clock bound, ms", "busiest thread"]
    return made(
        columns,
        rows,
        "Service times: the lowest and the highest trial. Start skew: from when the agent "
        f"should have started to its first {sent.one}. Skew, bound and CPU: the worst trial.",
    )


def _agent(case: str, own: Sequence[AgentLine], bound_ns: int | None) -> Row:
    skew = max((abs(line.start_skew_us) for line in own if line.start_skew_us is not None), default=None)
    return [
        case,
        own[0].agent,
        count(sum(line.requests for line in own)),
        _range([line.p50_us for line in own if line.p50_us is not None]),
        _range([line.p99_us for line in own if line.p99_us is not None]),
        UNKNOWN if skew is None else digits(skew / 1e3),
        UNKNOWN if bound_ns is None else f"± {digits(bound_ns / 1e6)}",
        percent(max(line.cpu_busiest for line in own)),
    ]


def _clock_bounds(trials: Sequence[Trial]) -> dict[str, int]:
    bounds: dict[str, int] = {}
    for trial in trials:
        for clock in trial.facts.clocks:
            bounds[clock.host] = max(bounds.get(clock.host, 0), clock.half_width_ns)
    return bounds


def _range(times_us: Sequence[int]) -> str:
    if not times_us:
        return UNKNOWN
    low, high = (digits(value / 1e3) for value in (min(times_us), max(times_us)))
    return low if low == high else f"{low}–{high}"


def gates(lines: Sequence[GateLine]) -> Table | None:
    """Return each objective or gate with what became of it, what was found, and why."""
    rows: list[Row] = [
        [line.case, line.what, Cell(line.state, _STATES[line.state]), line.found, Cell(line.why, WORDS)]
        for line in lines
    ]
    return made(["case", "limit", "state", "found", "why"], rows)


def comparisons(found: Sequence[Comparison], between_runs: bool = False) -> Table | None:
    """Return every comparison with its interval and what it came to."""
    rows: list[Row] = []
    for c in found:
        value = UNKNOWN
        if c.ratio is not None:
            value = f"{digits(c.ratio.estimate)}× ({digits(c.ratio.low)}–{digits(c.ratio.high)})"
        elif c.difference is not None:
            points = [f"{100 * (v or 0.0):+.2f}" for v in (c.difference.estimate, c.difference.low, c.difference.high)]
            value = f"{points[0]} points ({points[1]} to {points[2]})"
        what = f"{c.target}/{c.load}" if between_runs else f"{c.candidate}/{c.baseline}, {c.load}"
        p = "" if c.p_holm is None else p_value(c.p_holm).removeprefix("p = ").removeprefix("p ")
        rows.append(
            [what, c.metric.label, value, p, Cell(c.conclusion, conclusion_kind(c.conclusion)), Cell(c.reason, WORDS)]
        )
    return made(["what", "metric", "candidate/baseline (95 % interval)", "p", "conclusion", "why"], rows)


def conclusion_kind(conclusion: Conclusion) -> str:
    """Return the class of a conclusion."""
    return {Conclusion.FASTER: "PASS", Conclusion.SLOWER: "FAIL", Conclusion.DIFFERS_HERE: "SUSPECT"}.get(
        conclusion, ""
    )


def trials(found: Sequence[Trial], most: int) -> Table | None:
    """Return a row for each trial, up to this many."""
    rows: list[Row] = []
    for trial in found[:most]:
        metrics = trial.metrics
        codes = ", ".join(dict.fromkeys(str(f.code) for f in trial.findings))
        times = [] if metrics is None else [metrics.service_time_us.get(name) for name in (Metric.P50, Metric.P99)]
        numbers = (
            [digits(metrics.throughput_per_s), *(digits(None if t is None else t / 1e3) for t in times)]
            if metrics
            else [UNKNOWN] * 3
        )
        errors = percent(metrics.requests.error_share) if metrics else trial.facts.error or ""
        verdict = Cell(trial.verdict, trial.verdict if trial.verdict != Verdict.VALID else "")
        rows.append([str(trial.facts.number), trial.facts.case.name, verdict, *numbers, errors, Cell(codes, WORDS)])
    return made(
        ["trial", "case", "verdict", counted_by(found).per_s, "service time p50, ms", "p99, ms", "errors", "findings"],
        rows,
    )
