"""The figures of each request of a mix against a server that times every answer itself."""

import asyncio
import math
import time

import pytest

from tests.truth.harness import explain, run
from tests.truth.paced_world import serving

pytestmark = [pytest.mark.counted, pytest.mark.usefixtures("scratch_is_clean")]
AGENTS, COUNT = 4, 600
# By path, in turn: how long an answer takes, in ms. The steps are far apart, so that a wrong rank is another step.
DELAYS_MS = {"/fast": [2], "/mixed": [4, 4, 4, 60], "/stream": [40]}
BODY = 100_000
# How much later than the server the client may see an answer, in µs.
LATER_US = 25_000


class Clocked:
    """Records how long each answer took, in µs, by path."""

    def __init__(self):
        self.took_us = {path: [] for path in DELAYS_MS}

    async def script(self, talk):
        while head := await talk.request():
            path, began = head.split(b" ")[1].decode(), time.monotonic()
            delays = DELAYS_MS[path]
            delay_s = delays[len(self.took_us[path]) % len(delays)] / 1e3
            size = BODY if path == "/stream" else 2
            start = f"HTTP/1.1 {404 if path == '/mixed' else 200} x\r\nContent-Length: {size}\r\n\r\n".encode()
            if path == "/stream":
                await talk.write(start + b"x" * 10)
                start, size = b"", size - 10
            await asyncio.sleep(delay_s)
            self.took_us[path].append((time.monotonic() - began) * 1e6)
            await talk.write(start + b"x" * size)


@pytest.fixture(scope="module")
def measured():
    """A trial of the mix, and the server's record without the checks before and after the load."""
    clocked = Clocked()
    requests = [
        {"path": "/fast", "weight": 5},
        {"path": "/mixed", "weight": 4, "expect": {"status": 404}},
        {"path": "/stream", "weight": 1, "name": "a stream"},
    ]
    with serving(clocked.script) as server:
        trial, _ = run(server.url, AGENTS, clients=16, count=COUNT, requests=requests)
    record = {path: took[1:] for path, took in clocked.took_us.items()}
    record["/fast"] = record["/fast"][:-1]
    return trial, record


def nearest_rank(values, quantile):
    return sorted(values)[math.ceil(quantile * len(values)) - 1]


def test_counts_are_those_of_the_server(measured):
    trial, record = measured
    by_name = {request.name: request for request in trial.metrics.mix}

    assert list(by_name) == ["GET /fast", "GET /mixed", "a stream"]
    assert [r.requests.ok for r in by_name.values()] == [len(took) for took in record.values()], explain(trial)
    assert sum(r.requests.ok for r in by_name.values()) == trial.metrics.requests.ok == COUNT
    assert sum(r.share for r in by_name.values()) == pytest.approx(1)
    assert by_name["GET /mixed"].statuses == {"404": len(record["/mixed"])}


def test_percentiles_are_those_of_the_server(measured):
    """A client sees each answer a little later than the server sends it, never earlier."""
    trial, record = measured
    for request, took in zip(trial.metrics.mix, record.values(), strict=True):
        for name, quantile in (("p50", 0.5), ("p90", 0.9)):
            own = request.service_time_us[name]
            if own is not None:
                theirs = nearest_rank(took, quantile)
                assert 0.999 * theirs <= own <= theirs + LATER_US, (request.name, name, explain(trial))
        assert max(took) * 0.999 <= request.service_time_us["max"]


def test_the_first_byte_comes_before_the_end(measured):
    trial, record = measured
    stream = trial.metrics.mix[2]

    assert stream.first_byte_us["p50"] < 30_000 < stream.service_time_us["p50"], explain(trial)
    assert stream.received_bytes_per_s * trial.metrics.window_s == pytest.approx(BODY * len(record["/stream"]))
    others = 2 * (len(record["/fast"]) + len(record["/mixed"]))
    assert trial.metrics.received_bytes == BODY * len(record["/stream"]) + others
