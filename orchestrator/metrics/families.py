"""The metrics of a run: their names, labels and help. Live and stored runs use the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.totals import BOUNDS_US, Buckets

if TYPE_CHECKING:
    from prometheus_client.metrics_core import HistogramMetricFamily

# Of every metric about requests. There are as many series as cases, however many trials a run has.
LABELS = ("campaign", "case", "target", "load")
OUTCOMES = ("ok", "http_error", "failed")

REQUESTS = "volley_requests"
SERVICE_TIME = "volley_service_time_seconds"
RESPONSE_TIME = "volley_response_time_seconds"
CONNECTIONS = "volley_connections"
REFUSED = "volley_failed_handshakes"
LOGGED = "volley_logged_requests"
TRIALS = "volley_trials"
RETRIES = "volley_retries"
PLANNED = "volley_planned_trials"
RUNNING = "volley_load_running"
RATE = "volley_planned_rate_per_second"
INFO = "volley_run"
THROUGHPUT = "volley_throughput_per_second"
CAPACITY = "volley_capacity_per_second"
VERDICT = "volley_verdict"
RECEIVED = "volley_received_bytes_per_second"
# Of each request of a mix; the label `request` is its name.
MIX_REQUESTS = "volley_mix_requests"
MIX_THROUGHPUT = "volley_mix_throughput_per_second"
MIX_TIME = "volley_mix_time_seconds"
# Of each service of a target; the label `service` is its name.
SERVICE_CPU = "volley_service_cpu_seconds"
SERVICE_MEMORY = "volley_service_peak_memory_bytes"
SERVICE_THROTTLED = "volley_service_throttled_ratio"
SERVICE_KILLS = "volley_service_oom_kills"
SERVICE_STARTS = "volley_service_restarts"
FINDINGS = "volley_finding_trials"


@dataclass(frozen=True, slots=True)
class Load:
    """What a metric about requests is labelled with."""

    campaign: str
    case: str
    target: str
    load: str

    @property
    def labels(self) -> list[str]:
        """The values of LABELS."""
        return [self.campaign, self.case, self.target, self.load]


def times_family(name: str, text: str) -> HistogramMetricFamily:
    """Return an empty histogram by LABELS, in seconds."""
    from prometheus_client.metrics_core import HistogramMetricFamily

    return HistogramMetricFamily(name, text, labels=LABELS, unit="seconds")


def add_times(family: HistogramMetricFamily, load: Load, buckets: Buckets) -> None:
    """Add the times of one load to a histogram."""
    from prometheus_client.utils import floatToGoString

    below, cumulated = 0, []
    ends = [*(floatToGoString(bound / 1e6) for bound in BOUNDS_US), "+Inf"]
    for end, count in zip(ends, buckets.counts or [0] * len(ends), strict=True):
        below += count
        cumulated.append((end, float(below)))
    family.add_metric(load.labels, cumulated, buckets.total_us / 1e6)
