"""One objective: a term such as 'p99 < 50ms' and whether a case meets it. Known to both towers; pure."""

from __future__ import annotations

from dataclasses import dataclass

# Times of a case by name, its share of requests that did not succeed, its throughput.
TIMES = ("p50", "p90", "p95", "p99", "p999", "mean", "max")
ERRORS, THROUGHPUT = "errors", "throughput"


@dataclass(frozen=True, slots=True)
class Term:
    """What is asked of a case. limit: µs for times, a share for errors, per second for throughput. text: as written."""

    text: str
    metric: str
    at_most: bool
    limit: float

    def met_by(self, value: float | None) -> bool:
        """Say whether a value meets it; one that is not known does not."""
        if value is None:
            return False
        return value < self.limit if self.at_most else value > self.limit
