"""What the agents of a case can send and how many its rate needs, in numbers and in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agents.records import GeneratorKind
from orchestrator.facts import Case
from orchestrator.fleet.ceilings import CALIBRATED, USED, Ceiling, Key
from orchestrator.fleet.place import Placement
from orchestrator.spec.generator import PACED_MOST_PER_S, is_too_fast_for_paced
from orchestrator.spec.loads import Load


@dataclass(frozen=True, slots=True)
class Capability:
    """A case where it is placed, beside what calibration knows of those hosts."""

    case: Case
    load: Load
    placement: Placement
    known: Mapping[Key, Ceiling]

    def agents_needed(self) -> int | None:
        """Return how many agents the rate of the case needs on the weakest of its hosts.

        None without a rate, or where a host was never calibrated: there paced counts with what one agent usually sends.
        """
        most_per_s = self._weakest_per_s(self.case.generator)
        if self.case.rate_per_s is None or most_per_s is None:
            return None
        return math.ceil(self.case.rate_per_s / most_per_s)

    def agents_to_keep_paced(self) -> int | None:
        """Return how many agents would let paced send the case; None unless it is its rate that made h2load send it."""
        if self.case.rate_per_s is None or not is_too_fast_for_paced(self.load, self.case.agents):
            return None
        return math.ceil(self.case.rate_per_s / self._paced_most_per_s())

    def sentences(self, calibrate: str) -> Iterator[str]:
        """Yield what the agents can send, in words. calibrate: the command that measures it."""
        if (keep := self.agents_to_keep_paced()) is not None:
            yield f"h2load sends this rate; ≥ {_agents(keep)} would keep paced ({self._paced_most_per_s():,.0f}/s per agent)"
        generator = self.case.generator
        if generator not in CALIBRATED:
            yield "what a generator of your own can send is not known: it cannot be calibrated"
        elif self._is_measured(generator):
            yield f"with {generator} an agent can send: {self._rates(generator)}; {self._need()}"
        elif generator is GeneratorKind.PACED:
            yield f"paced sends {PACED_MOST_PER_S:,.0f}/s per agent (not measured); {self._need()}"
        else:
            yield f"{generator} is not calibrated; run: {calibrate}"

    def _is_measured(self, generator: GeneratorKind) -> bool:
        return all((host, generator) in self.known for host in self.placement.agents)

    def _paced_most_per_s(self) -> float:
        """Return what one agent of paced may send here: the plan allows no more than the constant, whatever was measured."""
        return min(PACED_MOST_PER_S, self._weakest_per_s(GeneratorKind.PACED) or PACED_MOST_PER_S)

    def _weakest_per_s(self, generator: GeneratorKind) -> float | None:
        """Return the rate to plan with for one agent on the weakest host; None where one is not known."""
        most_per_s = [self._most_per_s(host, generator) for host in self.placement.agents]
        known = [rate for rate in most_per_s if rate is not None]
        return min(known) if len(known) == len(most_per_s) else None

    def _most_per_s(self, host: str, generator: GeneratorKind) -> float | None:
        """Return the rate to plan with for one agent; None where it is not known."""
        ceiling = self.known.get((host, generator))
        if ceiling is not None:
            return USED * ceiling.usable_per_s
        return PACED_MOST_PER_S if generator is GeneratorKind.PACED else None

    def _rates(self, generator: GeneratorKind) -> str:
        known = {host: self.known[host, generator] for host in self.placement.agents}
        return ", ".join(f"{host} {ceiling.usable_per_s:,.0f}/s" for host, ceiling in known.items())

    def _need(self) -> str:
        needed = self.agents_needed()
        if needed is None:
            return "a faster server needs more agents"
        short = "" if needed <= self.case.agents else f", and it has {self.case.agents}"
        return f"this case needs ≥ {_agents(needed)}{short}"


def _agents(count: int) -> str:
    return f"{count} agent{'s' * (count > 1)}"
