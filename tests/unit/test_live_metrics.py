"""Live metrics: counters that never fall and end at the result; the dashboard asks only for what is served."""

import contextlib
import json
import re
import socket
import urllib.request

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agents.histogram import HdrCounts
from agents.recorder import Recorder, Window
from agents.records import from_plain, to_plain
from agents.rows import Rows
from agents.totals import BOUNDS_US, Buckets, LiveCounts, buckets_of, counted
from orchestrator.cli.app import invoke
from orchestrator.errors import HostError, UsageError
from orchestrator.metrics.live import LiveMetrics
from orchestrator.metrics.serve import serving
from orchestrator.result import Requests
from orchestrator.run.events import COUNTED, COUNTERS, Event
from tests.conftest import ROOT
from tests.unit.facts import agent_facts, result

CASE = {"case": "flask/open", "target": "flask", "load": "open"}


def histogram(*values_us):
    h = HdrCounts()
    h.record(np.array(values_us, dtype=np.int64))
    return h


def begun():
    """Metrics of a run that has begun."""
    metrics = LiveMetrics()
    metrics.show(Event("run", "run ...", {"campaign": "shop", "run": "shop-1"}))
    return metrics


def live(ok, http_error=0, failed=0, rows=0):
    buckets = buckets_of(histogram(*[1000] * ok))
    return LiveCounts(buckets, http_error, failed, buckets, rows)


def over(ok, http_error=0, failed=0, verdict="VALID"):
    """The event of a trial whose one agent counted so much."""
    agents = [result(agent_facts(rows=ok + http_error + failed), [1000] * ok)]
    facts = {**CASE, "verdict": verdict, "requests": Requests(ok, http_error, failed), "agents": agents}
    return Event(COUNTED, "", facts, passing=True)


def released(rate_per_s=100.0):
    return Event("released", "load", {**CASE, "warm_up_us": 0, "rate_per_s": rate_per_s}, passing=True)


def seen(counts):
    return Event(COUNTERS, "", {**CASE, "live": counts}, passing=True)


def scraped(metrics):
    registry = CollectorRegistry()
    registry.register(metrics)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def of(samples, name, **labels):
    (value,) = [v for (sample, *has), v in samples.items() if sample == name and labels.items() <= set(has)]
    return value


def test_buckets_count_every_time_once():
    """Up to and with its upper end, as Prometheus defines it; beyond the last one too."""
    values_us = [1, 10, 11, 1_000, 1_001, 1_250, 1_251, 99_000_000, 2**36 - 1, 2**36 + 5]
    buckets = buckets_of(histogram(*values_us))
    below = np.cumsum(buckets.counts)

    assert (buckets.n, buckets.total_us) == (len(values_us), sum(values_us))
    for bound, count in zip(BOUNDS_US, below, strict=False):
        assert count == sum(value <= bound for value in values_us), bound
    assert buckets.counts[-1] == 2
    assert buckets_of(None) == buckets_of(HdrCounts()) == Buckets()


def test_buckets_add_up_like_histograms():
    """Nothing is the identity; the order does not matter."""
    one, other = histogram(5, 500, 50_000), histogram(500, 70_000_000)

    assert buckets_of(one) + buckets_of(other) == buckets_of(other + one)
    assert buckets_of(one) + Buckets() == Buckets() + buckets_of(one) == buckets_of(one)


def test_an_agent_counts_its_window_by_class():
    """The same rows as the result, and all rows of the log; as a record it travels."""
    recorder = Recorder(Window(2_000_000_000_000_000, 2_000_000_001_000_000))
    start = 2_000_000_000_000_000 + np.array([-5, 0, 10, 20, 30, 2_000_000], dtype=np.int64)
    status = np.array([200, 200, 200, 503, -1, 200], dtype=np.int64)
    recorder.add(Rows(start, status, np.full(6, 700, dtype=np.int64)))
    counts = counted(recorder)

    assert (counts.ok.n, counts.http_error, counts.failed, counts.rows) == (2, 1, 1, 6)
    assert counts.ok.total_us == 1400
    assert from_plain(LiveCounts, to_plain(counts)) == counts


def test_counters_follow_a_trial_and_end_at_its_result():
    """Live counts are replaced by the exact ones, and the next trial adds to them."""
    metrics = begun()
    metrics.show(Event("trial", "trial 1/2", {"number": 1, "of": 2, "case": "flask/open"}))
    metrics.show(released())
    metrics.show(seen(live(40, 1, rows=50)))
    during = scraped(metrics)
    metrics.show(over(95, 3, 2))
    metrics.show(released())
    metrics.show(seen(live(10)))
    metrics.show(over(100, verdict="SUSPECT"))
    after = scraped(metrics)

    labels = {**CASE, "campaign": "shop"}
    assert of(during, "volley_requests_total", outcome="ok", **labels) == 40
    assert of(during, "volley_logged_requests_total", **labels) == 50
    assert of(during, "volley_load_running", **labels) == 1
    assert of(during, "volley_planned_trials", campaign="shop") == 2
    assert of(during, "volley_planned_rate_per_second", **labels) == 100
    for outcome, number in (("ok", 195), ("http_error", 3), ("failed", 2)):
        assert of(after, "volley_requests_total", outcome=outcome, **labels) == number
    assert of(after, "volley_service_time_seconds_count", **labels) == 195
    assert of(after, "volley_service_time_seconds_sum", **labels) == pytest.approx(0.195)
    assert of(after, "volley_service_time_seconds_bucket", le="0.001", **labels) == 195
    assert of(after, "volley_service_time_seconds_bucket", le="0.0008", **labels) == 0
    assert of(after, "volley_logged_requests_total", **labels) == 200
    assert of(after, "volley_load_running", **labels) == 0
    assert [of(after, "volley_trials_total", verdict=v, **labels) for v in ("VALID", "SUSPECT", "INVALID")] == [1, 1, 0]
    assert of(after, "volley_run_info", campaign="shop", run="shop-1") == 1


def test_counters_never_fall():
    """Not for a late message, a retry, a lost host, or a trial whose agents were lost with their counters."""
    metrics, before = begun(), {}
    nothing = Event(COUNTED, "", {**CASE, "verdict": "INVALID", "requests": None, "agents": []}, passing=True)
    events = [
        released(), seen(live(30, 2, 1, 40)), seen(live(20)), Event("again", "", {"trial": 1}),
        released(), seen(live(25, 1)), Event("renew", "host lost"),
        released(), seen(live(50)), nothing, released(), over(10),
    ]  # fmt: skip
    for event in events:
        metrics.show(event)
        now = scraped(metrics)
        for key, value in now.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert value >= before.get(key, 0), key
        before = now

    assert of(before, "volley_requests_total", outcome="ok", **CASE) == 30 + 25 + 50 + 10
    assert of(before, "volley_retries_total") == 1


def test_nothing_is_served_before_the_run_has_a_name():
    """No series without a campaign, which would never go away."""
    assert scraped(LiveMetrics()) == {}


def test_the_number_of_series_depends_on_the_cases_only():
    """However many trials there are."""
    metrics = begun()
    sizes = set()
    for _ in range(5):
        metrics.show(released())
        metrics.show(over(1))
        sizes.add(len(scraped(metrics)))

    assert len(sizes) == 1


def test_the_dashboard_asks_only_for_what_is_served():
    """Every metric in a query or a variable; ids are unique, panels do not overlap."""
    board = json.loads((ROOT / "deploy" / "grafana" / "volley.json").read_text())
    metrics = begun()
    for event in (Event("trial", "", {"of": 1}), released(), over(1)):
        metrics.show(event)
    samples = scraped(metrics)
    served = {name: {label for label, _ in has} for name, *has in samples}
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [variable["definition"] for variable in board["templating"]["list"] if "definition" in variable]

    assert len(queries) > 10
    for query in queries:
        for name, selector in re.findall(r"(volley_\w+)(?:\{([^}]*)\})?", query):
            assert name in served, query
            assert set(re.findall(r"(\w+)(?:=~|!=|=)", selector)) <= served[name], query
    places = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        places |= cells
        assert panel["description"]
        assert all("$__rate_interval" in t["expr"] for t in panel["targets"] if "rate(" in t["expr"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_page_names_every_metric():
    """docs/how-to/watch-a-run-in-grafana.md has what is served, and nothing else."""
    page = (ROOT / "docs" / "how-to" / "watch-a-run-in-grafana.md").read_text()
    metrics = begun()
    for event in (Event("trial", "", {"of": 1}), released(), over(1)):
        metrics.show(event)
    served = {re.sub(r"_(bucket|count|sum)$", "", name) for name, *_ in scraped(metrics)}

    assert set(re.findall(r"^\| `(volley_\w+)`", page, re.MULTILINE)) == served


def test_patience_follows_the_gaps_of_the_monitor(monkeypatch):
    """No scrape, no wait; one scrape, the usual interval; then somewhat more than the longest gap, with an end."""
    clock = iter([100.0, 102.0, 110.0, 1000.0])
    monkeypatch.setattr("orchestrator.metrics.live.time.monotonic", lambda: next(clock))
    metrics = LiveMetrics()
    patience = [metrics.patience_s()]
    for _ in range(4):
        list(metrics.collect())
        patience.append(round(metrics.patience_s(), 1))

    assert patience == [0.0, 19.0, 3.4, 10.6, 60.0]


@pytest.mark.process
def test_metrics_are_served_until_the_block_ends():
    """Also when it fails; then the port is free again."""

    def fail():
        raise RuntimeError

    with contextlib.suppress(RuntimeError), serving("127.0.0.1", 0) as (url, metrics):
        metrics.show(Event("run", "", {"campaign": "shop", "run": "shop-1"}))
        text = urllib.request.urlopen(url, timeout=5).read().decode()
        assert 'volley_run_info{campaign="shop",run="shop-1"' in text
        port = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(HostError, match="the port is in use") as caught, serving("127.0.0.1", port):
            pass
        assert caught.value.exit_code == 4
        fail()

    with socket.create_server(("127.0.0.1", port)):
        pass
    with pytest.raises(UsageError, match="does not have that address"), serving("198.51.100.7", 0):
        pass


@pytest.mark.process
def test_a_port_in_use_ends_the_command_before_any_load(capsys, tmp_path):
    """One error, exit code 4, no folder."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        bench = ["bench", "http://127.0.0.1:9/", "--out", str(tmp_path / "runs"), "--metrics-port", str(port)]
        assert invoke(bench) == 4

    assert capsys.readouterr().err == (
        f"error: live metrics cannot be served at 127.0.0.1:{port}: the port is in use\n"
        "  -> choose another --metrics-port; 0 takes any free port\n"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics-address", "127.0.0.1"], "--metrics-address needs a port"),
        (["--metrics-port", "70000"], "--metrics-port: 70000 is not a port"),
    ],
)
def test_options_that_make_no_sense(capsys, tmp_path, options, message):
    """Exit code 2, before anything starts."""
    assert invoke(["bench", "http://127.0.0.1:9/", "--out", str(tmp_path / "runs"), *options]) == 2
    assert f"error: {message}\n  -> " in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
