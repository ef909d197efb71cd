"""One trial: server up, answer checked, clocks bounded, agents held at the gate, T0, window, results, clocks again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agents import clock
from agents.clock import ClockUnreachable
from agents.hostmeter import HostUse
from agents.probe import Checked, Request
from agents.recorder import OK
from agents.records import AgentFacts, Assignment, ServerFacts, ServerState, from_plain, to_plain
from agents.wire import AgentResult, decode_stream, unpack_result
from orchestrator.errors import HostError
from orchestrator.facts import HostClock, Traffic, TrialFacts, When
from orchestrator.fleet.hosts import Actor, HostLost, Placed, at_once
from orchestrator.plan import MARGIN_US, TrialPlan, assign, load_time_us
from orchestrator.run.commands import Around, carry_out, carry_out_if_possible
from orchestrator.run.events import Event, Say
from orchestrator.run.targets import expect_of, request_to, server_spec, traffic_of
from orchestrator.spec.models import Load, Target

# Between "all are blocked" and T0: long enough for the slowest host to hear of it.
LEAD_NS = 250_000_000
START_MARGIN_S = 60.0
UP = (ServerState.READY, ServerState.EXTERNAL)
COLLECT_MARGIN_S = 20.0
# A URL is up already: so long it may take to be asked.
ALREADY_UP_S = 4.0
# How long the one request after the load may take; longer where answers took longer before.
AFTERWARDS_S = 3.0


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """What a trial leaves: facts, each agent's result, the server's log."""

    facts: TrialFacts
    agents: list[AgentResult]
    server_log: bytes


@dataclass(frozen=True, slots=True)
class TrialInput:
    """What a trial is made of."""

    plan: TrialPlan
    target: Target
    load: Load
    image: str | None
    folder: Path
    run: str
    accepted_keys: list[str] = field(default_factory=list)
    ceilings_per_s: dict[str, float] = field(default_factory=dict)
    around: Around = field(default_factory=Around)


@dataclass(slots=True)
class Stages:
    """How long each stage of a trial takes."""

    lasted_us: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time one stage."""
        began = time.monotonic_ns()
        try:
            yield
        finally:
            self.lasted_us[name] = self.lasted_us.get(name, 0) + (time.monotonic_ns() - began) // 1000


def run_trial(trial: TrialInput, placed: Placed, say: Say) -> TrialOutput:
    """Run one trial and leave the hosts as they were before, whatever happens.

    A server that does not become ready, or an agent that is lost, is a result with an error. Raises HostError for what
    makes every trial impossible (no engine, no h2load, port in use).
    """
    shared = placed.shared() if trial.target.url is None else _is_loopback(trial.target.url)
    facts = _planned(trial, ServerFacts(state=ServerState.EXTERNAL), shared)
    server = placed.server if trial.target.url is None else None
    traffic = traffic_of(trial.target, trial.load, server.address if server else "", trial.folder)
    log = b""
    results: list[AgentResult] = []
    stages = Stages()
    try:
        with stages.of("before"):
            done = carry_out(When.BEFORE, trial.around, trial.plan, trial.run, placed)
        if done and done[-1].status != 0:
            facts = replace(
                facts, server=ServerFacts(state=ServerState.NOT_STARTED), error="a command before it failed"
            )
        else:
            with stages.of("server"):
                facts = replace(facts, server=_bring_up(trial, traffic, server, placed, say))
                facts = replace(facts, server=_check_further(trial, traffic, facts.server, placed))
            if facts.server.state not in UP:
                facts = replace(facts, error=facts.server.detail)
            else:
                facts, results = _fire(trial, traffic, facts, server, placed, stages, say)
        with stages.of("after"):
            done += carry_out_if_possible(trial.around, trial.plan, trial.run, placed)
        facts = replace(facts, commands=done)
        if server is not None:
            log = server.call("logs")
    finally:
        with stages.of("leave"):
            _leave(server, placed.loads)
    facts = replace(facts, agents=[result.facts for result in results], stages_us=stages.lasted_us)
    return TrialOutput(facts, results, log)


def not_run(trial: TrialInput, why: str) -> TrialOutput:
    """Record a trial that was planned and not run."""
    facts = replace(_planned(trial, ServerFacts(state=ServerState.NOT_TRIED, detail=why), False), error=why)
    return TrialOutput(facts, [], b"")


def _planned(trial: TrialInput, server: ServerFacts, shared_host: bool) -> TrialFacts:
    """What is known of a trial before anything has happened."""
    return TrialFacts(
        number=trial.plan.number,
        block=trial.plan.block,
        case=trial.plan.case,
        started_at_ns=time.time_ns(),
        t0_ns=None,
        window_start_us=None,
        window_end_us=None,
        server=server,
        agents=[],
        clocks=[],
        shared_host=shared_host,
        accepted_keys=trial.accepted_keys,
        ceilings_per_s=trial.ceilings_per_s,
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _bring_up(trial: TrialInput, traffic: Traffic, server: Actor | None, placed: Placed, say: Say) -> ServerFacts:
    target, request = trial.target, request_to(traffic.urls[0], traffic)
    if server is None:
        say(Event("server", f"asking {target.url} for one answer", passing=True))
        timeout_s = min(ALREADY_UP_S, target.ready.timeout / 1e6)
        found = _ask(request, trial, placed, timeout_s)
        state = ServerState.EXTERNAL if found.state == ServerState.READY else found.state
        return ServerFacts(state=state, detail=found.detail, closes=found.closes, body_bytes=found.body_bytes)
    assert trial.image is not None
    spec = server_spec(trial.plan.case.target, target, trial.image, request)
    call = server.begin("start", to_plain(spec), trial.plan.name)
    stage = ""
    while not server.done(call, timeout_s=0.25):
        with contextlib.suppress(HostLost):
            now = str(server.control("stage"))
            if now != stage:
                say(Event("server", now, passing=True))
                stage = now
    return from_plain(ServerFacts, server.result(call, spec.ready_timeout_s + START_MARGIN_S))


def _check_further(trial: TrialInput, traffic: Traffic, facts: ServerFacts, placed: Placed) -> ServerFacts:
    """Ask every further endpoint of the load for one answer, too."""
    if facts.state not in UP:
        return facts
    for url in traffic.urls[1:]:
        found = _ask(request_to(url, traffic), trial, placed, 5.0)
        if found.state != ServerState.READY:
            return replace(facts, state=found.state, detail=f"{url}: {found.detail}")
    return facts


def _ask(request: Request, trial: TrialInput, placed: Placed, timeout_s: float) -> Checked:
    """Ask from the first load host until there is an answer, and compare it."""
    arguments = (to_plain(request), to_plain(expect_of(trial.target)), timeout_s)
    return from_plain(Checked, placed.loads[0].call("check", *arguments, timeout_s=timeout_s + 10))


def _check_afterwards(
    trial: TrialInput, traffic: Traffic, facts: ServerFacts, placed: Placed, slowest_us: int
) -> ServerFacts:
    """Ask a server that still runs for one answer more: one that broke under the load was not measured."""
    if not facts.running:
        return facts
    request = request_to(traffic.urls[0], traffic)
    found = _ask(request, trial, placed, min(30.0, max(AFTERWARDS_S, 4 * slowest_us / 1e6)))
    return replace(facts, afterwards=found.state, afterwards_detail=found.detail)


def _uses(server: Actor | None, loads: list[Actor]) -> list[HostUse]:
    """What each host did meanwhile; a machine that is both is a load host here."""
    actors = [*loads, *([server] if server and server.host not in {load.host for load in loads} else [])]
    uses = at_once(lambda actor: actor.call("use", actor.host), actors)
    return [from_plain(HostUse, use) for use in uses if use is not None]


def _fire(
    trial: TrialInput,
    traffic: Traffic,
    facts: TrialFacts,
    server: Actor | None,
    placed: Placed,
    stages: Stages,
    say: Say,
) -> tuple[TrialFacts, list[AgentResult]]:
    case = facts.case
    actors = [*placed.loads, *([server] if server else [])]
    with stages.of("clocks"):
        before = dict(zip((id(a) for a in actors), at_once(_bound, actors), strict=True))
    facts = replace(facts, clocks=[HostClock(actor.host, before[id(actor)]) for actor in actors])
    shares = _shares(trial, traffic, placed)
    try:
        with stages.of("arm"):
            armed = list(zip(placed.loads, shares, strict=True))
            at_once(lambda pair: pair[0].call("arm", [to_plain(share) for share in pair[1]]), armed)
        with stages.of("load"):
            lead_ns = LEAD_NS + 3 * max(bound.round_trip_ns for bound in before.values())
            t0_ns = time.time_ns() + lead_ns
            opening_us = t0_ns // 1000 + case.warm_up_us
            closing_us = None if case.duration_us is None else opening_us + case.duration_us
            at_once(lambda a: a.call("release_at", t0_ns + before[id(a)].offset_ns), placed.loads)
            if server is not None:
                shift = before[id(server)].offset_ns
                closing_ns = None if closing_us is None else closing_us * 1000 + shift
                server.call("meter", opening_us * 1000 + shift, closing_ns)
            facts = replace(facts, t0_ns=t0_ns, window_start_us=opening_us, window_end_us=closing_us)
            _wait(trial, facts, placed, say)
        with stages.of("collect"):
            streams = at_once(lambda a: a.call("collect"), placed.loads)
            facts = replace(facts, hosts=_uses(server, placed.loads))
    except HostLost as error:
        return replace(facts, error=str(error)), []
    if server is not None:
        facts = replace(facts, server=from_plain(ServerFacts, server.call("finish")))
    with stages.of("clocks"):
        after = at_once(_bound, actors)
    clocks = [HostClock(actor.host, before[id(actor)], bound) for actor, bound in zip(actors, after, strict=True)]
    facts = replace(facts, clocks=clocks)
    results = []
    for load, stream in zip(placed.loads, streams, strict=True):
        for payload in decode_stream(stream):
            result = unpack_result(payload)
            result.facts = _on_our_clock(result.facts, before[id(load)].offset_ns // 1000)
            results.append(result)
    slowest_us = max((result.service[OK].maximum_us for result in results), default=0)
    with stages.of("collect"):
        facts = replace(facts, server=_check_afterwards(trial, traffic, facts.server, placed, slowest_us))
    return facts, results


def _bound(actor: Actor) -> clock.OffsetBound:
    port = actor.call("clock_port")
    try:
        return clock.probe(actor.address, port)
    except ClockUnreachable as error:
        raise HostError(f"host {actor.host}: {error}", "let UDP through between coordinator and host") from error


def _shares(trial: TrialInput, traffic: Traffic, placed: Placed) -> list[list[Assignment]]:
    """Give each load host the assignments of its agents."""
    seats = [
        (f"{load.host}/{i}", core)
        for load, cores in zip(placed.loads, placed.cores, strict=True)
        for i, core in enumerate(cores)
    ]
    names, cores = [name for name, _ in seats], [core for _, core in seats]
    shares = iter(assign(trial.plan.case, traffic, trial.load.timeout, trial.run, names, cores))
    return [list(islice(shares, len(each))) for each in placed.cores]


def _wait(trial: TrialInput, facts: TrialFacts, placed: Placed, say: Say) -> None:
    case = facts.case
    assert facts.t0_ns is not None
    limit_us = load_time_us(case, trial.load.timeout) + MARGIN_US
    deadline = facts.t0_ns / 1e9 + limit_us / 1e6 + COLLECT_MARGIN_S
    running = list(placed.loads)
    while running:
        waiting = [load.begin("wait", 1.0) for load in running]
        ended = [load.result(reference, timeout_s=30.0) for load, reference in zip(running, waiting, strict=True)]
        running = [load for load, over in zip(running, ended, strict=True) if not over]
        if running:
            _tell(facts, placed, say)
        if running and time.time() > deadline:
            at_once(lambda a: a.control("cancel"), running)
            deadline += COLLECT_MARGIN_S


def _tell(facts: TrialFacts, placed: Placed, say: Say) -> None:
    rows = sum(sum(load.control("progress")["rows"].values()) for load in placed.loads)
    assert facts.t0_ns is not None
    elapsed_s = (time.time_ns() - facts.t0_ns) / 1e9
    lasting = facts.case.load_us
    of = "" if lasting is None else f" of {lasting / 1e6:.0f} s"
    numbers = {"rows": rows, "elapsed_s": round(elapsed_s, 1)}
    say(Event("load", f"{elapsed_s:.0f} s{of}, {rows} requests logged", numbers, passing=True))


def _on_our_clock(facts: AgentFacts, offset_us: int) -> AgentFacts:
    if not facts.first_start_us:
        return facts
    return replace(facts, first_start_us=facts.first_start_us - offset_us, last_end_us=facts.last_end_us - offset_us)


def _leave(server: Actor | None, loads: list[Actor]) -> None:
    """Leave no container and no h2load behind; a host that is lost is its guard's to clean."""

    def tidy(pair: tuple[Actor, str]) -> Any:
        with contextlib.suppress(HostError):
            pair[0].control("abort") if pair[1] == "stop" else pair[0].control("cancel")
            pair[0].call(pair[1], timeout_s=30.0)

    at_once(tidy, [*((load, "discard") for load in loads), *([(server, "stop")] if server else [])])
