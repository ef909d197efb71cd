"""report.html of a run of any kind: what it holds, section by section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.generators.contract import Model
from orchestrator.analyse.people import digits
from orchestrator.analyse.scaling import FEWEST_LOADS, Scaling, scaling
from orchestrator.analyse.usl import law
from orchestrator.counted import counted
from orchestrator.facts import Environment
from orchestrator.merge import Merged
from orchestrator.report import answer, curve
from orchestrator.report import capacity as searched
from orchestrator.report.conditions import counted_by, counted_in
from orchestrator.report.format import objective
from orchestrator.report.gates import of_objectives
from orchestrator.report.html import doubts, head, mix, over_time, ratios, tables
from orchestrator.report.html.collect import MOST_TRIALS, Drawn, by_case, by_probe, collect
from orchestrator.report.html.figures import Figure, capacity_curve, scaling_plot
from orchestrator.report.html.page import rendered
from orchestrator.report.html.text import without_secrets
from orchestrator.report.scaling import answer as scaling_answer
from orchestrator.report.scaling import law_in_words
from orchestrator.result import Saturation, Summary, Trial

MOST_ROWS = 300


@dataclass(frozen=True, slots=True)
class Stored:
    """What a page needs of a run's folder beside its summary and trials. name: of the folder. campaign: the file.

    read: returns the counters of a trial by its number; None: there are none to draw.
    """

    name: str = ""
    environment: Environment | None = None
    campaign: str = ""
    read: Callable[[int], Merged] | None = None


@dataclass(frozen=True, slots=True)
class _Search:
    result: Saturation
    objective: str
    lines: list[str]
    figure: Figure
    table: tables.Table | None


@dataclass(frozen=True, slots=True)
class _Sweep:
    target: str
    answer: str
    lines: list[str]
    figure: Figure


def page(summary: Summary, trials: Sequence[Trial], stored: Stored) -> str:
    """Return the page of a run."""
    sweeps = [_sweep(fit, i) for i, fit in enumerate(_scalings(trials))]
    searches = [_search(search, i) for i, search in enumerate(summary.saturation)]
    compared = ratios.pairs(summary.comparisons, between_runs=False)
    drawn = _drawn(summary, trials, stored)
    names = [case.case for case in summary.cases] or list(dict.fromkeys(trial.facts.case.name for trial in trials))
    colours = {name: i for i, name in enumerate(dict.fromkeys([*names, *(d.name for d in drawn)]))}
    spectrum = over_time.spectrum(drawn, colours)
    time = over_time.over_time(drawn)
    by_trial = None if summary.saturation else over_time.by_trial(trials, colours)
    usage = over_time.usage(trials, names[:_MOST_VIEWS])
    figures = [f for f in [spectrum, by_trial, *time, *usage] if f is not None]
    figures += [*(s.figure for s in sweeps), *(s.figure for s in searches), *(pair.figure for pair in compared)]
    return rendered(
        "run.html.jinja",
        figures,
        sent=counted_by(trials) if trials else counted_in(*summary.cases),
        title=summary.campaign,
        question=head.question(summary, bool(sweeps)),
        name=stored.name,
        summary=summary,
        sentences=[sweep.answer for sweep in sweeps] or answer.sentences(summary),
        when=head.when(trials),
        where=head.where(stored.environment),
        environment=stored.environment,
        loads={case.load: head.load_in_words(case.planned) for case in summary.cases if case.planned is not None},
        urls=list(dict.fromkeys(url for case in summary.cases for url in case.urls)),
        searches=searches,
        sweeps=sweeps,
        pairs=compared,
        results=tables.results(summary) if trials else [],
        mix=[*mix.requests(summary), *([] if (sizes := mix.transfers(summary)) is None else [sizes])],
        comparisons=tables.comparisons(summary.comparisons),
        objectives=tables.gates(of_objectives(summary.cases)),
        server=tables.server(summary) if trials else None,
        services=tables.services(summary) if trials else None,
        hosts=tables.hosts(trials),
        agents=None if summary.saturation else tables.agents(trials, names),
        requests=tables.requests(summary) if trials else None,
        connections=tables.connections(summary),
        trials=tables.trials(trials, MOST_ROWS),
        number_of_trials=len(trials),
        doubts=doubts.of_trials(trials) if summary.saturation else doubts.of_summary(summary),
        campaign=without_secrets(stored.campaign),
        notes=_sampled(drawn) if spectrum is not None or time else [],
    )


# Usage over time has a view for each case; searches have one for each kind of probe.
_MOST_VIEWS = 40


def _drawn(summary: Summary, trials: Sequence[Trial], stored: Stored) -> list[Drawn]:
    if stored.read is None:
        return []
    groups = (
        by_probe(summary.saturation) if summary.saturation else by_case(trials, [case.case for case in summary.cases])
    )
    return collect(groups, trials, stored.read)


def _sampled(drawn: Sequence[Drawn]) -> list[str]:
    """Return what the plots leave out."""
    every, shown = sum(own.of for own in drawn), sum(own.number for own in drawn)
    notes = []
    if shown < every:
        notes.append(f"The run has more than {MOST_TRIALS} trials: these plots show {shown} of {every}, evenly spread.")
    invalid = [own.name for own in drawn if own.invalid]
    if invalid:
        notes.append(f"INVALID trials are drawn, because there are no others: {', '.join(invalid)}.")
    return notes


def _search(search: Saturation, i: int) -> _Search:
    drawn = curve.curve_of(search)
    texts = [
        f"trial {p.probe.trial}, {p.probe.kind}: {searched.met(p.probe)}; {p.probe.resource or p.probe.verdict}"
        for p in drawn.points
    ]
    rows: list[tables.Row] = [
        [
            digits(probe.rate_per_s),
            str(probe.trial),
            *searched.cells(probe),
            tables.Cell(probe.verdict, probe.verdict),
            tables.Cell(searched.met(probe), tables.WORDS),
        ]
        for probe in searched.by_rate(search)
    ]
    times = [f"response time {time}, ms" for time in searched.SHOWN_TIMES]
    table = tables.made(["due/s", "trial", "kind", "answered/s", *times, "errors", "verdict", "met"], rows)
    return _Search(
        search,
        objective(search.slo),
        [*searched.limit_reached(search), *searched.statuses_of(search), f"{searched.measured_how(search)}."],
        capacity_curve(drawn, texts, f"curve-{i}"),
        table,
    )


def _scalings(trials: Sequence[Trial]) -> list[Scaling]:
    """Return how targets scale that were driven by enough numbers of clients to show it."""
    clients: dict[str, set[int]] = {}
    for trial in trials:
        case = trial.facts.case
        if case.model == Model.CLOSED and case.duration_us is not None:
            clients.setdefault(case.target, set()).add(case.clients * case.streams)
    fits = [scaling(target, trials) for target, counts in clients.items() if len(counts) >= FEWEST_LOADS]
    return [fit for fit in fits if fit.points]


def _sweep(fit: Scaling, i: int) -> _Sweep:
    clients = [point.clients for point in fit.points]
    curve_ = None
    if fit.lambda_per_s is not None and fit.sigma is not None and fit.kappa is not None:
        least, most = min(clients), max(clients)
        x = [least + (most - least) * step / 100 for step in range(101)]
        curve_ = x, [law(n, fit.lambda_per_s.estimate, fit.sigma.estimate, fit.kappa.estimate) for n in x]
    figure = scaling_plot(
        clients, [point.throughput_per_s for point in fit.points], curve_, f"sweep-{i}", counted([fit.protocol])
    )
    return _Sweep(fit.target, scaling_answer(fit, fit.target), law_in_words(fit), figure)
