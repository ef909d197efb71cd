"""How many agents share a load. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.spec.loads import Load
from orchestrator.spec.models import Campaign

# Without a number in the campaign: as many, or one for each load host if those are more.
DEFAULT_AGENTS = 2


@dataclass(frozen=True, slots=True)
class AgentCount:
    """used: how many agents share a load. asked: the campaign's number, where that is more than the load can use."""

    used: int
    asked: int | None = None


def agents_for(campaign: Campaign, load: Load, load_hosts: int) -> AgentCount:
    """Return how many agents share a load. load_hosts: how many hosts can run them.

    Each agent has a client and a request of its own, so there are at most as many agents as of either.
    """
    given = load.agents or campaign.agents
    most = [total for total in (load.clients, load.total) if total is not None]
    used = min([given or default_agents(load_hosts), *most])
    return AgentCount(used, given if given is not None and used < given else None)


def agents_for_search(campaign: Campaign, load: Load, load_hosts: int) -> int:
    """Return how many agents share the probes of a search that has the request of a load.

    Of its numbers only the most connections of an open load limits them.
    """
    given = load.agents or campaign.agents or default_agents(load_hosts)
    return min(given, load.clients) if load.model == "open" and load.clients is not None else given


def default_agents(load_hosts: int) -> int:
    """Return the number of agents of a load where the campaign gives none."""
    return max(DEFAULT_AGENTS, load_hosts)
