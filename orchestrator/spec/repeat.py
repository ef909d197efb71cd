"""How often a case is tried, and what is done around each trial."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from orchestrator.spec.base import Model
from orchestrator.spec.units import Duration, Share

MOST = 1000
# Whatever host the server of a trial is placed on.
SERVER = "server"


class Until(Model):
    """When the numbers are precise enough: the whole 95 % interval of a metric, as a share of its estimate."""

    metric: Literal["throughput", "p50", "p90", "p95", "p99", "p999", "mean", "max"]
    """Times are response times in the open model, else service times."""
    narrower_than: Share


class Adaptive(Model):
    """Repeat every case, in whole randomised blocks, until all of them are precise enough."""

    until: Until
    at_least: Annotated[int, Field(ge=2, le=MOST)] = 5
    """Blocks that are run in any case."""
    at_most: Annotated[int, Field(ge=2, le=MOST)] = 30
    """Blocks after which it ends, precise or not."""
    budget: Duration | None = None
    """Time for all trials: no block is begun that would not end within it, if it takes what blocks before took."""

    @model_validator(mode="after")
    def _in_order(self) -> Adaptive:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is more than at_most {self.at_most}")
        return self


def _kind(value: object) -> str:
    return "adaptive" if isinstance(value, dict | Adaptive) else "count"


Repetitions = Annotated[
    Annotated[Annotated[int, Field(ge=1, le=MOST)], Tag("count")] | Annotated[Adaptive, Tag("adaptive")],
    Discriminator(_kind),
]


class Command(Model):
    """A command on a host, before or after each trial. It is run by sh, as the user that Volley has there.

    It finds the campaign's variables in its environment, and VOLLEY_CASE, VOLLEY_TARGET, VOLLEY_LOAD, VOLLEY_TRIAL,
    VOLLEY_BLOCK and VOLLEY_SERVER (the server host's address).
    """

    run: Annotated[str, Field(min_length=1)]
    """For the shell as it is written; ${NAME} is the shell's."""
    host: str = SERVER
    """A host of the inventory; 'server' is the one that the server is placed on, 'local' this machine without one."""
    timeout: Duration = 60_000_000
    cases: str = "*"
    """Only around trials of the cases that match this glob."""
