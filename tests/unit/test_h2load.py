"""h2load's versions, command line and output."""

import pytest

from agents.generators.h2load import command, stagger
from agents.generators.h2load_output import parse_output
from agents.generators.h2load_version import H2loadMissing, capabilities, detect, parse_version
from agents.records import Assignment
from tests.conftest import FAKE_H2LOAD

OLD = """starting benchmark...
spawning thread #0: 20 total client(s). 500 total requests
Application protocol: http/1.1
progress: 10% done

finished in 12.35ms, 40481.05 req/s, 5.79MB/s
requests: 500 total, 500 started, 500 done, 490 succeeded, 10 failed, 0 errored, 0 timeout
status codes: 490 2xx, 0 3xx, 0 4xx, 10 5xx
traffic: 73.24KB (75000) total, 50.29KB (51500) headers (space savings 0.00%), 1.46KB (1500) data
                     min         max         mean         sd        +/- sd
time for request:       71us      2.39ms       403us       360us    90.60%
time for connect:      118us      1.93ms      1.02ms       561us    60.00%
time to 1st byte:      650us      3.11ms      1.82ms       718us    60.00%
req/s           :    2024.05    4113.30    2615.58      540.66    70.00%
"""
NEW = """starting benchmark...
TLS Protocol: TLSv1.3
Cipher: TLS_AES_128_GCM_SHA256
Application protocol: h2

finished in 2.00s, 1000.00 req/s, 1.00MB/s
requests: 2000 total, 2010 started, 2000 done, 2000 succeeded, 18446744073709551615 failed, 0 errored, 0 timeout
status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 2.00MB (2097152) total, 1.00KB (1024) headers (space savings 95.00%), 1.00MB (1048576) data
                     min       max    median       p95       p99      mean        sd   +/- sd
request     :       71us    2.39ms     300us     900us    1.20ms     403us     360us   90.60%
connect     :      118us    1.93ms     1.0ms     1.0ms     1.0ms    1.02ms     561us   60.00%
TTFB        :      650us    3.11ms     1.0ms     1.0ms     1.0ms    1.82ms     718us   60.00%
req/s       :    2024.05   4113.30   2000.00   2000.00   2000.00   2615.58    540.66   70.00%
"""


def test_summary_of_an_old_version():
    """Up to 1.68: five columns."""
    out = parse_output(OLD)

    assert out.protocol == "http/1.1"
    assert out.summary.finished_us == 12_350
    assert (out.summary.started, out.summary.done, out.summary.succeeded, out.summary.failed) == (500, 500, 490, 10)
    assert out.summary.statuses == (490, 0, 0, 10)
    assert (out.summary.bytes_total, out.summary.bytes_data) == (75_000, 1_500)
    assert out.summary.max_of == {"request": "2.39ms", "connect": "1.93ms", "TTFB": "3.11ms", "req/s": "4113.30"}


def test_summary_of_a_new_version():
    """From 1.69: renamed rows and three more columns; a counter that wrapped is negative."""
    out = parse_output(NEW)

    assert (out.tls, out.cipher, out.protocol) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2")
    assert out.summary.max_of == {"request": "2.39ms", "connect": "1.93ms", "TTFB": "3.11ms", "req/s": "4113.30"}
    assert out.summary.failed == -1


def test_output_of_a_run_that_was_killed():
    """No summary is no summary, and the lines before it still count."""
    out = parse_output("starting benchmark...\nProcess Request Failure:3\nclient could not connect to host\n")

    assert out.summary is None
    assert (out.request_failures, out.failed_connects) == (3, 1)


def test_versions_and_their_capabilities():
    """One table, from the oldest supported to the newest."""
    assert parse_version("h2load nghttp2/1.52.0") == (1, 52)
    table = {minor: capabilities((1, minor)) for minor in (43, 44, 53, 54, 61, 64, 68, 69, 70)}

    assert [minor for minor, can in table.items() if can.rps] == [44, 53, 54, 61, 64, 68, 69, 70]
    assert [minor for minor, can in table.items() if can.steady_rps] == [54, 61, 64, 68, 69, 70]
    assert [minor for minor, can in table.items() if can.columns_169] == [69, 70]
    assert [minor for minor, can in table.items() if not can.flushes_stdout] == [70]


@pytest.mark.process
def test_missing_and_old_programs_are_told(monkeypatch):
    """Not on the PATH; answering nonsense; too old."""
    with pytest.raises(H2loadMissing, match="'no-such-h2load' is not on the PATH"):
        detect("no-such-h2load")
    with pytest.raises(H2loadMissing, match="names no version"):
        detect("true")
    monkeypatch.setenv("FAKE_H2LOAD", '{"version": "1.42"}')
    with pytest.raises(H2loadMissing, match=r"h2load 1\.42 is older than 1\.43"):
        detect(FAKE_H2LOAD)


def task(clients, **changes):
    return Assignment(agent="a/0", run="r", url="http://h/", clients=clients, give_up_us=1, **changes)


def test_closed_command():
    """A count or a duration in whole milliseconds, never both."""
    can = capabilities((1, 52))

    by_count = command(task(40, count=1000), can, "/log")
    by_time = command(task(40, duration_us=1_500_000, http2=True, streams=10), can, "/log")

    assert by_count == [
        "h2load",
        "--clients=40",
        "--threads=1",
        "--log-file=/log",
        "--h1",
        "--requests=1000",
        "http://h/",
    ]
    assert "--duration=1500ms" in by_time
    assert "--max-concurrent-streams=10" in by_time
    with pytest.raises(ValueError, match="exactly one"):
        command(task(40, count=1, duration_us=1_000_000), can, "/log")


def test_open_command_staggers_its_connections():
    """One connection per request gap, each at its part of the rate; never -D with --rps."""
    argv = command(task(200, count=5000, rate_per_s=1000), capabilities((1, 52)), "/log")

    assert {"--rate=1", "--rate-period=1ms", "--rps=5"} <= set(argv)
    with pytest.raises(ValueError, match="fires all clients in phase"):
        command(task(2, duration_us=1_000_000, rate_per_s=10), capabilities((1, 52)), "/log")
    with pytest.raises(ValueError, match=r"1\.43 has no --rps"):
        command(task(2, count=10, rate_per_s=10), capabilities((1, 43)), "/log")


@pytest.mark.parametrize("rate", [0.5, 1, 7, 100, 250, 333, 1000, 1500, 12345, 250_000])
def test_stagger_is_in_whole_milliseconds_and_close(rate):
    """h2load takes nothing finer than a millisecond; the pace is right to a hundredth."""
    connections, period_ms = stagger(rate, clients=100_000)

    assert connections / period_ms * 1000 == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(("rate", "clients"), [(9514, 191), (5000, 2), (123_456, 1235)])
def test_no_more_connections_at_a_time_than_there_are_clients(rate, clients):
    """h2load refuses to start otherwise."""
    connections, period_ms = stagger(rate, clients)

    assert connections <= clients
    assert period_ms >= 1


def test_method_headers_and_body():
    """The Host header has another name in old versions."""
    put = task(1, count=1, method="PUT", headers=[["Host", "x"], ["A", "b"]])

    old, new = (command(put, capabilities(version), "/log", "/body") for version in ((1, 52), (1, 61)))

    assert "--header=:method:PUT" in old
    assert "--header=:host: x" in old
    assert "--header=Host: x" in new
    assert "--data=/body" in old


@pytest.mark.parametrize(
    ("method", "body_file", "expected"),
    [("GET", None, []), ("POST", "/b", []), ("GET", "/b", ["--header=:method:GET"]), ("POST", None, ["--header=:method:POST"])],
)  # fmt: skip
def test_a_method_that_h2load_would_not_choose_itself_is_named(method, body_file, expected):
    """It sends POST whenever there is a body; a search that is sent as GET with a body stays a GET."""
    argv = command(task(1, count=1, method=method), capabilities((1, 61)), "/log", body_file)

    assert [argument for argument in argv if ":method" in argument] == expected


def test_a_url_in_a_file_is_not_in_the_command_line():
    """Its path and its query can be secret."""
    argv = command(task(1, count=1), capabilities((1, 52)), "/log", url_file="/folder/url")

    assert argv[-1] == "--input-file=/folder/url"
    assert not [word for word in argv if "http://" in word]
