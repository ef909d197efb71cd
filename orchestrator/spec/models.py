"""The campaign as a checked model. Unknown keys are errors; every quantity has a unit; paths are the user's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from orchestrator.slo import THROUGHPUT
from orchestrator.spec.base import Model
from orchestrator.spec.repeat import Adaptive, Command, Repetitions
from orchestrator.spec.slo import terms
from orchestrator.spec.units import Duration, Rate, Share, Size

# Of a search for capacity: finer takes thousands of probes, coarser is what the first bracket says.
FINEST, COARSEST = 0.002, 0.5

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"{value!r} is no name: letters, digits, '.', '_' and '-' make one")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{value!r} is not an http:// or https:// URL with a host")
    if parts.username or parts.password:
        raise ValueError("a URL must not carry a password: put it into a header, from the environment")
    return value if parts.path else value + "/"


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"{value!r} is no path on a server: it starts with '/'")
    return value


def _slo(value: str) -> str:
    terms(value)
    return value


Name = Annotated[str, AfterValidator(_name)]
Slo = Annotated[str, AfterValidator(_slo)]
Url = Annotated[str, AfterValidator(_http_url)]
UrlPath = Annotated[str, AfterValidator(_path)]


class Build(Model):
    """How to build the target's image."""

    context: str
    """Folder with the Dockerfile, relative to the campaign file."""
    dockerfile: str = "Dockerfile"
    args: dict[str, str] = Field(default_factory=dict)
    """Build arguments."""
    network: str = "host"
    """The network that RUN steps use."""


class Limits(Model):
    """What the container may use. Nothing given: no limit."""

    cpus: Annotated[float, Field(gt=0)] | None = None
    """CPU quota in cores, as docker run --cpus."""
    memory: Size | None = None
    """Memory without swap."""
    cpuset: Annotated[str, Field(pattern=r"^\d+(-\d+)?(,\d+(-\d+)?)*$")] | None = None
    """Cores to pin the container to, such as '0-1'."""


class Ready(Model):
    """When the server counts as up: any answer below 500 on this path."""

    path: UrlPath | None = None
    """Asked until it answers; the target's own path by default."""
    timeout: Duration = 60_000_000


class Expect(Model):
    """What one response must be before any load is fired. Every part that is given must hold."""

    status: Annotated[int, Field(ge=100, le=599)] | None = None
    """The status; any below 400 when not given."""
    body: str | None = None
    """The body, blank ends aside."""
    json_: Annotated[Any, Field(alias="json")] = None
    """The body as a JSON document, compared by value."""


class Target(Model):
    """The server under test: a container (build or image) or a URL that is already up."""

    build: Build | str | None = None
    """Build the image from this folder (or from a mapping with context, dockerfile, args)."""
    image: str | None = None
    """Use this image."""
    url: Url | None = None
    """Use a server that is already up."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port that the container listens on."""
    path: UrlPath = "/"
    """What is requested."""
    scheme: Literal["http", "https"] = "http"
    command: list[str] | None = None
    """Replaces the image's command."""
    env: dict[str, str] = Field(default_factory=dict)
    limits: Limits = Limits()
    network: Literal["host", "bridge"] = "host"
    """bridge publishes the port through NAT, which is then part of what is measured."""
    ready: Ready = Ready()
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _one_source(self) -> Target:
        given = [name for name in ("build", "image", "url") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of build, image and url makes a target; given: {', '.join(given) or 'none'}")
        if self.url is None and self.port is None:
            raise ValueError("a container needs 'port', the port it listens on")
        if self.url is not None:
            mute = [
                n
                for n in ("port", "command", "env", "limits", "network", "path", "scheme")
                if n in self.model_fields_set
            ]
            if mute:
                raise ValueError(f"'{mute[0]}' has no meaning for a url, which is already up")
        return self


class Load(Model):
    """How a target is driven. Clients, requests and rate are totals over all agents."""

    model: Literal["closed", "open"] = "closed"
    """closed: each client sends its next request when the last one is answered. open: requests are due at a rate."""
    protocol: Literal["http1", "http2"] = "http1"
    clients: Annotated[int, Field(ge=1, le=100_000)]
    """Connections; in the open model the connections over which the rate is spread."""
    streams: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Concurrent streams per connection (HTTP/2)."""
    requests: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Closed model: end after so many requests. The window is the whole run and there is no warm-up."""
    rate: Rate | None = None
    """Open model: requests due per second."""
    duration: Duration | None = None
    """Length of the window."""
    warm_up: Duration | None = None
    """Before the window; by default the longer of 1 s and a tenth of the duration."""
    tail: Duration = 2_000_000
    """How long the load goes on after the window, so that slow requests that started inside are seen."""
    timeout: Duration = 60_000_000
    """Ends a load bound by requests that does not end by itself."""
    paths: Annotated[list[UrlPath], Field(min_length=1)] | None = None
    """Endpoints to drive instead of the target's own path: each by agents of its own, so that each has its own times."""
    method: Annotated[str, Field(pattern=r"^[A-Z]+$")] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    body_file: str | None = None
    """File to send as body, relative to the campaign file; the method is then POST unless it is given."""
    agents: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many agents share this load; the campaign's number by default."""

    @model_validator(mode="after")
    def _bounded(self) -> Load:
        if self.model == "closed":
            if (self.requests is None) == (self.duration is None):
                raise ValueError("a closed load is bound by 'requests' or by 'duration', by exactly one of them")
            if self.rate is not None:
                raise ValueError("'rate' belongs to the open model: write model: open")
            if self.requests is not None and self.warm_up is not None:
                raise ValueError("a load bound by 'requests' has no warm-up: its window is the whole run")
        else:
            if self.rate is None or self.duration is None:
                raise ValueError("an open load needs 'rate' and 'duration'")
            if self.requests is not None:
                raise ValueError("an open load is bound by 'duration', not by 'requests'")
        if self.protocol == "http1" and self.streams != 1:
            raise ValueError("'streams' belongs to http2: HTTP/1.1 has one request at a time on a connection")
        return self

    @property
    def warm_up_us(self) -> int:
        """The warm-up in µs, the default applied."""
        if self.duration is None:
            return 0
        return max(1_000_000, self.duration // 10) if self.warm_up is None else self.warm_up


class Compare(Model):
    """What the targets are compared with, and what difference matters."""

    baseline: Name
    """The target that the others are compared with."""
    smallest_effect: Share = 0.03
    """Differences below this do not interest: they are called equivalent."""


class Place(Model):
    """Which hosts of an inventory may be used, by their labels."""

    server: dict[str, str] = Field(default_factory=dict)
    """Labels that the server host must have."""
    load: dict[str, str] = Field(default_factory=dict)
    """Labels that each load host must have."""
    share: bool = False
    """Server and agents may be on one host; the results then say so."""


class Saturate(Model):
    """What `volley saturate` searches for: the highest rate that still meets an objective."""

    slo: Slo
    """Such as 'p99 < 50ms, errors < 0.1%'; of response time."""
    precision: Share = 0.03
    """Half the width of the interval that is asked for."""
    window: Duration = 10_000_000
    """Of one probe; longer where a percentile needs more requests."""
    warm_up: Duration = 1_000_000
    tail: Duration = 1_000_000
    soak: Duration | None = None
    """Of the confirming load at the end; three windows by default."""
    lowest: Rate | None = None
    """Not looked below; by default a hundredth of the closed model's throughput, or what the percentile needs."""
    highest: Rate = 1_000_000.0
    """Not looked above."""
    budget: Annotated[int, Field(ge=5, le=1000)] = 60
    """The most probes of one target."""
    load: Name | None = None
    """Whose protocol, method, headers, body and agents the probes have; the campaign's first load by default."""
    targets: Annotated[list[str], Field(min_length=1)] | None = None
    """Only the targets that match one of these globs."""

    @model_validator(mode="after")
    def _searchable(self) -> Saturate:
        """See that more load can only make it worse, and that there is something to look at."""
        for term in terms(self.slo):
            if term.metric == THROUGHPUT or not term.at_most:
                raise ValueError(
                    f"'{term.text}' is met by more load, not by less: write times and errors, each with '<'"
                )
        if not FINEST <= self.precision <= COARSEST:
            raise ValueError(f"a precision of {self.precision:.1%} is not between {FINEST:.1%} and {COARSEST:.0%}")
        if self.lowest is not None and self.lowest >= self.highest:
            raise ValueError(f"lowest, {self.lowest:g}/s, is not below highest, {self.highest:g}/s")
        return self


class Campaign(Model):
    """Targets, loads, and what to repeat and compare."""

    campaign: Name
    """Its name; the run's folder starts with it."""
    description: str = ""
    variables: dict[Name, str | int | float | bool] = Field(default_factory=dict)
    """Names for ${NAME} elsewhere in this file, and in the environment of commands; --set variables.NAME=value."""
    targets: Annotated[dict[Name, Target], Field(min_length=1)]
    loads: Annotated[dict[Name, Load], Field(min_length=1)]
    agents: Annotated[int, Field(ge=1, le=1000)] = 2
    """How many agents share each load."""
    repetitions: Repetitions = 5
    """Trials of each case, in as many randomised blocks; or a mapping: until the numbers are precise enough."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """How often a trial is tried again that failed for no fault of the server: a host or an agent was lost."""
    minimum_valid: Annotated[int, Field(ge=1)] | None = None
    """A case with fewer VALID or SUSPECT trials is INVALID; by default more than half of the repetitions."""
    seed: int = 1
    """Of the order of the trials."""
    cool_down: Duration | None = None
    """Pause between trials."""
    compare: Compare | None = None
    place: Place = Place()
    slo: dict[str, Slo] = Field(default_factory=dict)
    """What cases have to meet, by glob over their names: {'flask/*': 'p99 < 50ms, errors < 0.1%, throughput > 1000/s'}."""
    saturation: Saturate | None = None
    include: Annotated[list[str], Field(min_length=1)] | None = None
    """Only the cases that match one of these globs, such as 'flask/*'; all by default."""
    exclude: list[str] = Field(default_factory=list)
    """Not the cases that match one of these globs."""
    before: list[Command] = Field(default_factory=list)
    """Run one after the other before each trial, before its server is started; where one fails no load is fired."""
    after: list[Command] = Field(default_factory=list)
    """Run when the load of a trial is over, whatever came of it, before its server is removed."""

    @property
    def least_repetitions(self) -> int:
        """How many blocks are run in any case."""
        return self.repetitions.at_least if isinstance(self.repetitions, Adaptive) else self.repetitions

    @property
    def most_repetitions(self) -> int:
        """How many blocks are run at the most."""
        return self.repetitions.at_most if isinstance(self.repetitions, Adaptive) else self.repetitions

    @property
    def required_trials(self) -> int:
        """How many trials must remain in a case."""
        return self.minimum_valid or self.least_repetitions // 2 + 1


def document_schema(model: type[Model]) -> dict[str, Any]:
    """Give the JSON Schema of a kind of file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(by_alias=True)}


def schema() -> dict[str, Any]:
    """Give the JSON Schema of a campaign file, for editors."""
    return document_schema(Campaign)


def resolve(folder: Path, name: str) -> Path:
    """Resolve a path of the campaign file against its folder."""
    return (folder / name).resolve()
