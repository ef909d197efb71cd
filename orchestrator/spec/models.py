"""The campaign as a checked model. Unknown keys are errors; every quantity has a unit; paths are the user's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from orchestrator.slo import RATES, TimeName, shown
from orchestrator.spec.allowed import Allowed
from orchestrator.spec.base import Model
from orchestrator.spec.loads import Load, Window
from orchestrator.spec.repeat import Adaptive, Command, Repetitions
from orchestrator.spec.service import Service
from orchestrator.spec.slo import PATTERN as SLO_PATTERN
from orchestrator.spec.slo import terms
from orchestrator.spec.target import Target
from orchestrator.spec.text import Name
from orchestrator.spec.units import Duration, Rate, Share

# They can depend on each other in one chain.
MOST_SERVICES = 200
# A year of trials of five minutes.
MOST_TRIALS = 100_000

# Of a search for capacity: finer takes thousands of probes, coarser is what the first bracket says.
FINEST, COARSEST = 0.002, 0.5


def _slo(value: str) -> str:
    terms(value)
    return value


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ValueError(f"{shown(value)} is not a value for a variable: write text, a number, true or false")
    if isinstance(value, str) and "\0" in value:
        raise ValueError("holds a NUL character: remove it")
    return value


Slo = Annotated[str, AfterValidator(_slo), Field(json_schema_extra={"pattern": SLO_PATTERN})]
Scalar = Annotated[str | int | float | bool, BeforeValidator(_scalar)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


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
    service: dict[str, str] = Field(default_factory=dict)
    """Labels that each host of services must have. Services without a `place` of their own are then on such a host."""
    share: bool = False
    """Server, services and agents may be on one host; the results then say so."""


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
    highest: Rate | None = None
    """Upper limit of the search; by default 50,000/s for each agent, and 5,000/s in all for a target that had to be
    allowed."""
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
            if term.metric in RATES or not term.at_most:
                raise ValueError(f"more load meets {shown(term.text)}, not less: write times and errors, each with '<'")
            if term.time == TimeName.SERVICE:
                raise ValueError(f"a search judges response time, not {shown(term.text)}: omit 'service'")
        if not FINEST <= self.precision <= COARSEST:
            allowed = f"write {FINEST:.1%} to {COARSEST:.0%}"
            raise ValueError(f"a precision of {self.precision:.1%} is out of range: {allowed}")
        if self.lowest is not None and self.highest is not None and self.lowest >= self.highest:
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
    services: Annotated[dict[Name, Service], Field(max_length=MOST_SERVICES)] = Field(default_factory=dict)
    """Side containers that targets need, by name: databases, caches, upstreams."""
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
    allow_targets: list[Allowed] = Field(default_factory=list)
    """Servers beyond this machine, private networks and the inventory that may be loaded: host names, addresses, networks.
    Allow only what you are responsible for."""
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

    @model_validator(mode="after")
    def _plannable(self) -> Campaign:
        trials = len(self.targets) * len(self.loads) * self.most_repetitions
        if trials > MOST_TRIALS:
            raise ValueError(
                f"{trials:,} trials are more than {MOST_TRIALS:,}: use fewer repetitions, or several campaigns"
            )
        return self

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
    # Path.resolve raises an error of its own for links that lead in a circle.
    return Path(os.path.realpath(folder / name))
