"""Campaigns made from a command line, without a file.

A value is read from its option once, into a typed value. It reaches the campaign as that value, never as text again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from agents.generators.contract import Arrivals
from agents.records import GeneratorKind
from orchestrator.errors import ConfigurationError, Problem
from orchestrator.redact import hidden
from orchestrator.slo import share, shown
from orchestrator.spec import asked as requested
from orchestrator.spec.allowed import OPTION
from orchestrator.spec.asked import PLAIN, RequestOptions
from orchestrator.spec.checks import Checks, Loaded
from orchestrator.spec.load import ALLOWED
from orchestrator.spec.models import Campaign
from orchestrator.spec.source import LEFT_OUT_TEXT
from orchestrator.spec.units import Micros, Part, duration_us, rate_per_s
from orchestrator.spec.variables import Location, literal
from orchestrator.url_name import url_name

T = TypeVar("T")

# The name of the one load; and of the target of a calibration: Volley's own server.
LOAD, TARGET = "load", "url"
CLIENTS = 40
WINDOW = Micros(10_000_000)
# Three trials of bench with these give an answer in under 15 s.
BENCH_WINDOW, BENCH_WARM_UP = Micros(3_000_000), Micros(500_000)
# A search takes over the protocol and the agents of its load; the rest does not matter to it.
SEARCH_CLIENTS, SEARCH_DURATION = 100, Micros(3_000_000)
# What a sweep keeps of a campaign's first load, and leaves out of the campaign: parts that depend on its loads.
KEPT = {
    "protocol", "streams", "paths", "method", "headers", "body", "json_", "body_file", "timeout", "generator", "verify",
    "tls", "data", "message", "message_file", "binary", "subprotocols",
}  # fmt: skip
LEFT_OUT = {"include", "exclude", "slo", "saturation", "minimum_valid"}
# One step of calibration: long enough for the generator's CPU time to be sampled once, short enough to wait for.
STEP_MESSAGE = "a message to calibrate"
STEP_WINDOW, STEP_WARM_UP, STEP_TAIL = Micros(1_000_000), Micros(200_000), Micros(100_000)


@dataclass(frozen=True, slots=True)
class Bench:
    """What `volley bench` was asked for. duration, rate: as typed."""

    url: str
    clients: int | None
    repeat: int
    requests: int | None = None
    duration: str | None = None
    rate: str | None = None
    arrivals: Arrivals = Arrivals.EVEN
    agents: int | None = None
    request: RequestOptions = PLAIN
    slo: str | None = None
    allowed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """What `volley saturate` was asked for, as typed. Parts that are None keep their defaults."""

    slo: str | None = None
    precision: str | None = None
    window: str | None = None
    highest: str | None = None
    budget: int | None = None
    agents: int | None = None
    arrivals: Arrivals = Arrivals.EVEN
    allowed: Sequence[str] = ()

    def overrides(self) -> list[str]:
        """Return the options as 'path=value', for a campaign file."""
        given = {"slo": self.slo, "precision": self.precision, "window": self.window, "highest": self.highest}
        found = [f"saturation.{key}={json.dumps(text)}" for key, text in given.items() if text is not None]
        found += [] if self.budget is None else [f"saturation.budget={self.budget}"]
        return found + ([] if self.agents is None else [f"agents={self.agents}"])


_BENCH = requested.KEYS | {
    ALLOWED: OPTION,
    "clients": "-c", "requests": "-n", "duration": "-d", "rate": "--rate", "arrivals": "--arrivals",
    "agents": "--agents", "repetitions": "--repeat", "slo": "--slo",
}  # fmt: skip
_SEARCH = {key: f"--{key}" for key in ("slo", "precision", "window", "highest", "budget", "agents")}
_SEARCH = requested.KEYS | _SEARCH | {"arrivals": "--arrivals", ALLOWED: OPTION}
# By the path in a campaign file: the option that stands for it.
SEARCH_OPTIONS = {"agents": "--agents"} | {
    f"saturation.{key}": f"--{key}" for key in ("slo", "precision", "window", "highest", "budget")
}
_SWEEP = requested.KEYS | {ALLOWED: OPTION, "clients": "--clients", "duration": "-d", "repetitions": "--repeat"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One command line. options: by key of the campaign, the option that sets it."""

    options: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def read(self, option: str, read: Callable[[str], T], text: str, otherwise: T) -> T:
        """Return the value of an option; `otherwise` after noting why it cannot be read."""
        try:
            return read(text)
        except ValueError as error:
            self.refuse(option, *str(error).split(": ", 1))
            return otherwise

    def refuse(self, option: str, what: str, hint: str = "") -> None:
        """Note a problem with an option."""
        self.problems.append(Problem(option, what, hint))

    def loaded(self, data: dict[str, Any], folder: Path | None = None) -> Loaded:
        """Return the data as a checked campaign. Raise ConfigurationError with all problems, by option."""
        folder = Path.cwd() if folder is None else folder
        campaign = Checks(self._option, self.problems).campaign(data, folder)
        return Loaded(campaign, folder, document(campaign))

    def _option(self, location: Location) -> str:
        # The name of the one target can be that of a key.
        location = tuple(part for i, part in enumerate(location) if (i, location[0]) != (1, "targets"))
        known = (self.options[part] for part in reversed(location) if part in self.options)
        return next(known, ".".join(str(part) for part in location) or "the command line")


def bench(asked: Bench) -> Loaded:
    """Return the campaign of `volley bench`. Raise ConfigurationError with all problems, by option."""
    line = _Line(_BENCH)
    if asked.requests is not None:
        for option, given in (("-d", asked.duration), ("--rate", asked.rate)):
            if given is not None:
                line.refuse("-n", f"cannot be combined with {option}", "use one of them")
    if asked.arrivals is not Arrivals.EVEN and asked.rate is None:
        line.refuse("--arrivals", "belongs to the open loop", "add --rate")
    request = asked.request
    if request.generator == "h2load" and asked.arrivals is Arrivals.POISSON:
        line.refuse("--arrivals poisson", "is not possible with h2load", "omit --generator, or use paced")
    requested.refuse_contradictions(request, asked.url, line)
    if line.problems:
        raise ConfigurationError(line.problems)
    data = {
        "campaign": "bench",
        "targets": _target_of(asked.url, request),
        "loads": {LOAD: requested.load_of(request, asked.url, line) | _bench_load(asked, line)},
        "repetitions": asked.repeat,
        **_allowed(asked.allowed),
        **({} if asked.agents is None else {"agents": asked.agents}),
    }
    if asked.slo is not None:
        data["slo"] = {"*": asked.slo}
    return line.loaded(data)


def _bench_load(asked: Bench, line: _Line) -> dict[str, Any]:
    load: dict[str, Any] = {}
    if asked.clients is not None or asked.rate is None:
        load["clients"] = CLIENTS if asked.clients is None else asked.clients
    if asked.requests is not None:
        load["requests"] = asked.requests
    else:
        load["duration"] = BENCH_WINDOW
        if asked.duration is None:
            load["warm_up"] = BENCH_WARM_UP
        else:
            load["duration"] = line.read("-d", duration_us, asked.duration, WINDOW)
    if asked.rate is not None:
        load |= {"model": "open", "rate": line.read("--rate", rate_per_s, asked.rate, 1.0)}
    if asked.arrivals is not Arrivals.EVEN:
        load["arrivals"] = str(asked.arrivals)
    return load


def _target_of(url: str, request: RequestOptions) -> dict[str, Any]:
    return {url_name(url, request.all_paths(), str(request.socket or "")): {"url": url, **request.expect()}}


def _allowed(typed: Sequence[str]) -> dict[str, Any]:
    return {ALLOWED: list(typed)} if typed else {}


def saturate(url: str, asked: Search, request: RequestOptions = PLAIN) -> Loaded:
    """Return the campaign of `volley saturate URL`. Raise ConfigurationError with all problems, by option."""
    line = _Line(_SEARCH)
    requested.refuse_contradictions(request, url, line)
    if request.generator == "h2load" and asked.arrivals is Arrivals.POISSON:
        line.refuse("--arrivals poisson", "is not possible with h2load", "omit --generator, or use paced")
    if line.problems:
        raise ConfigurationError(line.problems)
    search: dict[str, Any] = {} if asked.slo is None else {"slo": asked.slo}
    if asked.slo is None:
        line.refuse("--slo", "no objective given", "add --slo 'p99<50ms, errors<0.1%'")
        search["slo"] = "p99<50ms"
    if asked.precision is not None:
        search["precision"] = Part(line.read("--precision", share, asked.precision, 0.03))
    if asked.window is not None:
        search["window"] = line.read("--window", duration_us, asked.window, WINDOW)
    if asked.highest is not None:
        search["highest"] = line.read("--highest", rate_per_s, asked.highest, 1e6)
    search |= {} if asked.budget is None else {"budget": asked.budget}
    load = requested.load_of(request, url, line) | {"clients": SEARCH_CLIENTS, "duration": SEARCH_DURATION}
    if asked.arrivals is Arrivals.POISSON:
        # Arrivals belong to an open load. The search chooses the rate of each probe, and its connections.
        load = {key: value for key, value in load.items() if key != "clients"}
        load |= {"model": "open", "rate": 1.0, "arrivals": str(asked.arrivals)}
    data = {
        "campaign": "saturate",
        "targets": _target_of(url, request),
        "loads": {LOAD: load},
        "saturation": search,
        **_allowed(asked.allowed),
        **({} if asked.agents is None else {"agents": asked.agents}),
    }
    return line.loaded(data)


def sweep(
    url: str,
    clients: str,
    duration: str,
    repeat: int,
    request: RequestOptions = PLAIN,
    agents: int = 1,
    allowed: Sequence[str] = (),
) -> Loaded:
    """Return the campaign of `volley sweep URL`: a closed load for each number of clients. Raise ConfigurationError."""
    line = _Line(_SWEEP)
    requested.refuse_contradictions(request, url, line)
    if line.problems:
        raise ConfigurationError(line.problems)
    kept = requested.load_of(request, url, line)
    base = {"campaign": "sweep", "targets": _target_of(url, request), **_allowed(allowed)}
    return _swept(base, kept, agents, (clients, duration, repeat), Path.cwd(), line)


def swept(loaded: Loaded, clients: str, duration: str, repeat: int) -> Loaded:
    """Return a campaign with its loads replaced by a closed load for each number of clients. Raise ConfigurationError.

    The new loads keep the protocol and the request of the campaign's first load.
    """
    first = next(iter(loaded.campaign.loads.values()))
    listed = {"requests"} if first.listed_key == "requests" else set()
    kept = first.model_dump(mode="json", include=KEPT | listed, by_alias=True, exclude_unset=True)
    base = {key: value for key, value in loaded.plain.items() if key not in LEFT_OUT}
    return _swept(base, kept, first.agents or loaded.campaign.agents, (clients, duration, repeat), loaded.folder)


def _swept(
    base: dict[str, Any],
    kept: dict[str, Any],
    agents: int | None,
    typed: tuple[str, str, int],
    folder: Path,
    line: _Line | None = None,
) -> Loaded:
    clients, duration, repeat = typed
    line = line or _Line(_SWEEP)
    numbers = line.read("--clients", _numbers, clients, [1])
    window = line.read("-d", duration_us, duration, WINDOW)
    loads = {f"c{n}": kept | {"clients": n, "duration": window} for n in numbers}
    if agents is not None:
        # As many as the clients of each load allow, without a note about it.
        loads = {name: load | {"agents": min(agents, load["clients"])} for name, load in loads.items()}
    return line.loaded(base | {"loads": loads, "repetitions": repeat}, folder)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 7 and int(part) for part in parts):
        raise ValueError(f"{shown(text)} is not a list of client counts: write it as --clients 1,2,4,8")
    return [int(part) for part in parts]


def calibration_step(url: str, rate_per_s: float, generator: GeneratorKind, clients: int | None = None) -> Campaign:
    """Return one step of calibration: an open load of one agent. Raise ConfigurationError.

    clients: the most connections; None where the generator opens as many as it needs.
    """
    times = {"duration": STEP_WINDOW, "warm_up": STEP_WARM_UP, "tail": STEP_TAIL}
    load = {"model": "open", "rate": rate_per_s, "generator": generator.value, **times}
    if generator is GeneratorKind.WEBSOCKET:
        load |= {"protocol": "websocket", "message": STEP_MESSAGE}
    data = {
        "campaign": "calibrate",
        "targets": {TARGET: {"url": url}},
        "loads": {LOAD: load if clients is None else load | {"clients": clients}},
        "agents": 1,
        "repetitions": 1,
    }
    return _Line({}).loaded(data).campaign


def document(campaign: Campaign) -> dict[str, Any]:
    """Return what was set of a campaign as the data of a file. It reads back to an equal campaign."""
    return campaign.model_dump(mode="json", by_alias=True, exclude_unset=True)


def source(loaded: Loaded) -> str:
    """Return a campaign as the text of a file, for its run folder.

    Values of headers and bodies can be secrets: they are left out, and so are secrets elsewhere, as in a URL.
    """
    data = json.loads(json.dumps(loaded.plain))
    for load in data["loads"].values():
        for sent in (load, *(load["requests"] if isinstance(load.get("requests"), list) else ())):
            if isinstance(sent, dict):
                sent.update({"headers": dict.fromkeys(sent["headers"], LEFT_OUT_TEXT)} if "headers" in sent else {})
                sent.update({key: LEFT_OUT_TEXT for key in ("body", "json", "message") if key in sent})
    return hidden(json.dumps(literal(data), indent=2, ensure_ascii=False)) + "\n"
