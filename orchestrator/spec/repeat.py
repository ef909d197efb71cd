"""How often a case is repeated, and which commands run around each trial."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.text import NonEmpty, Text
from orchestrator.spec.units import Duration, Share

MOST = 1000
# In place of a host: the one that the server of the trial is placed on.
SERVER = "server"


class Until(Model):
    """When the numbers are precise enough: the width of a metric's 95 % confidence interval, as a share of its estimate."""

    metric: Literal["throughput", "p50", "p90", "p95", "p99", "p999", "mean", "max"]
    """Times are response times in the open model, and service times in the closed model."""
    narrower_than: Share
    """The largest width of the interval, as a share of the estimate."""


class Adaptive(Model):
    """Repeat every case, in whole randomised blocks, until all of them are precise enough."""

    until: Until
    """When the numbers are precise enough."""
    at_least: Annotated[int, Field(ge=2, le=MOST)] = 5
    """Blocks that are always run."""
    at_most: Annotated[int, Field(ge=2, le=MOST)] = 30
    """The largest number of blocks, even if the numbers are not precise enough then."""
    budget: Duration | None = None
    """Time for all trials. A block is not started if it would probably exceed it, judged by the blocks before."""

    @model_validator(mode="after")
    def _in_order(self) -> Adaptive:
        if self.at_least > self.at_most:
            raise ValueError(
                f"at_least ({self.at_least}) is more than at_most ({self.at_most}): lower one or raise the other"
            )
        return self


def _kind(value: object) -> str:
    return "adaptive" if isinstance(value, dict | Adaptive) else "count"


Repetitions = Annotated[
    Annotated[Annotated[int, Field(ge=1, le=MOST)], Tag("count")] | Annotated[Adaptive, Tag("adaptive")],
    Discriminator(_kind),
]


class Command(Model):
    """A command on a host, before or after each trial. sh runs it, as Volley's user on that host.

    Its environment has the campaign's variables, and VOLLEY_CASE, VOLLEY_TARGET, VOLLEY_LOAD, VOLLEY_TRIAL,
    VOLLEY_BLOCK and VOLLEY_SERVER (the server host's address).
    """

    run: NonEmpty
    """Passed to the shell as written; the shell replaces ${NAME}."""
    host: Text = SERVER
    """A host of the inventory. 'server' is the server's host; 'local' is this machine, if there is no inventory."""
    timeout: Duration = 60_000_000
    """Ends the command; it has then failed."""
    cases: str = "*"
    """Only for trials of the cases that match this glob."""
