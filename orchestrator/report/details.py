"""Everything that is known of a run, below its page: trials, agents, servers, hosts, findings, comparisons, versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agents.records import ServerState, ServiceFacts
from orchestrator.analyse.people import count, digits, p_value
from orchestrator.facts import Environment, TrialFacts
from orchestrator.report import requests
from orchestrator.report.claims import sentence
from orchestrator.report.conditions import counted_by
from orchestrator.report.finding import tag
from orchestrator.report.layout import Column, fields, grid, wrapped
from orchestrator.report.rows import VERDICT_STYLE
from orchestrator.result import CaseResult, Comparison, ServerCost, Severity, Summary, Time, Trial
from orchestrator.slo import Metric

_MIB = 2**20
_LABEL = 12


def render(summary: Summary, trials: Sequence[Trial], environment: Environment | None, width: int) -> list[Any]:
    """Return what rich prints, section by section. A section without content is left out."""
    sections: list[tuple[str, list[Any]]] = [
        ("Trials", _trials(trials, width)),
        ("Agents", _agents(trials, width)),
        ("Status codes", _statuses(summary, trials, width)),
        ("Server", _server(trials, width)),
        ("Services", _services(trials, width)),
        ("Hosts during the load", _hosts(trials, width)),
        ("Findings", _findings(summary.cases, width) or _trial_findings(trials, width)),
        ("Comparisons", _comparisons(summary.comparisons, width)),
        ("Environment", [] if environment is None else _environment(environment, width)),
    ]
    return [line for heading, lines in sections if lines for line in ("", heading, *lines)]


def _known(value: float | None, unit: float = 1.0) -> str:
    return "" if value is None else digits(value / unit)


def _some(value: int | None) -> str:
    return str(value) if value else ""


def _number(facts: TrialFacts) -> str:
    return f"{facts.number} {facts.case.name}"


def _trials(trials: Sequence[Trial], width: int) -> list[Any]:
    made = [trial.metrics for trial in trials]
    times = [{} if m is None else m.response_time_us or m.service_time_us for m in made]
    time = Time.RESPONSE if any(m is not None and m.response_time_us for m in made) else Time.SERVICE
    mixed = time is Time.RESPONSE and any(m is not None and not m.response_time_us for m in made)
    unit, per_s = "main time, ms" if mixed else f"{time}, ms", counted_by(trials).per_s
    columns = [
        Column("trial", "", [_number(trial.facts) for trial in trials]),
        Column("verdict", "", [(trial.verdict, VERDICT_STYLE[trial.verdict]) for trial in trials]),
        Column("asked", per_s, [_known(trial.facts.case.rate_per_s) for trial in trials], 6),
        Column("answered", per_s, ["" if m is None else digits(m.throughput_per_s) for m in made]),
        *(
            Column(name.label, unit, [_known(each.get(name), 1e3) for each in times], need)
            for name, need in ((Metric.P50, 1), (Metric.P90, 5), (Metric.P99, 0), (Metric.P999, 7), (Metric.MAX, 4))
        ),
        Column("window", "s", ["" if m is None else digits(m.window_s) for m in made], 3),
        Column("errors", "", [_some(0 if m is None else m.requests.unsuccessful) for m in made], 2),
    ]
    lines = grid(columns, width)
    if mixed:
        lines += wrapped("Main time: response time of open loads, service time of closed loads.", width, "  ")
    return lines


def _agents(trials: Sequence[Trial], width: int) -> list[Any]:
    rows = [(trial, line) for trial in trials if trial.metrics is not None for line in trial.metrics.agents]
    sent = counted_by(trial for trial, _ in rows)
    columns = [
        Column("trial", "", [_number(trial.facts) for trial, _ in rows]),
        Column("agent", "", [line.agent for _, line in rows], left=True),
        Column(sent.many, "", [count(line.requests) for _, line in rows], 1),
        Column("answered", sent.per_s, [digits(line.throughput_per_s) for _, line in rows], 3),
        Column("p50", "service time, ms", [_known(line.p50_us, 1e3) for _, line in rows], 2),
        Column("p99", "service time, ms", [_known(line.p99_us, 1e3) for _, line in rows]),
        Column("start skew", "ms", [_known(line.start_skew_us, 1e3) for _, line in rows]),
        Column("CPU", "% of core", [digits(100 * line.cpu_busiest) for _, line in rows]),
    ]
    return grid(columns, width)


def _statuses(summary: Summary, trials: Sequence[Trial], width: int) -> list[str]:
    """Return the statuses by case; of a search, which has no cases, by trial."""
    if summary.cases:
        named = [(case.case, case.statuses) for case in summary.cases if case.statuses]
    else:
        named = [(_number(trial.facts), trial.metrics.statuses) for trial in trials if trial.metrics is not None]
    label = min(max((len(name) for name, _ in named), default=0) + 2, 30)
    return [
        line
        for name, statuses in named
        for line in fields(
            [f"{requests.status_name(status)}: {count(number)}" for status, number in statuses.items()],
            width,
            name,
            label,
        )
    ]


def _server(trials: Sequence[Trial], width: int) -> list[Any]:
    rows = [(trial.facts, trial.metrics.server) for trial in trials if trial.metrics is not None]
    servers = [server for _, server in rows]
    columns = [
        Column("trial", "", [_number(facts) for facts, _ in rows]),
        Column(f"CPU/{counted_by(trials).short}", "µs", [_known(s.cpu_us_per_request) for s in servers]),
        Column("CPU time", "s", [_known(s.cpu_s) for s in servers], 2),
        Column("throttled", "% of periods", [_percent(s.throttled_ratio) for s in servers], 1),
        Column("throttled", "s", [_known(s.throttled_s) for s in servers], 4),
        Column("peak memory", "MiB", [_memory(s) for s in servers]),
        Column("OOM kills", "", [_some(s.oom_kills) for s in servers]),
        Column("page faults", "major", [_some(s.major_faults) for s in servers], 5),
        Column("restarts", "", [_some(facts.server.restarts) for facts, _ in rows]),
    ]
    return grid(columns, width) if any(not column.empty for column in columns[1:]) else []


def _services(trials: Sequence[Trial], width: int) -> list[Any]:
    rows = [(trial, service) for trial in trials for service in trial.facts.services]
    used = [
        trial.metrics.services.get(service.name, ServerCost()) if trial.metrics is not None else ServerCost()
        for trial, service in rows
    ]
    columns = [
        Column("trial", "", [_number(trial.facts) for trial, _ in rows]),
        Column("service", "", [service.name for _, service in rows], left=True),
        Column("host", "", [service.host for _, service in rows], 5, left=True),
        Column("state", "", [_state(service) for _, service in rows], 1, left=True),
        Column("CPU time", "s", [_known(u.cpu_s) for u in used]),
        Column("quota", "cores", [_known(service.cpus) for _, service in rows], 2),
        Column("throttled", "% of periods", [_percent(u.throttled_ratio) for u in used], 1),
        Column("peak memory", "MiB", [_memory(u) for u in used]),
        Column("OOM kills", "", [_some(u.oom_kills) for u in used], 3),
        Column("up after", "s", [digits(service.ready_after_us / 1e6) for _, service in rows], 4),
    ]
    return grid(columns, width)


def _state(service: ServiceFacts) -> str:
    """Return what became of a service, if it is worth a word."""
    if service.state == ServerState.READY and service.running:
        return "started again" if service.replaced else ""
    return {ServerState.NOT_READY: "not up", ServerState.NOT_STARTED: "not prepared"}.get(service.state, "ended")


def _percent(share: float | None) -> str:
    return "" if share is None else digits(100 * share)


def _memory(server: ServerCost) -> str:
    return requests.memory(server)


def _hosts(trials: Sequence[Trial], width: int) -> list[Any]:
    rows = [(trial.facts, use) for trial in trials for use in trial.facts.hosts]
    columns = [
        Column("trial", "", [_number(facts) for facts, _ in rows]),
        Column("host", "", [use.host for _, use in rows], left=True),
        Column("role", "", [str(use.role) for _, use in rows], 4, left=True),
        Column("cores", "", [str(use.cores) for _, use in rows], 3),
        Column("busy", "% of CPU", [digits(100 * use.busy_share) for _, use in rows]),
        Column("other VMs", "% of CPU", [digits(100 * use.steal_share) for _, use in rows]),
        Column("busiest core", "%", [digits(100 * use.busiest_core) for _, use in rows], 2),
        Column("sent again", "segments", [_some(use.segments_sent_again) for _, use in rows], 5),
        Column("link", "% of speed", [_percent(use.link_share) for _, use in rows], 3),
    ]
    return grid(columns, width)


def _findings(cases: Sequence[CaseResult], width: int) -> list[str]:
    """Return every finding of every case with its trials, those that do no harm as well."""
    lines = []
    for case in cases:
        for found in case.findings:
            numbers = ", ".join(map(str, found.trials))
            does = "" if found.severity is Severity.INFORMATION else f"{str(found.severity).upper()}: "
            text = f"{does}{case.case}: {found.sentence} {found.hint} [{tag(found, case)}: {numbers}]"
            lines += wrapped(text, width, "  ", "    ")
    return lines


def _trial_findings(trials: Sequence[Trial], width: int) -> list[str]:
    """Return the findings of the trials of a search, which has no cases."""
    lines = []
    for trial in trials:
        for found in trial.findings:
            does = "" if found.severity is Severity.INFORMATION else f"{str(found.severity).upper()}: "
            text = f"{does}trial {_number(trial.facts)}: {found.sentence} {found.hint} [{found.code}]"
            lines += wrapped(text, width, "  ", "    ")
    return lines


def _comparisons(comparisons: Sequence[Comparison], width: int) -> list[str]:
    lines = []
    for c in comparisons:
        p_values = [f"{p_value(c.p_holm)} (adjusted)"] if c.p_holm is not None else []
        p_values += [f"{p_value(c.p_value)} (permutation test)"] if c.p_value is not None else []
        behind = [] if c.trials is None else [f"{c.trials} pairs of trials"]
        extra = "; ".join([*p_values, *behind])
        text = f"{c.load}, {c.metric.label}: {sentence(c)}" + (f" ({extra})" if extra else "")
        lines += wrapped(text, width, "  ", "    ")
    return lines


def _environment(environment: Environment, width: int) -> list[str]:
    parts = [
        ("versions", [f"Volley {environment.volley}", f"Python {environment.python}"]),
        (
            "here",
            [
                f"kernel {environment.kernel}",
                environment.machine,
                f"{environment.cores} core{'' if environment.cores == 1 else 's'}",
                *([] if environment.governor is None else [f"CPU governor {environment.governor}"]),
            ],
        ),
    ]
    for host in environment.hosts:
        offered = [
            str(host.role),
            f"kernel {host.kernel}",
            f"{len(host.cores)} core{'' if len(host.cores) == 1 else 's'}",
            *([] if host.h2load is None else [f"h2load {host.h2load}"]),
            *([] if host.docker is None else [f"Docker {host.docker}"]),
            *([] if host.memory_bytes is None else [f"{digits(host.memory_bytes / _MIB)} MiB of memory"]),
        ]
        parts.append((f"host {host.host}", offered))
    images = [*environment.images.items(), *environment.service_images.items()]
    parts += [("image", [f"{name}: {image}"]) for name, image in images]
    label = max(_LABEL, *(len(name) + 2 for name, _ in parts))
    return [line for name, offered in parts for line in fields(offered, width, name, label)]
