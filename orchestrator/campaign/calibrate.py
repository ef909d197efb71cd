"""volley hosts calibrate: what can one agent on each load host send before it becomes what is measured?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agents.destinations import Permitted, host_and_port
from agents.records import AgentFacts, GeneratorKind
from orchestrator.analyse.cases import judge
from orchestrator.analyse.ceiling import FIRST_PER_S, Limit, Ramp, cpu_share, failure, is_certain
from orchestrator.analyse.findings.generator import GENERATOR_SUSPECT
from orchestrator.campaign.hosts import Hosts
from orchestrator.errors import Shortage
from orchestrator.fleet.ceilings import CALIBRATED, Ceiling, LimitedBy, file_of, keep
from orchestrator.fleet.generators import Generators
from orchestrator.fleet.handles import LoadHandle
from orchestrator.fleet.hosts import Placed
from orchestrator.fleet.place import Placement
from orchestrator.plan import make_plan
from orchestrator.result import Trial
from orchestrator.run.inputs import TrialInput
from orchestrator.run.trial import run_trial
from orchestrator.spec.inline import LOAD, TARGET, calibration_step
from orchestrator.spec.inventory import TRIVIAL
from orchestrator.spec.text import authority

Tell = Callable[[str], None]
# h2load's pacing timer ticks every 10 ms: more often than this a connection sends several requests at once.
MOST_PER_CLIENT = 100
FEWEST_CLIENTS = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """A load host that sends, and the one that answers; the same one when there is no other."""

    sender: str
    answerer: str


def pairs(load_hosts: list[str]) -> list[Pair]:
    """Return a pair of each load host and the next one, and of the last and the first."""
    return [Pair(host, load_hosts[(i + 1) % len(load_hosts)]) for i, host in enumerate(load_hosts)]


def calibrate(hosts: Hosts, up_to_per_s: float, tell: Tell) -> tuple[list[Ceiling], Path]:
    """Calibrate every load host for every generator up to a rate, one after the other; return the ceilings and their file.

    Each is stored as soon as it is known: what fails later does not cost it. Raises VolleyError.
    """
    names = [machine.name for machine in hosts.machines() if machine.slots]
    if not names:
        raise Shortage("no host has the role 'load'", "add 'load' to the roles of a host in the inventory")
    claim = hosts.claim(f"calibrate-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    placements = {name: Placement(None, {name: 1}) for name in names}
    found, file = [], file_of(hosts.inventory)
    with hosts.fleet(claim, placements, []) as fleet:
        fleet.up(tell)
        lacking = Generators.of(fleet.actors.described).lacking
        for host in sorted(lacking):
            tell(f"{host}: h2load is missing, so it is not measured")
        for pair in pairs(names):
            with fleet.reserve(placements[pair.sender]) as placed, _server(fleet.actors.loads, pair, hosts) as server:
                for generator in CALIBRATED:
                    if generator is GeneratorKind.H2LOAD and pair.sender in lacking:
                        continue
                    found.append(_ceiling(Setting(pair, generator, placed, server, claim.mark), up_to_per_s, tell))
                    keep(hosts.inventory, found[-1:])
    return found, file


@dataclass(frozen=True, slots=True)
class Setting:
    """What all steps of one ramp share. server: host and port of the trivial server; run: the mark of the calibration."""

    pair: Pair
    generator: GeneratorKind
    placed: Placed
    server: str
    run: str

    @property
    def url(self) -> str:
        """Return the URL of the trivial server."""
        return f"{'ws' if self.generator is GeneratorKind.WEBSOCKET else 'http'}://{self.server}/"


@contextmanager
def _server(loads: dict[str, LoadHandle], pair: Pair, hosts: Hosts) -> Iterator[str]:
    """Run the trivial server on the answering host; yield its host and port."""
    answerer = loads[pair.answerer]
    # Ports are opened for Volley only where it starts the nodes itself.
    own = hosts.inventory if hosts.inventory is not None and hosts.inventory.ray is None else None
    wanted = 0 if own is None else own.ports + TRIVIAL
    port = answerer.serve_trivial(wanted, pair.sender == pair.answerer)
    try:
        yield authority(answerer.load_address, port)
    finally:
        answerer.end_trivial()


def _ceiling(setting: Setting, up_to_per_s: float, tell: Tell) -> Ceiling:
    sender, answerer = setting.pair.sender, setting.pair.answerer
    ramp, base_p50_us, best = Ramp(up_to_per_s), None, None
    while (rate := ramp.ask()) is not None:
        trial = _step(rate, setting)
        why = failure(trial, base_p50_us)
        tell(f"{sender}: {setting.generator} at {rate:,.0f}/s: {_seen(trial, why)}")
        if why is None:
            base_p50_us = base_p50_us or _p50_us(trial)
            best = trial
        ramp.tell(why, is_certain(trial))
    if best is None:
        raise Shortage(
            f"host {sender}: {setting.generator} could not send even {FIRST_PER_S:.0f}/s "
            f"to a trivial server on {answerer}",
            "end other programs that run there, then check it: volley hosts check",
        )
    return _of_last_step(setting, ramp, best.facts.agents[0])


def _of_last_step(setting: Setting, ramp: Ramp, agent: AgentFacts) -> Ceiling:
    """Return the ceiling that a ramp found. agent: of the fastest step that held."""
    share = cpu_share(agent)
    return Ceiling(
        host=setting.pair.sender,
        per_s=round(ramp.best_per_s),
        limited_by=LimitedBy(ramp.limited_by),
        cpu_us_per_request=round(share * 1e6 / ramp.best_per_s, 2),
        by_cpu_per_s=round(ramp.best_per_s * GENERATOR_SUSPECT / max(share, 1e-6)),
        served_from=setting.pair.answerer,
        h2load=agent.version if setting.generator is GeneratorKind.H2LOAD else None,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        generator=setting.generator,
    )


def _step(rate_per_s: float, setting: Setting) -> Trial:
    campaign = calibration_step(setting.url, rate_per_s, setting.generator, _clients(rate_per_s, setting.generator))
    plan = make_plan(campaign)
    # The trivial server is on a load host, whatever its address.
    ours = Permitted([host_and_port(setting.url)[0]])
    target, load = campaign.targets[TARGET], campaign.loads[LOAD]
    item = TrialInput(plan.trials[0], target, load, None, Path.cwd(), setting.run, permitted=ours)
    output = run_trial(item, setting.placed, lambda event: None)
    if output.lost is not None:
        raise output.lost
    return judge(output.facts, output.agents)


def _clients(rate_per_s: float, generator: GeneratorKind) -> int | None:
    """Return the connections of a step; None for the generators that open as many as they need."""
    if generator is not GeneratorKind.H2LOAD:
        return None
    return max(FEWEST_CLIENTS, math.ceil(rate_per_s / (MOST_PER_CLIENT / 2)))


def _p50_us(trial: Trial) -> float | None:
    return trial.metrics.service_time_us["p50"] if trial.metrics else None


def _seen(trial: Trial, why: Limit | None) -> str:
    """Return one step in words: median service time, CPU, and how it ended."""
    p50_us = _p50_us(trial)
    shown = "no answer" if p50_us is None else f"p50 {p50_us / 1000:.2f} ms"
    busy = max((agent.cpu_busiest for agent in trial.facts.agents), default=0.0)
    return f"{shown}, {busy:.0%} of a core, " + ("held" if why is None else f"limited by the {why}")
