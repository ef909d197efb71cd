"""The campaign's commands around a trial, each on the host that it names."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.errors import HostError
from orchestrator.facts import CommandDone, When
from orchestrator.fleet.handles import CommandHandle
from orchestrator.fleet.hosts import Placed
from orchestrator.plan import TrialPlan
from orchestrator.spec.models import Campaign
from orchestrator.spec.repeat import SERVER, Command
from orchestrator.spec.units import as_text


@dataclass(frozen=True, slots=True)
class Around:
    """What is run around one trial."""

    before: list[Command] = field(default_factory=list)
    after: list[Command] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)


def around(campaign: Campaign, case: str) -> Around:
    """Return the commands that a case has."""
    before, after = (
        [command for command in commands if fnmatch.fnmatch(case, command.cases)]
        for commands in (campaign.before, campaign.after)
    )
    return Around(before, after, {name: as_text(value) for name, value in campaign.variables.items()})


def carry_out(
    when: When,
    around: Around,
    trial: TrialPlan,
    run: str,
    placed: Placed,
    services: Callable[[str], Mapping[str, str]] = lambda host: {},
) -> list[CommandDone]:
    """Run the commands before or after a trial, one after the other; a failure before a trial ends the list.

    services: returns the variables about services for a command on a host.
    Raises HostLost when a host does not answer.
    """
    done: list[CommandDone] = []
    variables = around.variables | _variables(trial, placed)
    for command in around.before if when is When.BEFORE else around.after:
        host = _where(command, placed)
        result = host.run_command(command.run, {**variables, **services(host.host)}, run, command.timeout / 1e6)
        done.append(CommandDone(when, host.host, result.status, result.lasted_us, result.output))
        if when is When.BEFORE and result.status != 0:
            break
    return done


def _where(command: Command, placed: Placed) -> CommandHandle:
    name = placed.server.host if command.host == SERVER and placed.server is not None else command.host
    if name not in placed.helpers:
        raise HostError(f"a command names host {name!r}, which is not in the fleet", "name a host of the inventory")
    return placed.helpers[name]


def _variables(trial: TrialPlan, placed: Placed) -> dict[str, str]:
    """Return what a command finds in its environment."""
    return {
        "VOLLEY_CASE": trial.case.name,
        "VOLLEY_TARGET": trial.case.target,
        "VOLLEY_LOAD": trial.case.load,
        "VOLLEY_TRIAL": str(trial.number),
        "VOLLEY_BLOCK": str(trial.block),
        "VOLLEY_SERVER": placed.server.load_address if placed.server else "",
    }
