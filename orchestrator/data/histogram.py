"""A histogram of one case: the exact sum of the counters of its trials."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents.histogram import HdrCounts, highest_equivalent_us
from orchestrator.analyse.people import count, milliseconds
from orchestrator.errors import UsageError
from orchestrator.result import QUANTILES, Time, Verdict, worst

if TYPE_CHECKING:
    import pandas as pd

# A percentile is shown only with this many requests beyond it.
_BEYOND = 10
# Points of the spectrum in each halving of what is left above a quantile.
_PER_HALVING = 8


@dataclass(frozen=True, eq=False)
class Histogram:
    """The times of a case's requests in microseconds, from 1 µs at three significant digits.

    time: 'service time' or 'response time'. trials: the numbers of the trials that were added up. verdict: can the numbers
    be trusted? Minimum, maximum, mean and standard deviation are exact. Histograms of the same time can be added: the
    sum is that of all their requests.
    """

    case: str
    time: Time
    trials: list[int]
    verdict: Verdict
    _counts: HdrCounts = field(repr=False)

    def __repr__(self) -> str:
        times = ", ".join(f"{name} {milliseconds(us)}" for name, us in self.shown())
        return f"<Histogram of {self.case}: {self.time} of {count(self.requests)} requests: {times}; {self.verdict}>"

    def __add__(self, other: Histogram) -> Histogram:
        """Return the histogram of the requests of both. Raise UsageError for different times."""
        if not isinstance(other, Histogram):
            return NotImplemented
        if other.time is not self.time:
            raise UsageError(f"a {self.time} and a {other.time} do not add up", "add histograms of the same time")
        verdict = worst([self.verdict, other.verdict])
        case = self.case if self.case == other.case else f"{self.case} + {other.case}"
        return Histogram(case, self.time, [*self.trials, *other.trials], verdict, self._counts + other._counts)

    @property
    def requests(self) -> int:
        """The number of requests."""
        return self._counts.n

    @property
    def min_us(self) -> int | None:
        """The shortest time; None without requests."""
        return self._counts.minimum_us if self.requests else None

    @property
    def max_us(self) -> int | None:
        """The longest time; None without requests."""
        return self._counts.maximum_us if self.requests else None

    @property
    def mean_us(self) -> float | None:
        """The mean; None without requests."""
        return self._counts.mean_us() if self.requests else None

    @property
    def standard_deviation_us(self) -> float | None:
        """The sample standard deviation; None with fewer than two requests."""
        return self._counts.standard_deviation_us() if self.requests > 1 else None

    def quantile_us(self, q: float, few: bool = False) -> int | None:
        """Return the time that a share q of the requests did not exceed, by nearest rank.

        None where fewer than 10 requests are beyond it, as on every page; few=True returns it all the same.
        Raise UsageError when q is not above 0 and at most 1.
        """
        if not 0 < q <= 1:
            raise UsageError(f"{q!r} is not a quantile", "write p99 as 0.99")
        n = self.requests
        enough = q == 1 or n * (1 - q) >= _BEYOND - 1e-9
        return self._counts.quantile_us(q) if n and (enough or few) else None

    def quantiles_us(self, quantiles: Iterable[float] = tuple(QUANTILES.values()), few: bool = False) -> pd.Series:
        """Return several quantiles, by quantile: p50, p90, p95, p99 and p99.9 by default. NaN: withheld."""
        import pandas as pd

        asked = list(quantiles)
        values = [self.quantile_us(q, few) for q in asked]
        return pd.Series(values, index=pd.Index(asked, name="quantile"), name=f"{_name(self.time)}_us", dtype="float64")

    def share_above(self, time_us: int) -> float:
        """Return the share of the requests that took longer than a time."""
        return self._counts.share_above(time_us)

    def to_frame(self) -> pd.DataFrame:
        """Return the counters that are not zero: lowest_us, highest_us, count, cumulative_share.

        Each counts the requests whose time was from lowest_us to highest_us, both included.
        """
        import numpy as np
        import pandas as pd

        sparse = self._counts.sparse
        lowest = np.where(sparse.index > 0, highest_equivalent_us(np.maximum(sparse.index - 1, 0)) + 1, 0)
        share = np.cumsum(sparse.count) / max(1, self.requests)
        columns = {
            "lowest_us": lowest,
            "highest_us": highest_equivalent_us(sparse.index),
            "count": sparse.count,
            "cumulative_share": share,
        }
        return pd.DataFrame(columns)

    def spectrum(self) -> pd.DataFrame:
        """Return quantile and time_us, closer and closer to 1, as far as 10 requests are beyond the quantile."""
        import pandas as pd

        n = self.requests
        rows: list[tuple[float, int]] = [(0.0, self._counts.minimum_us)] if n else []
        beyond = 2 ** (-1 / _PER_HALVING)
        while n * beyond >= _BEYOND:
            rows.append((1 - beyond, self._counts.quantile_us(1 - beyond)))
            beyond *= 2 ** (-1 / _PER_HALVING)
        return pd.DataFrame(rows, columns=["quantile", "time_us"]).astype({"quantile": "float64", "time_us": "float64"})

    def shown(self) -> list[tuple[str, int]]:
        """Return the percentiles in µs that are not withheld, and the maximum, by the names that pages use."""
        named = [(f"p{100 * q:g}", self.quantile_us(q)) for q in (0.5, 0.9, 0.99, 0.999)]
        return [(name, us) for name, us in [*named, ("max", self.max_us)] if us is not None]

    def _repr_html_(self) -> str:
        from orchestrator.data.page import histogram_html

        return histogram_html(self)


def _name(time: Time) -> str:
    return str(time).replace(" ", "_")
