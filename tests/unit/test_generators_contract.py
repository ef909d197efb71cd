"""The generator contract: what is read strictly, what is ignored, and what a message never shows."""

import base64
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generators.contract import (
    Arrivals,
    BadMessage,
    Failure,
    GeneratorSummary,
    GeneratorTask,
    Model,
    Protocol,
    TaskRequest,
    format_go,
    format_row,
    format_summary,
    format_task,
    parse_go,
    parse_summary,
    parse_task,
)

TASK = GeneratorTask(
    log="log",
    requests=(
        TaskRequest("http://a/"),
        TaskRequest("http://a/b", "POST", (("X-Key", "s3cret"), ("X-Key", "ü")), b"\x00\xff", 2.5),
    ),
    model=Model.OPEN,
    clients=9,
    protocol=Protocol.HTTP1,
    streams=2,
    count=7,
    duration_us=1_000_000,
    window_start_us=10,
    window_end_us=20,
    rate_per_s=99.5,
    first_due_ns=11,
    arrivals=Arrivals.POISSON,
    seed=3,
    timeout_us=5,
    verify=True,
    addresses=("10.0.0.7", "fd00::7"),
)
SUMMARY = GeneratorSummary(
    planned=9,
    sent=8,
    done=4,
    failed=dict.fromkeys(Failure, 1),
    waited_for_slot=1,
    connects=2,
    most_connections=2,
    retried=0,
    bytes_body=12,
)
MINIMAL = {
    "version": 1,
    "log": "l",
    "requests": [{"url": "http://a/"}],
    "model": "closed",
    "clients": 1,
    "count": 1,
}


def task_with(**changes):
    return json.dumps(MINIMAL | changes)


def test_a_task_survives_the_line():
    """Every field, on one line; headers keep their order and may repeat."""
    line = format_task(TASK)
    assert "\n" not in line
    assert parse_task(line) == TASK
    assert parse_task(line.encode()) == TASK


def test_the_fields_of_a_task_are_those_of_the_contract():
    """The names on the wire, and the types that other languages will see."""
    plain = json.loads(format_task(TASK))
    assert set(plain) == {
        *("version", "log", "requests", "model", "protocol", "streams", "clients", "count", "duration_us"),
        *("window_start_us", "window_end_us", "rate_per_s", "first_due_ns", "arrivals", "seed", "timeout_us", "verify"),
        *("tls", "socket", "columns", "addresses"),
    }
    assert (plain["version"], plain["model"], plain["arrivals"]) == (1, "open", "poisson")
    assert plain["requests"][0] == {"url": "http://a/", "method": "GET", "headers": [], "body": None, "weight": 1.0}
    assert plain["requests"][1]["headers"] == [["X-Key", "s3cret"], ["X-Key", "ü"]]
    assert base64.b64decode(plain["requests"][1]["body"]) == b"\x00\xff"


def test_what_a_task_may_leave_out():
    """Fields with a natural default, and unknown ones that a later version has added, at every level."""
    plain = MINIMAL | {"colour": "red", "requests": [{"url": "http://a/", "tone": 1}]}
    task = parse_task(json.dumps(plain))
    assert task == GeneratorTask("l", (TaskRequest("http://a/"),), Model.CLOSED, 1, count=1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the task is not one line of JSON"),
        ("[1]", "the task is not a JSON object"),
        (json.dumps({k: v for k, v in MINIMAL.items() if k != "version"}), "'version' is missing"),
        (task_with(version=2), "the task has version 2; this generator reads version 1"),
        (task_with(log=""), "'log' is not a text"),
        (task_with(requests=[]), "'requests' is not a list with at least one request"),
        (task_with(requests=["x"]), "'requests[0]' is not an object"),
        (task_with(requests=[{}]), "'requests[0].url' is missing"),
        (task_with(requests=[{"url": "u", "weight": 0}]), "'requests[0].weight' is not a number above 0"),
        (task_with(requests=[{"url": "u", "weight": True}]), "'requests[0].weight' is not a number above 0"),
        (
            task_with(requests=[{"url": "u", "headers": [["a"]]}]),
            "'requests[0].headers' is not a list of [name, value]",
        ),
        (task_with(requests=[{"url": "u", "headers": {}}]), "'requests[0].headers' is not a list of [name, value]"),
        (task_with(requests=[{"url": "u", "body": "s3cret"}]), "'requests[0].body' is neither base64 text nor null"),
        (task_with(model="ajar"), "'model' is not one of closed, open"),
        (task_with(arrivals=["even"]), "'arrivals' is not one of even, poisson"),
        (task_with(clients=0), "'clients' is not a whole number of at least 1"),
        (task_with(clients=1.0), "'clients' is not a whole number of at least 1"),
        (task_with(clients=True), "'clients' is not a whole number of at least 1"),
        (task_with(verify=1), "'verify' is neither true nor false"),
        (task_with(timeout_us=-5), "'timeout_us' is not a whole number of at least 1"),
        (task_with(seed="1"), "'seed' is not a whole number"),
        (task_with(count=None), "the task has neither 'count' nor 'duration_us': the load would never end"),
        (task_with(model="open"), "the task has no 'rate_per_s', which an open loop needs"),
        (task_with(model="open", rate_per_s=float("nan")), "'rate_per_s' is not a number above 0"),
    ],
)
def test_a_task_that_is_refused(line, message):
    """The field and what is wrong with it; never a secret."""
    with pytest.raises(BadMessage) as caught:
        parse_task(line)
    assert str(caught.value) == message


def test_nothing_shows_a_secret():
    """A task can be printed, and an error traced, without headers and bodies."""
    assert "s3cret" not in repr(TASK)
    with pytest.raises(BadMessage) as caught:
        parse_task('{"requests": [{"headers": [["A", "s3cret"]]')
    assert caught.value.__suppress_context__
    assert "s3cret" not in str(caught.value)


def test_a_summary_survives_the_line():
    """Every count, on one line."""
    line = format_summary(SUMMARY)
    assert "\n" not in line
    assert parse_summary(line) == SUMMARY
    assert set(json.loads(line)["failed"]) == {
        *("failed", "timeout", "reset", "refused", "protocol", "unanswered", "unsent")
    }


def test_a_summary_of_a_simple_generator():
    """Optional counts may be missing, as may reasons that never occurred and unknown fields may be there."""
    summary = parse_summary('{"planned": null, "sent": 3, "done": 2, "failed": {"reset": 1}, "mood": "good"}')
    assert summary == GeneratorSummary(None, 3, 2, dict.fromkeys(Failure, 0) | {Failure.RESET: 1})
    assert summary.rows == 3
    assert "connects" not in json.loads(format_summary(summary))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ready", "the summary is not one line of JSON"),
        ('{"sent": 1, "done": 1}', "'failed' is missing"),
        ('{"sent": -1, "done": 1, "failed": {}}', "'sent' is not a whole number of at least 0"),
        ('{"sent": 1, "done": 1, "failed": []}', "'failed' is not an object of counts by reason"),
        ('{"sent": 1, "done": 1, "failed": {"reset": 1.5}}', "'failed.reset' is not a whole number of at least 0"),
        ('{"sent": 1, "done": 1, "failed": {}, "connects": "2"}', "'connects' is not a whole number of at least 0"),
    ],
)
def test_a_summary_that_is_refused(line, message):
    """The field and what is wrong with it."""
    with pytest.raises(BadMessage) as caught:
        parse_summary(line)
    assert str(caught.value) == message


def test_an_unknown_reason_is_refused():
    """A failure that would not be counted must not get lost."""
    with pytest.raises(BadMessage, match="'failed' has an unknown reason 'dns': use failed, timeout, reset, "):
        parse_summary('{"sent": 1, "done": 0, "failed": {"dns": 1}}')


def test_failures_are_the_statuses_of_the_contract():
    """Numbers and names are on disk and on the wire: they never change."""
    assert [(failure.name, int(failure)) for failure in Failure] == [
        *(("FAILED", -1), ("TIMEOUT", -2), ("RESET", -3), ("REFUSED", -4)),
        *(("PROTOCOL", -5), ("UNANSWERED", -6), ("UNSENT", -7)),
    ]


def test_rows():
    """Whole numbers, tabs, one line feed; a failure is its number."""
    assert format_row(1, 2, 200, 3, 0) == b"1\t2\t200\t3\t0\n"
    assert format_row(1, 0, Failure.UNSENT, 3, 1) == b"1\t0\t-7\t3\t1\n"


@given(st.integers(min_value=0))
def test_go_survives_the_line(t0_ns):
    """T0 comes through exactly."""
    assert parse_go(format_go(t0_ns) + "\n") == t0_ns


@pytest.mark.parametrize("line", ["", "go", "go -1", "go 1.5", "go ²", "went 1", "go 1 2"])
def test_a_go_line_that_is_refused(line):
    """Anything but `go` and a whole number."""
    with pytest.raises(BadMessage, match="not 'go <T0>'"):
        parse_go(line)


@given(st.floats(min_value=1e-6, max_value=1e9), st.integers(), st.binary(max_size=20), st.text(max_size=20))
def test_values_come_through_exactly(rate, seed, body, value):
    """Rates as the same float, bodies as the same bytes, header values as the same text."""
    request = TaskRequest("http://a/", headers=(("A", value),), body=body)
    task = replace(TASK, rate_per_s=rate, seed=seed, requests=(request,))
    assert parse_task(format_task(task)) == task


@pytest.mark.process
def test_the_contract_imports_the_standard_library_only():
    """Neither numpy nor anything of ours but itself: whatever reads it stays light."""
    script = (
        "import sys; before = set(sys.modules); import agents.generators.contract;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['agents']"
