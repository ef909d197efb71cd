"""The server of a trial: brought up, and asked from a load host before and after the load."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import replace

from agents.probe import SPEAKS, Checked, Expect, Request, shows_ready
from agents.records import ServerFacts, ServerState
from orchestrator.counted import counted
from orchestrator.fleet.handles import ServerHandle
from orchestrator.fleet.hosts import HostLost
from orchestrator.run.addresses import resolved
from orchestrator.run.events import Event
from orchestrator.run.inputs import RunningTrial
from orchestrator.run.services import addresses_for
from orchestrator.run.targets import answer_s, asks_to_close, expect_of, ready_request, request_to, server_spec

# States of a server that can be loaded.
UP = (ServerState.READY, ServerState.EXTERNAL)
START_MARGIN_S = 60.0
START_POLL_S = 0.25
# Of a mix, so many requests are checked before each trial. Under load the first answer to each is.
MOST_CHECKED = 200
# What a server that is not ready is called that answers all the same.
ONLY_STATUS = "only status"
# Of a URL that is waited for.
READY_POLL_S, SHORTEST_S = 0.2, 0.2
# How long the one request after the load may take: at least this, and longer where responses took longer before, but not
# longer than one answer may take.
AFTERWARDS_S = 3.0
SLOWER_AFTERWARDS = 4
# A load is too short for answers that take longer than this share of it.
SLOW_SHARE = 0.5
# A wait as long as this is shown with its time.
SHOWN_AFTER_S = 3.0


def bring_up(trial: RunningTrial) -> ServerFacts:
    """Start the target's container and wait until it is ready, or ask the URL once; then send every further request once."""
    facts = of_load(trial, _ask_url(trial) if trial.server is None else _start(trial, trial.server))
    if facts.state not in UP:
        return _named(trial, facts)
    _say_slow(trial, facts)
    return _check_further(trial, facts)


def of_load(trial: RunningTrial, facts: ServerFacts) -> ServerFacts:
    """Return what a host knows of its server, with what only the load says: what it expects and asks for."""
    if len(trial.traffic.requests) > 1 or trial.traffic.data is not None:
        # Answers differ, so that the first one says nothing about the length of the others.
        facts = replace(facts, body_bytes=None)
    return replace(facts, allowed=trial.traffic.requests[0].allowed, asked_to_close=asks_to_close(trial.traffic))


def _named(trial: RunningTrial, facts: ServerFacts) -> ServerFacts:
    """Return facts that name the first request of several where its answer is not as expected."""
    requests = trial.traffic.requests
    if facts.state != ServerState.MISMATCH or len(requests) < 2:
        return facts
    return replace(facts, detail=f"{requests[0].name}: {facts.detail}")


def check_afterwards(trial: RunningTrial, facts: ServerFacts, slowest_us: int) -> ServerFacts:
    """Ask a server that still runs once more: one that broke under the load was not measured.

    slowest_us: the longest service time of the load.
    """
    if not facts.running:
        return facts
    slower_s = SLOWER_AFTERWARDS * max(slowest_us, facts.answer_us) / 1e6
    timeout_s = max(AFTERWARDS_S, min(slower_s, _answer_s(trial)))
    checked = _ask(trial, 0, timeout_s)
    return replace(facts, afterwards=checked.state, afterwards_detail=checked.detail, afterwards_status=checked.status)


def _say_slow(trial: RunningTrial, facts: ServerFacts) -> None:
    """Say before the load that answers as slow as the one that was seen do not fit into it."""
    case, give_up_s, took_s = trial.input.plan.case, trial.input.load.give_up / 1e6, facts.answer_us / 1e6
    said = ""
    if facts.endless:
        text = f"  {case.name}: after {took_s:.2g} s its answer had not ended; a stream without end cannot be measured"
        trial.say(Event("slow", text, {"answer_us": facts.answer_us}))
    elif case.load_us is not None and took_s > SLOW_SHARE * case.load_us / 1e6:
        said = f"and the load lasts {case.load_us / 1e6:.3g} s: set its duration and tail to several times an answer's time"
    elif case.requests is not None:
        needs_s = math.ceil(case.requests / (case.clients * case.streams)) * took_s
        if needs_s > give_up_s:
            said = f"so the load needs about {needs_s:.0f} s, and is given up after {give_up_s:g} s: raise its give_up"
    if said:
        trial.say(
            Event("slow", f"  {case.name}: one answer took {took_s:.2g} s, {said}", {"answer_us": facts.answer_us})
        )


def _answer_s(trial: RunningTrial) -> float:
    return answer_s(trial.input.target, trial.input.load)


def _ask_url(trial: RunningTrial) -> ServerFacts:
    target = trial.input.target
    if target.ready.model_fields_set and (failed := _wait_for_url(trial)) is not None:
        return ServerFacts(ServerState.NOT_READY, failed)
    sent = counted([trial.input.plan.case.protocol]).one
    trial.say(Event("server", f"sending one {sent} to {target.url}", passing=True))
    checked = _ask(trial, 0, _answer_s(trial), repeat=False)
    return ServerFacts(
        state=ServerState.EXTERNAL if checked.state == ServerState.READY else checked.state,
        detail=checked.detail,
        closes=checked.closes,
        body_bytes=checked.body_bytes,
        status=checked.status,
        asked=checked.asked,
        until_close=checked.until_close,
        location=checked.location,
        endless=checked.endless,
        answer_us=checked.answer_us,
    )


def _wait_for_url(trial: RunningTrial) -> str | None:
    """Wait until a URL that has 'ready' in the campaign is up. Return why it is not; None when it is."""
    target = trial.input.target
    request = ready_request(target, request_to(trial.traffic))
    trial.say(Event("server", f"waiting for {target.url} to answer", passing=True))
    waiting_s = target.ready.timeout / 1e6
    # What the load is to be answered with is right, whatever it is.
    allowed = target.expect.statuses if target.ready.path is None else []
    deadline = time.monotonic() + waiting_s
    while True:
        timeout_s = max(SHORTEST_S, deadline - time.monotonic())
        checked = _first(trial, request, Expect(), timeout_s, repeat=False)
        if checked.status is not None and (checked.status in allowed or shows_ready(checked.status)):
            return None
        if time.monotonic() >= deadline or checked.detail.startswith(SPEAKS):
            break
        time.sleep(READY_POLL_S)
    if checked.status is None:
        return checked.detail
    return f"{request.asked}: {ONLY_STATUS} {checked.status} within {waiting_s:g} s"


def _start(trial: RunningTrial, server: ServerHandle) -> ServerFacts:
    plan, image = trial.input.plan, trial.input.image
    assert image is not None
    request = request_to(trial.traffic)
    target, expect = trial.input.target, expect_of(trial.input.target, trial.input.load)
    seen = addresses_for(trial, target, server.host, target.needs)
    spec = server_spec(
        plan.case.target, resolved(target, seen), image, request, expect, trial.input.folder, _answer_s(trial)
    )
    starting = server.start(spec, plan.name)
    shown = ""
    while not starting.done(timeout_s=START_POLL_S):
        with contextlib.suppress(HostLost):
            if (now := server.waiting_for()) != shown:
                trial.say(Event("server", now, passing=True))
                shown = now
    return starting.result(spec.ready_timeout_s + spec.answer_timeout_s + START_MARGIN_S)


def _check_further(trial: RunningTrial, facts: ServerFacts) -> ServerFacts:
    """Send every further request of the load once, too."""
    locations = {trial.traffic.requests[0].name: facts.location} if facts.location else {}
    for index, request in enumerate(trial.traffic.requests[1:MOST_CHECKED], 1):
        checked = _ask(trial, index, _answer_s(trial), repeat=False)
        if checked.state != ServerState.READY:
            detail = f"{request.name}: {checked.detail}"
            return replace(facts, state=checked.state, detail=detail, status=checked.status, asked=checked.asked)
        if checked.location:
            locations[request.name] = checked.location
    return replace(facts, locations=locations)


def _ask(trial: RunningTrial, index: int, timeout_s: float, repeat: bool = True) -> Checked:
    """Send one of the load's requests from the first load host until there is an answer, or once, and compare it."""
    request, expect = request_to(trial.traffic, index), expect_of(trial.input.target, trial.input.load, index)
    return _first(trial, request, expect, timeout_s, repeat)


def _first(trial: RunningTrial, request: Request, expect: Expect, timeout_s: float, repeat: bool) -> Checked:
    def waiting(passed_s: float) -> None:
        if passed_s >= SHOWN_AFTER_S:
            said = f"waiting for an answer to {request.asked}: {passed_s:.0f} s of at most {round(timeout_s, 1):g} s"
            trial.say(Event("server", said, passing=True))

    return trial.left.first(lambda load: load.check(request, expect, timeout_s, repeat, waiting))
