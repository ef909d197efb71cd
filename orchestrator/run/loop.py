"""All trials of a plan, one after the other, in the plan's order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from agents.destinations import NOT_ALLOWED, Permitted
from agents.probe import SPEAKS
from agents.records import GeneratorKind, ServerState
from agents.tls import NEEDS_CERTIFICATE, NO_TLS, OTHER_NAME, UNTRUSTED
from orchestrator.errors import HostError, NothingToMeasure
from orchestrator.facts import Case
from orchestrator.fleet.hosts import HostLost, Placed
from orchestrator.plan import Plan, TrialPlan
from orchestrator.run.commands import around
from orchestrator.run.events import Event, Say
from orchestrator.run.inputs import TrialInput, TrialOutput
from orchestrator.run.pace import Pace, expected_s, in_time
from orchestrator.run.server import ONLY_STATUS, UP
from orchestrator.run.services import Kept, TrialServices, why_not_up
from orchestrator.run.trial import not_run, run_trial
from orchestrator.spec.allowed import how_to_allow
from orchestrator.spec.loads import Load
from orchestrator.spec.models import Campaign

# A target that did not come up this often in a row is not started again; its remaining trials are recorded as not run.
GIVE_UP_AFTER = 2
# The pause before retrying a failure that the server did not cause.
PAUSE_S = 2.0
# The hosts of a case, reserved for one trial.
Reserve = Callable[[Case], AbstractContextManager[Placed]]


class RetryPolicy(Protocol):
    """Decides which trials are left, when a run ends early, and what is retried."""

    def remaining(self) -> list[TrialPlan]:
        """Return the trials that are not done, in order."""

    def is_over(self, trial: TrialPlan) -> bool:
        """Return whether the campaign ends before this trial."""

    def should_retry(self, trial: TrialPlan, output: TrialOutput) -> bool:
        """Return whether to retry a trial. If so, this attempt is stored, but not as the result."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all trials of a run share.

    ceilings_per_s: by generator and host. idle_hosts: load hosts without an agent, by case. service_images: by service.
    kept: the services that are up and outlive their trial, by name. permitted: where loads on URLs may go. settle: returns a
    case under a load with a generator that its load hosts have, and raises HostError where there is none.
    """

    campaign: Campaign
    folder: Path
    run: str
    images: dict[str, str]
    reserve: Reserve
    accepted_keys: list[str] = field(default_factory=list)
    ceilings_per_s: dict[GeneratorKind, dict[str, float]] = field(default_factory=dict)
    idle_hosts: dict[str, list[str]] = field(default_factory=dict)
    service_images: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    permitted: Permitted = field(default_factory=Permitted)
    settle: Callable[[Case, Load], Case] = lambda case, load: case

    def input(self, trial: TrialPlan, load: Load | None = None) -> TrialInput:
        """Return the input of one trial. load: replaces the load of the campaign. Raises HostError of settle."""
        load = load or self.campaign.loads[trial.case.load]
        case = self.settle(trial.case, load)
        needed = {service.name: self.campaign.services[service.name] for service in case.services}
        return TrialInput(
            replace(trial, case=case),
            self.campaign.targets[case.target],
            load,
            self.images.get(case.target),
            self.folder,
            self.run,
            self.accepted_keys,
            self.ceilings_per_s.get(case.generator, {}),
            around(self.campaign, case.name),
            self.idle_hosts.get(case.name, []),
            self.campaign.on_agent_loss == "degrade",
            TrialServices(needed, self.service_images, self.kept),
            self.permitted,
        )


def run_trials(
    plan: Plan, context: RunContext, policy: RetryPolicy, say: Say
) -> Iterator[tuple[TrialPlan, TrialOutput]]:
    """Run every planned trial that is not done, and yield each as it ends, also those that are not run.

    Raises HostLost where hosts must be brought up again before the next trial. Raises HostError when the hosts of a
    trial cannot be reserved, and for what makes every trial impossible, such as a URL that does not answer where it is
    the only target.
    """
    began = time.monotonic()
    failures: dict[str, int] = {}
    left = policy.remaining()
    lost: HostLost | None = None
    pace = Pace([trial.case for trial in left], (context.campaign.cool_down or 0) / 1e6)
    for position, trial in enumerate(left):
        if policy.is_over(trial):
            return
        if lost is not None:
            raise lost
        target, item = trial.case.target, context.input(trial)
        say(_starting(trial, len(plan.trials), pace.left_s(position, time.monotonic() - began)))
        if failures.get(target, 0) >= GIVE_UP_AFTER:
            output = not_run(item, f"{target} did not come up {GIVE_UP_AFTER} times in a row; not started again")
        else:
            if context.campaign.cool_down is not None and position:
                time.sleep(context.campaign.cool_down / 1e6)
            output = run_with_retries(item, context.reserve, policy, failures.get(target) == 0, say)
            if len(context.campaign.targets) == 1 and len(left) == len(plan.trials) and not position:
                _require_answer(item, output)
            if output.facts.server.state != ServerState.NOT_STARTED or why_not_up(output.facts.services) is not None:
                failures[target] = 0 if output.facts.server.state in UP else failures.get(target, 0) + 1
        lost = output.lost
        yield trial, output


def _require_answer(item: TrialInput, output: TrialOutput) -> None:
    """Raise NothingToMeasure when a URL does not answer at all: there is nothing to measure."""
    server, url = output.facts.server, item.target.url
    if url is None or server.state != ServerState.NOT_READY:
        return
    if server.detail.startswith(NOT_ALLOWED):
        raise NothingToMeasure(f"{url}: {server.detail}", how_to_allow(url))
    if server.detail.startswith(SPEAKS):
        http2 = item.load.protocol == "http2"
        use, option = ("http1", "omit --http2") if http2 else ("http2", "add --http2")
        raise NothingToMeasure(f"{url}: {server.detail}", f"set protocol: {use} in the load, or {option}")
    if server.detail.startswith(OTHER_NAME):
        raise NothingToMeasure(
            f"{url}: {server.detail}",
            "write the name of the certificate in the URL, or as tls.server_name (--server-name)",
        )
    if server.detail == NO_TLS:
        raise NothingToMeasure(f"{url}: {server.detail}", "write http:// instead of https://, or correct the port")
    if server.detail == NEEDS_CERTIFICATE:
        raise NothingToMeasure(f"{url}: {server.detail}", "set tls.cert and tls.key in the load (--cert, --key)")
    if server.detail.startswith(UNTRUSTED):
        raise NothingToMeasure(
            f"{url}: {server.detail}",
            "use https with a certificate that this machine trusts (tls.ca or --cacert names a private authority), or "
            "measure it without a check: --insecure, 'verify: false' in a campaign",
        )
    if ONLY_STATUS in server.detail:
        raise NothingToMeasure(
            f"{url} is not ready: {server.detail}",
            "fix the server, raise ready.timeout, or set ready.path to a path that answers below 500 when it is up",
        )
    if server.detail.startswith("no answer"):
        raise NothingToMeasure(
            f"{url}: {server.detail}",
            "if the server is slow, raise the load's timeout (--timeout) or, without one, ready.timeout in a campaign",
        )
    place = "the path of its socket" if item.target.socket else "its address and port"
    raise NothingToMeasure(
        f"{url} does not answer: {server.detail}",
        f"start the server, or check {place}; ready.timeout in a campaign waits for it",
    )


def run_with_retries(item: TrialInput, reserve: Reserve, policy: RetryPolicy, worked: bool, say: Say) -> TrialOutput:
    """Run a trial, and again as long as the retry policy asks for it. worked: its target came up before.

    Raises HostLost where the hosts must be brought up again before the next attempt, once the failed one is stored; and
    any other HostError of a target that never came up.
    """
    while True:
        try:
            with reserve(item.plan.case) as placed:
                output = run_trial(item, placed, say)
            error = None
        except HostLost:
            raise
        except HostError as raised:
            error, output = raised, not_run(item, raised.message)
        if (error is not None and not worked) or not policy.should_retry(item.plan, output):
            if error is not None:
                raise error
            return output
        if output.lost is not None:
            raise output.lost
        time.sleep(PAUSE_S)


def _starting(trial: TrialPlan, total: int, left_s: float | None) -> Event:
    left = "" if left_s is None else f", about {in_time(left_s)} left"
    facts = {
        "number": trial.number,
        "of": total,
        "case": trial.case.name,
        "left_s": left_s,
        "expected_s": expected_s(trial.case),
    }
    return Event("trial", f"trial {trial.number} of {total}: {trial.case.name}{left}", facts)
