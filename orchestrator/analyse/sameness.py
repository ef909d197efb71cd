"""What is not the same in two runs, so that their numbers are of two things. Pure: works on what the runs' folders hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.facts import Case
from orchestrator.result import Difference

IMAGE, LIMITS, LOAD, TARGET, HOSTS, VERSIONS = KINDS = ("image", "limits", "load", "target", "hosts", "versions")
# Of a case, by kind; everything else of it is in its name or follows from these.
OF_THE_LIMITS = ("cpus", "memory_bytes", "cpuset")
OF_THE_LOAD = (
    "model", "protocol", "clients", "streams", "agents", "requests", "rate_per_s", "duration_us", "warm_up_us", "tail_us",
)  # fmt: skip
# Keys of a target or load, in the campaign, that are compared by value, or that change no number.
COVERED = {
    "targets": {"build", "image", "limits", "ready", "expect"},
    "loads": {*OF_THE_LOAD, "rate", "duration", "warm_up", "tail", "timeout"},
}
NOT_KEPT = "(not kept, it can hold secrets)"
ABSENT = "(none)"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a run's folder says of how its numbers came to be. urls: of targets that were up already, by target."""

    cases: Mapping[str, Case]
    parts: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)


def differences(base: Circumstances, new: Circumstances, case: str) -> list[Difference]:
    """Give everything that differs for a case that both runs have, with both values."""
    found = [*_image(base, new, case), *_of_the_case(base, new, case), *_parts(base, new, case)]
    return [*found, *_hosts(base, new), *_versions(base, new)]


def _told(kind: str, key: str, old: Any, new: Any) -> Iterator[Difference]:
    if old != new:
        yield Difference(kind, key, _text(old), _text(new))


def _text(value: Any) -> str:
    return ABSENT if value is None else str(value)


def _image(base: Circumstances, new: Circumstances, case: str) -> Iterator[Difference]:
    target = base.cases[case].target
    old, now = (run.environment.get("images", {}).get(target) for run in (base, new))
    yield from _told(IMAGE, f"image of {target}", old, now)
    yield from _told(TARGET, f"url of {target}", base.urls.get(target), new.urls.get(target))


def _of_the_case(base: Circumstances, new: Circumstances, case: str) -> Iterator[Difference]:
    for kind, names in ((LIMITS, OF_THE_LIMITS), (LOAD, OF_THE_LOAD)):
        for name in names:
            yield from _told(kind, name, getattr(base.cases[case], name), getattr(new.cases[case], name))


def _parts(base: Circumstances, new: Circumstances, case: str) -> Iterator[Difference]:
    """What only digests are kept of; not where a run has none (volley bench)."""
    if not base.parts or not new.parts:
        return
    one = base.cases[case]
    for section, name, kind in (("targets", one.target, TARGET), ("loads", one.load, LOAD)):
        prefix = f"{section}.{name}."
        keys = sorted(key for key in {*base.parts, *new.parts} if key.startswith(prefix))
        for key in keys:
            inner = key.removeprefix(prefix)
            if inner not in COVERED[section] and base.parts.get(key) != new.parts.get(key):
                old, now = (NOT_KEPT if key in run.parts else ABSENT for run in (base, new))
                yield Difference(kind, key, old, now)


def _by_role(run: Circumstances) -> dict[str, Mapping[str, Any]]:
    """The hosts of a run: 'web1 (server)', 'gen1 (load)'."""
    hosts = run.environment.get("hosts", [])
    return {f"{host['host']} ({'load' if 'h2load' in host else 'server'})": host for host in hosts}


def _hosts(base: Circumstances, new: Circumstances) -> Iterator[Difference]:
    old, now = _by_role(base), _by_role(new)
    if set(old) != set(now):
        yield Difference(HOSTS, "hosts", ", ".join(sorted(old)) or ABSENT, ", ".join(sorted(now)) or ABSENT)
    for name in sorted(set(old) & set(now)):
        yield from _told(HOSTS, f"cores of {name}", _count(old[name]), _count(now[name]))
        yield from _told(HOSTS, f"memory of {name}", old[name].get("memory_bytes"), now[name].get("memory_bytes"))
    for name in ("machine", "governor"):
        yield from _told(HOSTS, name, base.environment.get(name), new.environment.get(name))


def _count(host: Mapping[str, Any]) -> int:
    return len(host.get("cores", []))


def _versions(base: Circumstances, new: Circumstances) -> Iterator[Difference]:
    yield from _told(VERSIONS, "volley", base.environment.get("volley"), new.environment.get("volley"))
    old, now = _by_role(base), _by_role(new)
    for name in sorted(set(old) & set(now)):
        for what in ("kernel", "docker", "h2load"):
            yield from _told(VERSIONS, f"{what} of {name}", old[name].get(what), now[name].get(what))
