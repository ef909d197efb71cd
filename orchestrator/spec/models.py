"""The campaign as a checked model. Unknown keys are errors; every quantity has a unit; paths are the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from orchestrator.slo import THROUGHPUT, TimeName, shown
from orchestrator.spec.base import Model
from orchestrator.spec.repeat import Adaptive, Command, Repetitions
from orchestrator.spec.slo import PATTERN as SLO_PATTERN
from orchestrator.spec.slo import terms
from orchestrator.spec.text import Body, Cores, Document, Headers, Method, Name, Text, Url, UrlPath
from orchestrator.spec.units import Duration, Rate, Share, Size, duration_text

# Of a search for capacity: finer takes thousands of probes, coarser is what the first bracket says.
FINEST, COARSEST = 0.002, 0.5
# Shorter windows hold too few requests, and are as short as the errors of the clocks.
SHORTEST_WINDOW_US = 10_000
# Of the default tail, a tenth of the duration.
SHORTEST_TAIL_US, LONGEST_TAIL_US = 300_000, 2_000_000


def _slo(value: str) -> str:
    terms(value)
    return value


def _measurable(us: int) -> int:
    if us < SHORTEST_WINDOW_US:
        shortest = duration_text(SHORTEST_WINDOW_US)
        raise ValueError(f"a window of {duration_text(us)} is too short to measure: use at least {shortest}")
    return us


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ValueError(f"{shown(value)} is not a value for a variable: write text, a number, true or false")
    return value


def _build_kind(value: object) -> str:
    return "mapping" if isinstance(value, dict | Build) else "folder"


Slo = Annotated[str, AfterValidator(_slo), Field(json_schema_extra={"pattern": SLO_PATTERN})]
Window = Annotated[Duration, AfterValidator(_measurable)]
Scalar = Annotated[str | int | float | bool, BeforeValidator(_scalar)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Build(Model):
    """How to build the target's image."""

    context: Text
    """Folder with the Dockerfile, relative to the campaign file."""
    dockerfile: Text = "Dockerfile"
    """Path of the Dockerfile in that folder."""
    args: dict[str, Text] = Field(default_factory=dict)
    """Build arguments."""
    network: Text = "host"
    """The network that RUN steps use."""


class Limits(Model):
    """What the container may use. There is no limit unless one is set."""

    cpus: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] | None = None
    """CPU quota in cores, as docker run --cpus."""
    memory: Size | None = None
    """Memory without swap."""
    cpuset: Cores | None = None
    """Cores to pin the container to, such as '0-1'."""


class Ready(Model):
    """When the server counts as up: it answers with a status below 500, or with 501 or 505."""

    path: UrlPath | None = None
    """Sends GET to this path until the server is up; by default the load's own request is sent."""
    timeout: Duration = 60_000_000
    """How long to wait until the server is up. A target that is a URL is asked once unless `ready` is set."""


class Expect(Model):
    """What one response must be before any load starts. Every part that is given must hold."""

    status: Annotated[int, Field(ge=100, le=599)] | None = None
    """The status code; any below 400 by default."""
    body: str | None = None
    """The body, without blanks at its ends."""
    json_: Annotated[Any, Field(alias="json")] = None
    """The body as a JSON document, compared by value."""


class Target(Model):
    """The server under test: a container (build or image) or a URL that is already up."""

    build: (
        Annotated[Annotated[Build, Tag("mapping")] | Annotated[Text, Tag("folder")], Discriminator(_build_kind)] | None
    ) = None
    """Build the image from this folder (or from a mapping with context, dockerfile, args)."""
    image: Text | None = None
    """Use this image."""
    url: Url | None = None
    """Use a server that is already up."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """The port that the container listens on."""
    path: UrlPath = "/"
    """The path to request."""
    scheme: Literal["http", "https"] = "http"
    """https: the container speaks TLS; any certificate is accepted."""
    command: list[Text] | None = None
    """Replaces the image's command."""
    env: dict[Text, Text] = Field(default_factory=dict)
    """Environment variables of the container."""
    limits: Limits = Limits()
    """What the container may use."""
    network: Literal["host", "bridge"] = "host"
    """bridge publishes the port through NAT, which is then part of what is measured."""
    ready: Ready = Ready()
    """When the server counts as up."""
    expect: Expect = Expect()
    """What one response must be before any load starts."""

    @model_validator(mode="after")
    def _one_source(self) -> Target:
        given = [name for name in ("build", "image", "url") if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{', '.join(given)} are set together" if given else "none of build, image and url is set"
            raise ValueError(f"{found}: set exactly one of build, image and url")
        if self.url is None and self.port is None:
            raise ValueError("a container needs 'port': add the port it listens on")
        if self.url is not None:
            own = ("port", "command", "env", "limits", "network", "path", "scheme")
            without_effect = [name for name in own if name in self.model_fields_set]
            if without_effect:
                raise ValueError(f"'{without_effect[0]}' belongs to containers, and this target is a URL: remove it")
        return self


def _generator_kind(value: Any) -> str:
    return "mapping" if isinstance(value, dict | Program) else "name"


class Program(Model):
    """A generator of your own that follows the generator contract (docs/reference/generators.md)."""

    command: Annotated[list[str], Field(min_length=1)]
    """The program and its arguments, run on every load host."""


class Load(Model):
    """How a target is driven. Clients, requests and rate are totals over all agents."""

    model: Literal["closed", "open"] = "closed"
    """closed: each client sends its next request when the last one is answered. open: requests are due at a rate."""
    protocol: Literal["http1", "http2"] = "http1"
    """http1: HTTP/1.1 with keep-alive. http2: HTTP/2; over plain TCP without an upgrade (prior knowledge)."""
    clients: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Closed model: connections, each with one request at a time. Open model: the most connections; as many as are needed
    are opened."""
    streams: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Concurrent streams per connection (HTTP/2)."""
    requests: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Closed model: stop after this many requests. The window is the whole run and there is no warm-up."""
    rate: Rate | None = None
    """Open model: requests due per second."""
    arrivals: Literal["even", "poisson"] = "even"
    """Open model: requests are due evenly, or at random times (a Poisson process, drawn from the campaign's seed)."""
    generator: Annotated[
        Annotated[Program, Tag("mapping")] | Annotated[Literal["auto", "h2load", "paced"], Tag("name")],
        Discriminator(_generator_kind),
    ] = "auto"
    """What sends the requests. auto: paced for open loads over HTTP/1.1, h2load for the rest; or {command: [...]}."""
    duration: Window | None = None
    """Length of the window."""
    warm_up: Duration | None = None
    """Before the window; by default the longer of 1 s and a tenth of the duration."""
    tail: Duration | None = None
    """How long the load continues after the window, so that slow requests that started inside are seen; by default a tenth
    of the duration, at least 0.3 s and at most 2 s."""
    timeout: Duration | None = None
    """A request without an answer after this time counts as failed. With h2load no request times out."""
    give_up: Duration = 60_000_000
    """Ends a load with a number of requests that does not end by itself."""
    paths: Annotated[list[UrlPath], Field(min_length=1)] | None = None
    """Paths to drive instead of the target's own: each by agents of its own, so that each has its own times."""
    method: Method = "GET"
    """The HTTP method; by default GET, and POST for a load with a body."""
    headers: Headers = Field(default_factory=dict)
    """Header fields of every request. Their values are never stored."""
    body: Body | None = Field(default=None, repr=False)
    """Text to send as body."""
    json_: Annotated[Document, Field(alias="json", repr=False)] = None
    """A document to send as JSON; sets Content-Type: application/json unless `headers` has a Content-Type."""
    body_file: Text | None = None
    """File to send as body, relative to the campaign file."""
    verify: bool | None = None
    """Check the server's certificate (https). By default that of a URL is checked, unless it is on this machine. h2load
    cannot check it: Volley then does so before each trial. true has paced send the load, which checks every connection."""
    agents: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many agents share this load; by default the campaign's number."""

    @model_validator(mode="after")
    def _bounded(self) -> Load:
        if self.model == "closed":
            if (self.requests is None) == (self.duration is None):
                raise ValueError("a closed load needs 'requests' or 'duration': set exactly one of them")
            if self.clients is None:
                raise ValueError("a closed load needs 'clients': add clients, the number of connections")
            if self.arrivals != "even":
                raise ValueError("'arrivals' belongs to the open model: add model: open")
            if self.rate is not None:
                raise ValueError("'rate' belongs to the open model: add model: open")
            if self.requests is not None and self.warm_up is not None:
                raise ValueError("a load with 'requests' has no warm-up, its window is the whole run: remove 'warm_up'")
        else:
            missing = [name for name in ("rate", "duration") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"an open load needs 'rate' and 'duration': add {' and '.join(map(repr, missing))}")
            if self.requests is not None:
                raise ValueError("an open load ends after 'duration': remove 'requests'")
        if self.protocol == "http2" and self.generator == "paced":
            raise ValueError("the generator paced speaks HTTP/1.1 only: use generator: h2load")
        if self.generator == "h2load":
            if self.arrivals == "poisson":
                raise ValueError("h2load cannot send at random times: omit 'generator', or use arrivals: even")
            if self.timeout is not None:
                raise ValueError("h2load does not time requests out: omit 'generator', or omit 'timeout'")
        if self.verify and (self.generator == "h2load" or self.protocol == "http2"):
            raise ValueError("h2load does not check certificates: omit 'verify', or use http1 without 'generator'")
        if self.protocol == "http1" and self.streams != 1:
            raise ValueError("HTTP/1.1 has one request at a time on a connection: remove 'streams', or use http2")
        if len(bodies := self.body_keys) > 1:
            raise ValueError(f"{', '.join(bodies)} are set together: set at most one of body, json and body_file")
        return self

    @property
    def body_keys(self) -> list[str]:
        """The keys that give a body, as written in the file: at most one in a checked load."""
        given = {"body": self.body is not None, "json": self.has_json, "body_file": self.body_file is not None}
        return [key for key, is_given in given.items() if is_given]

    @property
    def has_json(self) -> bool:
        """Whether the body is a JSON document, which can be null."""
        return "json_" in self.model_fields_set

    @property
    def http_method(self) -> str:
        """The method of the requests, the default applied."""
        return "POST" if self.body_keys and "method" not in self.model_fields_set else self.method

    @property
    def warm_up_us(self) -> int:
        """The warm-up in µs, the default applied."""
        if self.duration is None:
            return 0
        return max(1_000_000, self.duration // 10) if self.warm_up is None else self.warm_up

    @property
    def tail_us(self) -> int:
        """The tail in µs, the default applied."""
        if self.duration is None:
            return 0
        return min(LONGEST_TAIL_US, max(SHORTEST_TAIL_US, self.duration // 10)) if self.tail is None else self.tail


class Compare(Model):
    """What the targets are compared with, and what difference matters."""

    baseline: Name
    """The target that the others are compared with."""
    smallest_effect: Share = 0.03
    """Ignore differences smaller than this: such targets are called equivalent."""


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
    """Half the width of the confidence interval to reach."""
    window: Window = 10_000_000
    """Window of one probe; longer where a percentile needs more requests."""
    warm_up: Duration = 1_000_000
    """Before the window of each probe."""
    tail: Duration = 1_000_000
    """After the window of each probe, so that slow requests that started inside are seen."""
    soak: Window | None = None
    """Window of the confirming load at the end; three windows by default."""
    lowest: Rate | None = None
    """Lower limit of the search; by default a hundredth of the closed model's throughput, or what the percentile needs."""
    highest: Rate = 1_000_000.0
    """Upper limit of the search."""
    budget: Annotated[int, Field(ge=5, le=1000)] = 60
    """Maximum number of probes per target."""
    load: Name | None = None
    """The load whose protocol, method, headers, body and agents the probes have; the campaign's first by default."""
    targets: Annotated[list[str], Field(min_length=1)] | None = None
    """Only the targets that match one of these globs."""

    @model_validator(mode="after")
    def _searchable(self) -> Saturate:
        """Check that more load can only make the objective harder to meet, and that there is a range to search."""
        for term in terms(self.slo):
            if term.metric == THROUGHPUT or not term.at_most:
                raise ValueError(f"more load meets {shown(term.text)}, not less: write times and errors, each with '<'")
            if term.time == TimeName.SERVICE:
                raise ValueError(f"a search judges response time, not {shown(term.text)}: omit 'service'")
        if not FINEST <= self.precision <= COARSEST:
            allowed = f"write {FINEST:.1%} to {COARSEST:.0%}"
            raise ValueError(f"a precision of {self.precision:.1%} is out of range: {allowed}")
        if self.lowest is not None and self.lowest >= self.highest:
            low, high = f"{self.lowest:,.10g}/s", f"{self.highest:,.10g}/s"
            raise ValueError(f"lowest ({low}) is not below highest ({high}): lower one or raise the other")
        return self


class Campaign(Model):
    """Targets, loads, and what to repeat and compare."""

    campaign: Name
    """Its name; the run's folder starts with it."""
    description: str = ""
    """What the campaign is for, for a reader."""
    variables: dict[Name, Scalar] = Field(default_factory=dict)
    """Values for ${NAME} elsewhere in this file, and in the environment of commands; --set variables.NAME=value."""
    targets: Annotated[dict[Name, Target], Field(min_length=1)]
    """The servers under test, by name."""
    loads: Annotated[dict[Name, Load], Field(min_length=1)]
    """How they are driven, by name. Each target under each load is a case, TARGET/LOAD."""
    agents: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many agents share each load; by default 2, or one for each load host or path if those are more. A load with
    fewer clients or requests has as many agents as those."""
    repetitions: Repetitions = 5
    """Trials of each case, in as many randomised blocks; or a mapping: until the numbers are precise enough."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """How often a trial is retried that failed through no fault of the server: a host or an agent was lost."""
    on_agent_loss: Literal["fail", "degrade"] = "fail"
    """What a trial does that loses a load host or an agent: fail, and be retried; or continue with those that are left. It
    is then SUSPECT, and neither objectives nor comparisons use it. A search always repeats the probe."""
    minimum_valid: Annotated[int, Field(ge=1)] | None = None
    """A case with fewer VALID or SUSPECT trials is INVALID; by default more than half of the repetitions."""
    seed: Seed = 1
    """Of the random order of the trials, and of random arrivals."""
    cool_down: Duration | None = None
    """Pause between trials."""
    compare: Compare | None = None
    """Compares every target with one of them, under each load."""
    place: Place = Place()
    """Which hosts of the inventory may be used, by their labels."""
    slo: dict[str, Slo] = Field(default_factory=dict)
    """What cases must meet, by glob over their names: {'flask/*': 'p99 < 50ms, errors < 0.1%, throughput > 1000/s'}."""
    saturation: Saturate | None = None
    """What `volley saturate` searches for."""
    include: Annotated[list[str], Field(min_length=1)] | None = None
    """Only the cases that match one of these globs, such as 'flask/*'; all by default."""
    exclude: list[str] = Field(default_factory=list)
    """Leave out the cases that match one of these globs."""
    before: list[Command] = Field(default_factory=list)
    """Run in this order before each trial, before its server starts. If one fails, no load is sent."""
    after: list[Command] = Field(default_factory=list)
    """Run after the load of each trial, however it ended, before its server is removed."""

    @property
    def least_repetitions(self) -> int:
        """The number of blocks that are always run."""
        return self.repetitions.at_least if isinstance(self.repetitions, Adaptive) else self.repetitions

    @property
    def most_repetitions(self) -> int:
        """The largest number of blocks."""
        return self.repetitions.at_most if isinstance(self.repetitions, Adaptive) else self.repetitions

    @property
    def required_trials(self) -> int:
        """How many trials must remain in a case."""
        return self.minimum_valid or self.least_repetitions // 2 + 1


def resolve(folder: Path, name: str) -> Path:
    """Resolve a path of the campaign file against its folder."""
    return (folder / name).resolve()
