"""Runs for the golden pages: facts of trials, judged and summarised by the real evaluation."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from agents.arrivals import Schedule
from agents.histogram import HdrCounts
from agents.recorder import Recorder, Window
from agents.records import AssignedRequest
from agents.rows import Rows
from agents.wire import AgentResult
from orchestrator.analyse.capacity import replay
from orchestrator.analyse.cases import judge, summarise
from orchestrator.analyse.verdict import of_findings
from orchestrator.campaign.target import TargetSearch, wanted_of
from orchestrator.facts import PlannedRequest
from orchestrator.result import Outcome, Saturation, Summary, Verdict
from orchestrator.search.records import Kind
from orchestrator.spec.load import from_plain
from orchestrator.spec.slo import terms
from tests.unit.facts import T0_US, agent_facts, host_use, result, server_facts, steady_case, trial_facts
from tests.unit.test_capacity import trial as probe_trial

WINDOW_US = 5_000_000
SLOTS = 20


def spread(mean_us, number):
    """Times with a tail, in an order that is not sorted: a log-normal of this mean."""
    quantiles = np.random.default_rng(1).permutation((np.arange(number) + 0.5) / number)
    sigma = 0.5
    normal = np.sqrt(2) * _inverse_erf(2 * quantiles - 1)
    times = np.exp(sigma * normal)
    return [int(value) for value in times * mean_us / times.mean()]


def _inverse_erf(x):
    """Winitzki's approximation: enough for a picture."""
    a, log = 0.147, np.log(1 - x**2)
    first = 2 / (np.pi * a) + log / 2
    return np.sign(x) * np.sqrt(np.sqrt(first**2 - log / a) - first)


def closed(
    target="flask", load="steady", block=0, number=1, each=2_500, clients=40, errors=0, external=False, **changes
):
    """A closed trial of 5 s over two agents: `each` requests of each, with clients that are always busy."""
    case = steady_case(name=f"{target}/{load}", target=target, load=load, clients=clients, external=external)
    slots = clients // 2
    agents = [
        agent_facts(
            agent=f"local/{i}", url="http://127.0.0.1:8000/", planned=None, rows=each, done=each, total=each,
            started=each + slots, crossing=slots, statuses={200: each - errors, 503: errors} if errors else {200: each},
            slots=slots, sockets_fewest=slots, sockets_most=slots,
            first_start_us=T0_US + 1_000 + 800 * i, last_end_us=T0_US + 9_000_000,
        )
        for i in range(2)
    ]  # fmt: skip
    facts = trial_facts(
        **{
            "case": case, "agents": agents, "block": block, "number": number, "shared_host": True,
            "window_start_us": T0_US + 2_000_000, "window_end_us": T0_US + 2_000_000 + WINDOW_US,
            "hosts": [host_use(role="server"), host_use()], **changes,
        }
    )  # fmt: skip
    times = spread(slots * WINDOW_US / each, each)
    return judge(facts, [result(a, times[errors:], times[:errors], seconds=5) for a in agents])


def opened(target="flask", load="burst", block=0, number=1, rate=200.0, external=False, **changes):
    """An open trial of 5 s over two agents, answered in time."""
    case = steady_case(
        name=f"{target}/{load}", target=target, load=load, model="open", rate_per_s=rate, external=external,
        generator="paced", clients=100,
    )  # fmt: skip
    each = int(rate * 5 / 2)
    agents = [
        agent_facts(
            agent=f"local/{i}", url="http://127.0.0.1:8000/", generator="paced", planned=None, rows=each, done=each,
            total=each, started=each, statuses={200: each}, due=each, missing=0, late=0, late_us=1_000, largest_burst=1,
            waited_for_slot=0, slots=50, sockets_fewest=5, sockets_most=5, last_end_us=T0_US + 9_000_000,
        )
        for i in range(2)
    ]  # fmt: skip
    facts = trial_facts(
        **{
            "case": case, "agents": agents, "block": block, "number": number, "window_start_us": T0_US + 2_000_000,
            "window_end_us": T0_US + 2_000_000 + WINDOW_US, "hosts": [host_use(role="server"), host_use()], **changes,
        }
    )  # fmt: skip
    results = []
    for agent in agents:
        times = spread(4_000, each)
        one = result(agent, times, seconds=5)
        one.response, one.lag = HdrCounts(), HdrCounts()
        one.lag.record(np.full(each, 20, dtype=np.int64))
        one.response.record(np.array(times, dtype=np.int64) + 20)
        results.append(one)
    return judge(facts, results)


def summary(trials, baseline=None, slo=None, required=1):
    """The summary of trials, in the order of their cases."""
    cases = list({trial.facts.case.name: trial.facts.case for trial in trials}.values())
    objectives = {case.name: terms(slo) for case in cases} if slo else None
    return summarise("page", cases, trials, required, baseline, 0.03, objectives)


def one_closed():
    """What `volley bench URL` has."""
    trials = [
        closed("url", "load", block, block + 1, each, external=True) for block, each in enumerate((2500, 2450, 2600))
    ]
    return summary(trials), trials


def one_open():
    """What `volley bench URL --rate 200` has."""
    trials = [opened("url", "load", block, block + 1, external=True) for block in range(3)]
    return summary(trials), trials


def _pairs(ratios):
    trials = []
    for block, ratio in enumerate(ratios):
        base = 2500 + 40 * (block % 3)
        trials.append(closed("flask", "steady", block, 2 * block + 1, base))
        trials.append(closed("fastapi", "steady", block, 2 * block + 2, int(base * ratio)))
    return trials


def settled():
    """One target is clearly faster under one load, and as fast under the other."""
    trials = _pairs((1.66, 1.7, 1.72, 1.69, 1.67, 1.7))
    for block in range(6):
        for i, target in enumerate(("flask", "fastapi")):
            trials.append(closed(target, "light", block, 13 + 2 * block + i, 2000 + (block * 3 + i * 5) % 7, clients=4))
    return summary(trials, "flask"), trials


def not_settled():
    """Three pairs that differ too much, on a machine with neighbours."""
    trials = _pairs((1.1, 2.3, 1.05))
    disturbed = [host_use(role="server", steal_share=0.57), host_use(steal_share=0.4)]
    noisy = [closed("flask", "steady", block, 2 * block + 1, 2500 + 400 * block, hosts=disturbed) for block in range(2)]
    kept = [t for t in trials if not (t.facts.case.target == "flask" and t.facts.block < 2)]
    both = sorted([*kept, *noisy], key=lambda t: t.facts.number)
    return summary(both, "flask"), both


def invalid():
    """One of two targets is killed for its memory in every trial."""
    facts = server_facts()
    killed = replace(facts, last=replace(facts.last, oom_kills=59))
    trials = [closed("flask", "steady", block, 2 * block + 1) for block in range(3)]
    trials += [closed("fastapi", "steady", block, 2 * block + 2, server=killed) for block in range(3)]
    return summary(trials, "flask"), trials


def objectives():
    """One is met, one is not, one is about a percentile that has too few requests; some requests failed."""
    trials = [closed("flask", "steady", block, block + 1, errors=40 + block) for block in range(3)]
    trials += [opened("flask", "burst", block, block + 4) for block in range(3)]
    slo = "p50 < 100ms, p99.9 < 2s, errors < 1%, throughput > 100/s"
    return summary(trials, slo=slo), trials


def three_targets():
    """Three targets under two loads of both kinds."""
    trials = []
    for block in range(3):
        for i, (target, each) in enumerate((("flask", 2500), ("fastapi", 4000), ("a-target-with-a-long-name", 900))):
            trials.append(closed(target, "steady", block, 6 * block + i + 1, each + 20 * block))
            trials.append(opened(target, "trickle", block, 6 * block + i + 4, rate=0.8))
    return summary(trials, "flask"), trials


def sweep():
    """What `volley sweep URL` has: a plateau from four clients on."""
    trials, number = [], 0
    for block in range(3):
        for clients in (2, 4, 8, 16, 32):
            number += 1
            each = min(clients, 8) * 300 + 5 * block
            trials.append(closed("url", f"c{clients}", block, number, each, clients=clients, external=True))
    return summary(trials), trials


MIX = [
    PlannedRequest("GET /items", "GET", "/items", 6, []),
    PlannedRequest("GET /missing", "GET", "/missing", 1, [404]),
    PlannedRequest("POST /orders", "POST", "/orders", 3, []),
]


def _mixed_agent(draw, case, facts, each, answered):
    """The facts and the counters of an agent: /orders answers 429 now and then, /items sends its body in parts.

    answered: statuses by request, where they are not 200.
    """
    start = T0_US + 2_000_000 + np.arange(each, dtype=np.int64) * WINDOW_US // each
    number = draw.permutation(np.arange(each) % 10)
    request = np.where(number < 6, 0, np.where(number < 7, 1, 2))
    first = np.array(spread(3_000, each), dtype=np.int64) * (request + 1)
    service = first + np.where(request == 0, 2_500, 10)
    status = np.full(each, 200)
    for index, code in answered.items():
        status[request == index] = code
    status[(request == 2) & (np.arange(each) % 7 == 0)] = 429
    status[:2] = -2
    window = Window(T0_US + 2_000_000, T0_US + 2_000_000 + WINDOW_US)
    assigned = [AssignedRequest(r.name, f"http://h{r.path}", allowed=r.allowed) for r in case.mix]
    schedule = Schedule(each / 5, each / 2.5, True, T0_US, 0.0) if case.rate_per_s else None
    recorder = Recorder(window, schedule, assigned)
    recorder.add(Rows(start + 20, status, service, start, request, first, np.where(request == 0, 200_000, 300)))
    statuses = {int(code): int((status == code).sum()) for code in np.unique(status)}
    return AgentResult(
        replace(facts, statuses=statuses), recorder.service, recorder.series, recorder.response, recorder.lag,
        recorder.unanswered, recorder.first_byte, recorder.received_bytes, recorder.mix,
    )  # fmt: skip


def mixed(
    open_loop=False,
    block=0,
    each=1_500,
    mix=None,
    number=None,
    target="shop",
    unexpected=0,
    answered=None,
    locations=None,
):
    """A trial of a load with three requests over two agents.

    answered: statuses by request, where they are not 200. locations: of redirects before the load, by name.
    """
    load = "visitors" if open_loop else "steady"
    of_model = {"model": "open", "rate_per_s": each / 2.5} if open_loop else {}
    case = steady_case(
        name=f"{target}/{load}", target=target, load=load, clients=40, generator="paced", mix=MIX if mix is None else mix,
        time_limits_us=[5_000, 20_000], **of_model,
    )  # fmt: skip
    draw = np.random.default_rng(block + 1)
    due = {"due": each, "missing": 2, "late": 0, "late_us": 1_000, "largest_burst": 1, "waited_for_slot": 0}
    agents = [
        agent_facts(
            agent=f"local/{i}", url="http://127.0.0.1:8000/items", generator="paced", planned=None, rows=each, done=each,
            total=each, started=each, first_start_us=T0_US + 1_000, last_end_us=T0_US + 9_000_000,
            checked=40, unexpected={2: unexpected} if i and unexpected else {}, **(due if open_loop else {}),
        )
        for i in range(2)
    ]  # fmt: skip
    results = [_mixed_agent(draw, case, facts, each, answered or {1: 404}) for facts in agents]
    facts = trial_facts(
        case=case, agents=[one.facts for one in results], block=block, number=number or block + 1,
        window_start_us=T0_US + 2_000_000, window_end_us=T0_US + 2_000_000 + WINDOW_US,
        hosts=[host_use(role="server"), host_use()], server=server_facts(locations=locations or {}),
    )  # fmt: skip
    return judge(facts, results)


def a_mix():
    """One open load of three requests, with objectives for one of them, the first byte, slow requests and bytes."""
    trials = [mixed(open_loop=True, block=block) for block in range(3)]
    slo = (
        "[GET /items] p99 < 20ms, [POST /orders] errors < 1%, first byte p50 < 1s, slower than 20ms < 50%, "
        "transfer > 10MB/s"
    )
    return summary(trials, slo=slo), trials


def mixes():
    """A closed load of three requests for two targets."""
    trials = [
        mixed(block=block, each=1_500 + 400 * i, number=2 * block + i + 1, target=target)
        for block in range(3)
        for i, target in enumerate(("shop", "shop-2"))
    ]
    return summary(trials, "shop"), trials


def _searched(limit_per_s, what):
    """A search of a server that holds up to a rate. what: 'capacity', 'not sustained' or 'limited' by the generator."""
    campaign = from_plain(
        {
            "campaign": "c",
            "targets": {"t": {"url": "http://h/"}},
            "loads": {"l": {"clients": 4, "requests": 10}},
            "saturation": {"slo": "p99<50ms, errors<1%", "budget": 40},
        }
    ).campaign
    target = TargetSearch("t", campaign, campaign.saturation, wanted_of(campaign), 2)
    trials = []
    while (ask := target.next()) is not None:
        estimate = ask.kind is Kind.ESTIMATE
        rate = 1000.0 if estimate else ask.rate_per_s
        good = estimate or (rate <= limit_per_s and not (what == "not sustained" and ask.kind is Kind.SOAK))
        agents = [agent_facts(url="http://h/"), agent_facts(agent="local/1", url="http://h/")]
        if not good and what == "limited":
            agents[0] = replace(agents[0], cpu_busiest=0.99)
        made = probe_trial(
            rate, 10 + rate / 100 if good else 80, kind=str(ask.kind), number=len(trials) + 1, agents=agents
        )
        trials.append(replace(made, verdict=of_findings(made.findings)))
        target.tell(trials[-1])
    return searches(replay("t", trials, wanted_of(campaign))), trials


def searches(*found: Saturation):
    """The summary of searches."""
    failed = any(found.ending in ("never met", "not sustained") for found in found)
    verdict = Verdict.SUSPECT if failed else found[0].verdict
    return Summary("page", verdict, Outcome.FAIL if failed else Outcome.PASS, [], [], list(found))


def confirmed():
    """A soak held, a step above did not."""
    return _searched(700, "capacity")


def not_sustained():
    """Probes hold, soaks do not."""
    return _searched(700, "not sustained")


def at_least():
    """The generator ends the search."""
    return _searched(700, "limited")


RUNS = {
    run.__name__.replace("_", "-"): functools.cache(run)
    for run in (
        one_closed, one_open, settled, not_settled, invalid, objectives, three_targets, sweep,
        confirmed, not_sustained, at_least, a_mix, mixes,
    )
}  # fmt: skip
