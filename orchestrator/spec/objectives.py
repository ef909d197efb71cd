"""Objectives for requests by name: does each load that they match have the request?"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from orchestrator.spec.listed import Wrong
from orchestrator.spec.loads import Load
from orchestrator.spec.models import Campaign
from orchestrator.spec.requests import names_of
from orchestrator.spec.slo import terms, unknown_requests


def wrong_requests(campaign: Campaign) -> Iterator[Wrong]:
    """Yield the objectives that name a request which a load that they are for does not have."""
    for glob, text in campaign.slo.items():
        for name, load in campaign.loads.items():
            if any(fnmatch.fnmatch(f"{target}/{name}", glob) for target in campaign.targets):
                for what, hint in unknown_requests(terms(text), _names(load), name):
                    yield Wrong(("slo", glob), what, hint)
    if (asked := campaign.saturation) is not None:
        name = asked.load or next(iter(campaign.loads))
        if (template := campaign.loads.get(name)) is not None:
            for what, hint in unknown_requests(terms(asked.slo), _names(template), name):
                yield Wrong(("saturation", "slo"), what, hint)


def _names(load: Load) -> list[str]:
    """Return the names of a load's requests; none for a load with a single one, whose numbers are the case's."""
    listed = load.listed
    return names_of(listed) if len(listed) > 1 else []
