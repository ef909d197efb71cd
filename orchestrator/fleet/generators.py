"""What sends a case whose load hosts lack h2load: paced where it can, else an error that says what to do.

All agents of a case have the same generator, so one load host without h2load decides for the others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agents.generators import h2load_version
from agents.records import GeneratorKind, HostDescription, HostRole
from orchestrator.errors import HostError, Several
from orchestrator.facts import Case
from orchestrator.fleet.place import LOCAL, Placement
from orchestrator.spec.generator import PACED_MOST_PER_S, can_replace_h2load, choose, is_too_fast_for_paced
from orchestrator.spec.loads import Load

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Generators:
    """The generators that the load hosts of a run have. lacking: those without an h2load that Volley can use."""

    lacking: frozenset[str] = frozenset()

    @staticmethod
    def of(described: Collection[HostDescription]) -> Generators:
        """Return the generators of the hosts that described themselves."""
        return Generators(frozenset(d.host for d in described if d.role is HostRole.LOAD and d.h2load is None))

    @staticmethod
    def here() -> Generators:
        """Return the generators of this machine."""
        try:
            h2load_version.detect()
        except h2load_version.H2loadMissing:
            return Generators(frozenset([LOCAL]))
        return Generators()

    def settle(self, case: Case, load: Load, placement: Placement) -> Case:
        """Return the case with a generator that all its load hosts have.

        Raises HostError where only h2load can send it, and where the campaign names h2load.
        """
        hosts = self._without(case, placement)
        if not hosts:
            return case
        if can_replace_h2load(load):
            return replace(case, generator=GeneratorKind.PACED)
        raise HostError(
            f"{_named(hosts)}: {case.name} needs h2load, which is missing there or too old",
            f"{_install(hosts)}{_instead(case, load)}",
        )

    def require(
        self, cases: Iterable[Case], loads: Mapping[str, Load], placements: Mapping[str, Placement]
    ) -> list[str]:
        """Return the names of the loads that paced sends instead of h2load. Raises Several, with an error for each case."""
        errors: list[HostError] = []
        replaced: dict[str, None] = {}
        for case in cases:
            try:
                if self.settle(case, loads[case.load], placements[case.name]) != case:
                    replaced[case.load] = None
            except HostError as error:
                errors.append(error)
        if errors:
            raise Several(errors)
        return list(replaced)

    def words(self, loads: Sequence[str]) -> str:
        """Return one sentence about the loads that paced sends instead of h2load."""
        hosts = sorted(self.lacking)
        noun = "load" if len(loads) == 1 else "loads"
        return (
            f"h2load is missing on {_named(hosts)}: paced sends the {noun} {', '.join(loads)} instead, with more CPU time "
            f"for each request; {_install(hosts)}"
        )

    def _without(self, case: Case, placement: Placement) -> list[str]:
        """Return the load hosts that cannot send a case."""
        if case.generator is not GeneratorKind.H2LOAD:
            return []
        return [host for host in placement.agents if host in self.lacking]


def require_generators_here(
    cases: Sequence[Case], loads: Mapping[str, Load], placements: Mapping[str, Placement]
) -> str:
    """Raise Several for the cases that only h2load can send, where this machine has none.

    Return one sentence about the loads that paced will send in its place; '' where there are none.
    """
    if all(case.generator is not GeneratorKind.H2LOAD for case in cases):
        return ""
    here = Generators.here()
    replaced = here.require(cases, loads, placements)
    return here.words(replaced) if replaced else ""


def _named(hosts: Sequence[str]) -> str:
    """Return hosts in a few words, however many there are."""
    if list(hosts) == [LOCAL]:
        return "this machine"
    more = len(hosts) - MOST_NAMED
    return f"host{'s' * (len(hosts) > 1)} {', '.join(hosts[:MOST_NAMED])}" + (f" and {more} more" if more > 0 else "")


def _install(hosts: Sequence[str]) -> str:
    return "install it with: volley doctor --fix" if list(hosts) == [LOCAL] else "install nghttp2-client there"


def _instead(case: Case, load: Load) -> str:
    """Return how the load could be sent without h2load; '' where nothing else can."""
    if is_too_fast_for_paced(load, case.agents):
        return f"; or use at least {math.ceil((load.rate or 0.0) / PACED_MOST_PER_S)} agents, so that paced sends it"
    free = load.model_copy(update={"generator": "auto"})
    if load.generator == "h2load" and (can_replace_h2load(free) or choose(free, case.agents) is GeneratorKind.PACED):
        return "; or omit 'generator', so that paced sends it"
    return ""
