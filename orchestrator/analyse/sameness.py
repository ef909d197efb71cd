"""What differs between two runs, so that their numbers are not comparable.

Pure: works on what run folders hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.records import HostDescription
from orchestrator.facts import Case, Environment
from orchestrator.result import Difference, DifferenceKind

# Fields of a case by kind of difference. Its other fields are in its name or follow from these.
OF_THE_LIMITS = ("cpus", "memory_bytes", "cpuset")
OF_THE_LOAD = (
    "model", "protocol", "clients", "streams", "agents", "requests", "rate_per_s", "duration_us", "warm_up_us", "tail_us",
)  # fmt: skip
# Keys of a target or load in the campaign that are compared by value above, or that do not affect
# any number.
COVERED = {
    "targets": {"build", "image", "limits", "ready", "expect"},
    "services": {"build", "image", "limits", "ready", "lifetime"},
    "loads": {*OF_THE_LOAD, "rate", "duration", "warm_up", "tail", "timeout"},
}
NOT_KEPT = "(not kept, it can hold secrets)"
ABSENT = "(none)"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a run's numbers came to be, as far as its folder records it.

    environment: None when its hosts never came up. urls: of external targets, by target. generators: what sent a case, by
    case; none where that is not looked at.
    """

    cases: Mapping[str, Case]
    parts: Mapping[str, str] = field(default_factory=dict)
    environment: Environment | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    generators: Mapping[str, str] = field(default_factory=dict)


def differences(base: Circumstances, new: Circumstances, case: str) -> list[Difference]:
    """Return everything that differs for a case that both runs have, with both values."""
    own = [*_image(base, new, case), *_of_the_case(base, new, case), *_parts(base, new, case)]
    return [*own, *_hosts(base, new), *_versions(base, new)]


def _unequal(kind: DifferenceKind, key: str, old: Any, new: Any) -> Iterator[Difference]:
    if old != new:
        yield Difference(kind, key, _text(old), _text(new))


def _text(value: Any) -> str:
    return ABSENT if value is None else str(value)


def _image(base: Circumstances, new: Circumstances, case: str) -> Iterator[Difference]:
    target = base.cases[case].target
    old, now = ({} if run.environment is None else run.environment.images for run in (base, new))
    yield from _unequal(DifferenceKind.IMAGE, f"image of {target}", old.get(target), now.get(target))
    old, now = ({} if run.environment is None else run.environment.service_images for run in (base, new))
    for name in _services(base, new, case):
        yield from _unequal(DifferenceKind.IMAGE, f"image of {name}", old.get(name), now.get(name))
    yield from _unequal(DifferenceKind.TARGET, f"url of {target}", base.urls.get(target), new.urls.get(target))


def _of_the_case(base: Circumstances, new: Circumstances, case: str) -> Iterator[Difference]:
    for kind, names in ((DifferenceKind.LIMITS, OF_THE_LIMITS), (DifferenceKind.LOAD, OF_THE_LOAD)):
        for name in names:
            yield from _unequal(kind, name, getattr(base.cases[case], name), getattr(new.cases[case], name))
    if case in base.generators and case in new.generators:
        yield from _unequal(DifferenceKind.LOAD, "generator", base.generators[case], new.generators[case])
    old, now = ({service.name: service for service in run.cases[case].services} for run in (base, new))
    if set(old) != set(now):
        listed = [", ".join(sorted(found)) or None for found in (old, now)]
        yield from _unequal(DifferenceKind.TARGET, f"services of {base.cases[case].target}", listed[0], listed[1])
    for name in sorted(set(old) & set(now)):
        for limit in (*OF_THE_LIMITS, "lifetime"):
            kind = DifferenceKind.TARGET if limit == "lifetime" else DifferenceKind.LIMITS
            yield from _unequal(kind, f"{limit} of {name}", getattr(old[name], limit), getattr(now[name], limit))


def _services(base: Circumstances, new: Circumstances, case: str) -> list[str]:
    """Return the names of the services that a case has in both runs."""
    theirs = {service.name for service in new.cases[case].services}
    return [service.name for service in base.cases[case].services if service.name in theirs]


def _parts(base: Circumstances, new: Circumstances, case: str) -> Iterator[Difference]:
    """Yield differences of campaign parts of which only digests are kept; none for volley bench."""
    if not base.parts or not new.parts:
        return
    planned = base.cases[case]
    for section, name, kind in (
        ("targets", planned.target, DifferenceKind.TARGET),
        ("loads", planned.load, DifferenceKind.LOAD),
        *(("services", name, DifferenceKind.TARGET) for name in _services(base, new, case)),
    ):
        prefix = f"{section}.{name}."
        keys = sorted(key for key in {*base.parts, *new.parts} if key.startswith(prefix))
        for key in keys:
            inner = key.removeprefix(prefix)
            if inner not in COVERED[section] and base.parts.get(key) != new.parts.get(key):
                old, now = (NOT_KEPT if key in run.parts else ABSENT for run in (base, new))
                yield Difference(kind, key, old, now)


def _by_role(run: Circumstances) -> dict[str, HostDescription]:
    """Return the hosts of a run by name and role: 'web1 (server)', 'gen1 (load)'."""
    hosts = [] if run.environment is None else run.environment.hosts
    return {f"{host.host} ({host.role})": host for host in hosts}


def _coordinator(run: Circumstances, name: str) -> str | None:
    """Return a field of the environment; None when the hosts never came up."""
    return None if run.environment is None else getattr(run.environment, name)


def _hosts(base: Circumstances, new: Circumstances) -> Iterator[Difference]:
    old, now = _by_role(base), _by_role(new)
    if set(old) != set(now):
        yield Difference(
            DifferenceKind.HOSTS, "hosts", ", ".join(sorted(old)) or ABSENT, ", ".join(sorted(now)) or ABSENT
        )
    for name in sorted(set(old) & set(now)):
        yield from _unequal(DifferenceKind.HOSTS, f"cores of {name}", len(old[name].cores), len(now[name].cores))
        yield from _unequal(DifferenceKind.HOSTS, f"memory of {name}", old[name].memory_bytes, now[name].memory_bytes)
    for name in ("machine", "governor"):
        yield from _unequal(DifferenceKind.HOSTS, name, _coordinator(base, name), _coordinator(new, name))


def _versions(base: Circumstances, new: Circumstances) -> Iterator[Difference]:
    yield from _unequal(DifferenceKind.VERSIONS, "volley", _coordinator(base, "volley"), _coordinator(new, "volley"))
    old, now = _by_role(base), _by_role(new)
    for name in sorted(set(old) & set(now)):
        for what in ("kernel", "docker", "h2load"):
            yield from _unequal(
                DifferenceKind.VERSIONS, f"{what} of {name}", getattr(old[name], what), getattr(now[name], what)
            )
