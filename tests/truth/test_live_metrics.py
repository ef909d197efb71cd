"""Live metrics of real runs: scraped while they last, read by the official parser, equal to the result at the end."""

import itertools
import json
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.integration.machine import ROOT, VOLLEY
from tests.truth.harness import server

ACCEPT = "application/openmetrics-text; version=1.0.0"
GROWING = ("_total", "_bucket", "_count", "_sum")


def start(url, tmp_path, *options):
    """Start `volley bench` with live metrics; return the process and the address of the metrics."""
    command = [*VOLLEY, "bench", url, "--out", str(tmp_path / "runs"), "--json", "--metrics-port", "0", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = process.stderr.readline()
    return process, re.fullmatch(r"live metrics: (http://127\.0\.0\.1:\d+/metrics)\n", line)[1]


def scrape(address):
    """Every sample by name and labels, in OpenMetrics, read by the official parser; None when nobody serves it."""
    request = urllib.request.Request(address, headers={"Accept": ACCEPT})
    try:
        text = urllib.request.urlopen(request, timeout=5).read().decode()
    except (urllib.error.URLError, ConnectionError):
        return None
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples, name, **labels):
    return sum(v for (sample, *has), v in samples.items() if sample == name and labels.items() <= set(has))


def until(address, condition):
    """Scrape until a condition holds."""
    deadline = time.monotonic() + 60
    while not condition(samples := scrape(address)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return samples


@pytest.mark.counted
@pytest.mark.parametrize("options", [["-c", "4"], ["--rate", "200"]], ids=["closed", "open"])
def test_live_counters_grow_and_end_at_the_result(tmp_path, options):
    """Over two trials, with errors: no counter falls, and the last scrape has exactly the requests of the result."""
    with server("http1", delay_us=[2000], fail_every=10) as url:
        process, address = start(url, tmp_path, "-d", "2500ms", "--repeat", "2", *options)
        scrapes, sizes = [{}], set()
        while (samples := scrape(address)) is not None:
            scrapes.append(samples)
            sizes.add(len(samples))
            time.sleep(0.1)
        printed, error = process.communicate(timeout=60)
    (case,) = json.loads(printed)["cases"]
    last = scrapes[-1]

    # The counts are right whatever the machine's other processes do to the verdict.
    assert process.returncode in (0, 3), error
    assert value(last, "volley_trials_total") == 2
    assert value(last, "volley_retries_total") == 0
    for outcome in ("ok", "http_error", "failed"):
        assert value(last, "volley_requests_total", outcome=outcome, case=case["case"]) == case["requests"][outcome]
    assert case["requests"]["http_error"] > 0
    assert value(last, "volley_service_time_seconds_count") == case["requests"]["ok"]
    assert value(last, "volley_logged_requests_total") > case["requests"]["ok"]
    answered = value(last, "volley_response_time_seconds_count")
    assert answered == (case["requests"]["ok"] if "--rate" in options else 0)
    for before, after in itertools.pairwise(scrapes):
        for key, number in before.items():
            assert not key[0].endswith(GROWING) or after[key] >= number, key
    # While it lasted: not only at the end of each trial.
    seen = {value(samples, "volley_requests_total", outcome="ok") for samples in scrapes}
    assert len(seen - {0, case["requests"]["ok"]}) >= 2
    assert max(value(samples, "volley_load_running") for samples in scrapes) == 1
    assert value(last, "volley_load_running") == 0
    # Before the first load, in up to three steps, and with it.
    assert len(sizes) <= 4


@pytest.mark.counted
def test_an_interrupted_run_frees_the_port_and_does_not_wait_for_a_scrape(tmp_path):
    """Ctrl-C while a monitor watches: 130, soon."""
    with server("http1", delay_us=[2000]) as url:
        process, address = start(url, tmp_path, "-c", "2", "-d", "60s")
        until(address, lambda samples: samples and value(samples, "volley_logged_requests_total") > 0)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)

    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "last scrape" not in error
    with socket.create_server(("127.0.0.1", int(re.search(r":(\d+)/", address)[1]))):
        pass


@pytest.mark.counted
def test_a_run_that_nobody_watches_does_not_wait(tmp_path):
    """Its metrics are served all the same."""
    with server("http1", delay_us=[1000]) as url:
        process, _ = start(url, tmp_path, "-c", "2", "-n", "200", "--repeat", "1")
        printed, error = process.communicate(timeout=60)

    assert json.loads(printed)["cases"][0]["requests"]["ok"] == 200
    assert "scrape" not in error
