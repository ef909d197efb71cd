"""May the targets of a run be loaded? Asked before there is a run folder; load hosts ask again where they resolve names."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from agents.destinations import Permitted, described, host_and_port, is_address, resolve, strangers
from orchestrator.errors import ConfigurationError, Problem
from orchestrator.spec.allowed import how_to_allow, needs_no_look, rules_of
from orchestrator.spec.models import Campaign
from orchestrator.spec.target import Target
from orchestrator.spec.urls import sent_url

if TYPE_CHECKING:
    from orchestrator.campaign.hosts import Hosts

# A name server that does not answer must not keep a run: the load hosts resolve and check the name again.
RESOLVED_WITHIN_S = 3.0


def permitted(campaign: Campaign, hosts: Hosts) -> Permitted:
    """Return where loads on URLs may go, beside local addresses: what was allowed, and the hosts of the run."""
    return rules_of(campaign.allow_targets, _ours(hosts))


def require_allowed(campaign: Campaign, targets: Collection[str], hosts: Hosts) -> None:
    """Raise ConfigurationError with each of the targets that are URLs at addresses that were not allowed."""
    if problems := refused(campaign, targets, hosts):
        raise ConfigurationError(problems)


def refused(campaign: Campaign, targets: Collection[str], hosts: Hosts) -> list[Problem]:
    """Return a problem for each of the targets that a run would refuse to load, as far as this machine resolves names."""
    urls = _urls(campaign.targets, targets)
    # The hosts are looked up only where there is a URL.
    return _problems(campaign, urls, permitted(campaign, hosts)) if urls else []


def _problems(campaign: Campaign, urls: Mapping[str, str], rules: Permitted) -> list[Problem]:
    return [Problem(_where(name, url, campaign), what, how_to_allow(url)) for name, url, what in _wrong(urls, rules)]


def warnings_of(campaign: Campaign) -> Iterator[str]:
    """Yield a sentence for each target that a run without an inventory would refuse to load."""
    for problem in _problems(campaign, _urls(campaign.targets, campaign.targets), rules_of(campaign.allow_targets)):
        what = f"{problem.where}: {problem.what}. A run refuses it, unless it is a host of the inventory"
        yield f"{what}: {problem.hint}"


def had_to_be_allowed(campaign: Campaign, targets: Collection[str], hosts: Hosts) -> bool:
    """Return whether one of the targets may be loaded only because the campaign or the command line allows it."""
    urls = _urls(campaign.targets, targets)
    return any(True for _ in _wrong(urls, rules_of((), _ours(hosts)))) if urls else False


def _where(name: str, url: str, campaign: Campaign) -> str:
    # The one target of a command line is known by its URL.
    return url if len(campaign.targets) == 1 else f"targets.{name}.url: {url}"


def _urls(targets: Mapping[str, Target], chosen: Collection[str]) -> dict[str, str]:
    """Return the URLs of the chosen targets by name. What is behind a unix socket is on the load host."""
    found = {name: targets[name] for name in targets if name in chosen}
    return {name: sent_url(one.url) for name, one in found.items() if one.url is not None and one.socket is None}


def _wrong(urls: Mapping[str, str], rules: Permitted) -> Iterator[tuple[str, str, str]]:
    for name, url in urls.items():
        host, port = host_and_port(url)
        if not needs_no_look(host, rules) and (wrong := strangers(_addresses(host, port), rules)):
            yield name, url, f"{described(host, wrong)}: load on it needs permission"


def _ours(hosts: Hosts) -> list[str]:
    """Return the addresses of the hosts of the run, as far as this machine resolves their names."""
    if hosts.inventory is None:
        return []
    named = [each for machine in hosts.machines() for each in (machine.address, machine.load_address) if each]
    own = hosts.inventory.coordinator.address
    return list(dict.fromkeys(at for host in [*named, *([own] if own else [])] for at in _addresses(host, 0)))


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; none where its name cannot be resolved here, or not in time."""
    if is_address(host):
        return [host]
    found: list[str] = []

    def look() -> None:
        try:
            found.extend(resolve(host, port))
        except (OSError, UnicodeError):
            return

    looking = threading.Thread(target=look, name="resolve", daemon=True)
    looking.start()
    looking.join(RESOLVED_WITHIN_S)
    return list(found)
