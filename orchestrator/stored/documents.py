"""The documents of a run folder, format 1: plan.json, environment.json and what is read back of summary.json.

Plans and environments are read strictly: an unknown, missing or wrongly typed field is an error. Of summary.json
only the parts that are needed are read, because newer versions may add fields to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agents.generators.contract import Protocol
from agents.records import BadRecord, HostRole, from_plain, to_plain
from orchestrator.analyse.capacity import Wanted
from orchestrator.analyse.precision import Precision
from orchestrator.facts import Case, Environment
from orchestrator.redact import cleaned
from orchestrator.result import FORMAT, Interval, Outcome, Time, Verdict
from orchestrator.slo import Term, shown


@dataclass(frozen=True, slots=True)
class Origin:
    """The command that planned a run. file: the campaign file, absolute or relative to the run folder.

    hosts: the inventory, absolute; None for this machine alone. ray: whether that was a Ray node. commit: of the
    repository that holds the file, and whether the file differs from it; None without one. left_out: the paths that --set
    gave a value which is secret, and not stored. allowed: of --allow-target.
    """

    file: str
    overrides: list[str] = field(default_factory=list)
    only: str | None = None
    hosts: str | None = None
    ray: bool = False
    commit: str | None = None
    left_out: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """One trial of a plan. case: its name; folder: its folder under trials/."""

    number: int
    block: int
    case: str
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDocument:
    """What the plans of campaigns and searches have in common.

    origin: None for a run that cannot be resumed. parts: digests of the campaign's parts, by dotted name.
    """

    campaign: str
    cases: list[Case]
    origin: Origin | None = None
    parts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPlan(PlanDocument):
    """plan.json of a campaign: its trials, and what their evaluation needs.

    required_trials: trials that a case needs for a result. slo: objectives by case. precision: None for a
    fixed number of repetitions.
    """

    digest: str
    seed: int
    trials: list[PlannedTrial]
    required_trials: int
    baseline: str | None = None
    smallest_effect: float | None = None
    slo: dict[str, list[Term]] = field(default_factory=dict)
    precision: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan(PlanDocument):
    """plan.json of a search for capacity. Its cases are the estimates of each target; probes are not planned."""

    saturation: Wanted


@dataclass(frozen=True, slots=True)
class SummaryCase:
    """What summary.json says about one case. times_us: response times in the open loop, else service times.

    load_lost: the share of the load that the trials behind the numbers lost; None for none. protocol: None: not stored.
    """

    name: str
    verdict: Verdict
    throughput_per_s: Interval | None
    time: Time
    times_us: Mapping[str, Interval | None]
    load_lost: float | None = None
    protocol: Protocol | None = None


@dataclass(frozen=True, slots=True)
class SummaryDocument:
    """What is read back of summary.json. outcome: None without objectives."""

    verdict: Verdict
    outcome: Outcome | None
    cases: list[SummaryCase]


def to_document(record: PlanDocument | Environment) -> dict[str, object]:
    """Return the document that a file of the run folder holds, without secrets and control characters."""
    return {"format": FORMAT, **to_plain(cleaned(record))}


def plan_of(document: Mapping[str, object]) -> CampaignPlan | SearchPlan:
    """Return the plan in plan.json. Raises BadRecord."""
    content = _content(document)
    if "saturation" in content:
        return from_plain(SearchPlan, content, "plan")
    return from_plain(CampaignPlan, content, "plan")


def environment_of(document: Mapping[str, object]) -> Environment:
    """Return the environment in environment.json. Raises BadRecord."""
    content = _content(document)
    hosts = content.get("hosts")
    if isinstance(hosts, list):
        content["hosts"] = [_with_role(host) for host in hosts]
    return from_plain(Environment, content, "environment")


def summary_of(document: Mapping[str, object]) -> SummaryDocument:
    """Return the parts of summary.json that are read back. Raises BadRecord."""
    content = _content(document)
    try:
        outcome, cases = content.get("outcome"), content.get("cases", [])
        if not isinstance(cases, list):
            raise BadRecord("summary: 'cases' must be a list")
        return SummaryDocument(
            verdict=Verdict(str(content["verdict"])),
            outcome=None if outcome is None else Outcome(str(outcome)),
            cases=[_summary_case(case) for case in cases],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"summary: {error}") from error


def _content(document: Mapping[str, object]) -> dict[str, object]:
    """Return a document without its format. Raises BadRecord for another format than ours."""
    content = dict(document)
    found = content.pop("format", None)
    if found != FORMAT:
        raise BadRecord(f"it has format {shown(found)}; this Volley reads format {FORMAT}")
    return content


def _with_role(host: object) -> object:
    """Add the role to a host of a run whose hosts had none: only load hosts reported a version of h2load."""
    if not isinstance(host, dict) or "role" in host:
        return host
    return {"role": str(HostRole.LOAD if "h2load" in host else HostRole.SERVER), **host}


def _summary_case(plain: Mapping[str, object]) -> SummaryCase:
    times = plain["response_time_us"] or plain["service_time_us"]
    if not isinstance(times, dict):
        raise BadRecord("summary: the times of a case are not a table")
    return SummaryCase(
        str(plain["case"]),
        Verdict(str(plain["verdict"])),
        _interval(plain["throughput_per_s"]),
        Time.RESPONSE if plain["response_time_us"] else Time.SERVICE,
        {name: _interval(value) for name, value in times.items()},
        from_plain(float, lost) if (lost := plain.get("load_lost")) is not None else None,
        _protocol(plain.get("planned")),
    )


def _protocol(planned: object) -> Protocol | None:
    name = planned.get("protocol") if isinstance(planned, dict) else None
    return None if name is None else from_plain(Protocol, name)


def _interval(plain: object) -> Interval | None:
    return None if plain is None else from_plain(Interval, plain)
