"""The generator paced as a program: how it starts and ends, what it refuses, and its memory."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from agents.generators.contract import Failure, Protocol, TaskRequest, format_task
from tests.truth.paced_world import (
    answers_after,
    answers_ok,
    check_summary,
    closed_task,
    open_task,
    paced,
    server_process,
    serving,
    unused_port,
)

# Needs no quiet machine: only what happened is checked, or times with wide bounds.
pytestmark = pytest.mark.process


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "end of input"])
@pytest.mark.parametrize("model", ["open", "closed"])
def test_it_can_be_stopped(log, how, model):
    """Stopped in the middle: outstanding rows are written, the summary is right, and it is over in 2 s."""
    with serving(answers_after(0.2)) as server, paced(log) as program:
        long = open_task(server.url, 100, 600) if model == "open" else closed_task(server.url, 10, duration_us=10**9)
        program.write(format_task(replace(long, log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(30)
        if how == "end of input":
            program.close_input()
        else:
            program.process.send_signal(getattr(signal, how))
        outcome = program.finish(within_s=2)
    assert outcome.exit_status == 0
    check_summary(outcome)
    # On a busy machine one may be due at that moment, and not sent yet.
    assert {200, Failure.UNANSWERED} <= outcome.statuses() <= {200, Failure.UNANSWERED, Failure.UNSENT}


def test_rows_are_written_while_it_runs(log):
    """Rows of a slow load are in the log within a second, not only at the end."""
    with serving(answers_ok) as server, paced(log) as program:
        program.write(format_task(replace(open_task(server.url, 20, 600), log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(5)
        assert program.process.poll() is None


def test_no_request_before_go(log):
    """Connections are opened before `ready`, requests are sent after `go`; an end of input instead of `go` is the end."""
    with serving(answers_ok) as server, paced(log) as program:
        program.write(format_task(replace(open_task(server.url, 100, 1), log=str(log))))
        program.wait_ready()
        assert server.connections > 0
        program.close_input()
        outcome = program.finish()
    assert (outcome.exit_status, outcome.summary, len(outcome.rows), server.requests) == (0, None, 0, [])


def test_no_input_at_all(log):
    """An end of input instead of a task ends the program without a message."""
    with paced(log) as program:
        program.close_input()
        outcome = program.finish()
    assert (outcome.exit_status, outcome.stderr) == (0, "")


def refused_tasks():
    ok = open_task("http://127.0.0.1:1/", 10, 1)
    yield "not JSON", "{", "paced: the task is not one line of JSON"
    yield "HTTP/2", replace(ok, protocol=Protocol.HTTP2), "paced: this generator speaks HTTP/1.1 only"
    two = (TaskRequest("http://127.0.0.1:1/"), TaskRequest("http://127.0.0.1:2/"))
    yield "two servers", replace(ok, requests=two), "paced: requests go to both 127.0.0.1:1 and 127.0.0.1:2"
    yield "no URL", replace(ok, requests=(TaskRequest("ftp://x/"),)), "paced: 'ftp://x/' is not an http or https URL"
    unknown = replace(ok, requests=(TaskRequest("http://name.invalid/"),))
    yield "no such host", unknown, "paced: 'name.invalid' cannot be resolved: "
    header = replace(ok, requests=(TaskRequest("http://x/", headers=(("A", "s3cret\r\nB: x"),)),))
    yield "header", header, "paced: the value of the header 'A' contains a line break"
    yield "too many", replace(ok, clients=1 << 30), "paced: 1073741888 open files are needed"
    yield "log", replace(ok, log="/nonexistent/log"), "paced: No such file or directory: /nonexistent/log"


@pytest.mark.parametrize(("task", "message"), [pytest.param(t, m, id=name) for name, t, m in refused_tasks()])
def test_a_task_that_cannot_be_done(log, task, message):
    """One sentence on stderr, status 1, nothing on stdout; no secret."""
    with paced(log) as program:
        program.write(task if isinstance(task, str) else format_task(replace(task, log=task.log or str(log))))
        outcome = program.finish()
    assert outcome.exit_status == 1
    assert outcome.stderr.startswith(message)
    assert outcome.stderr.count("\n") == 1
    assert "s3cret" not in outcome.stderr
    assert outcome.summary is None


def test_a_wrong_go_line(log):
    """What is neither `go` nor the end of the input ends the program with a sentence."""
    with serving(answers_ok) as server, paced(log) as program:
        program.write(format_task(replace(open_task(server.url, 10, 1), log=str(log))))
        program.wait_ready()
        program.write("gone")
        outcome = program.finish()
    assert outcome.exit_status == 1
    assert outcome.stderr.startswith("paced: the second line of the input is not 'go <T0>'")


def test_secrets_are_not_in_the_process_list(log):
    """Headers come by the input: neither arguments nor environment show them."""
    with serving(answers_ok) as server, paced(log) as program:
        secret = (TaskRequest(server.url, headers=(("Authorization", "s3cret"),)),)
        program.write(format_task(replace(open_task(server.url, 50, 600, requests=secret), log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(3)
        folder = Path(f"/proc/{program.process.pid}")
        assert b"s3cret" not in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        assert b"s3cret" in server.requests[0][1]
        program.process.terminate()
        assert program.finish().stderr == ""


# Memory.


def resident_kib(pid):
    """Memory of a process that is not shared with files, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


MOST_GROWN_KIB = 1_000


def growth_kib(program, rows):
    """Wait for more rows; return how much memory the program has taken meanwhile."""
    before = resident_kib(program.process.pid)
    program.wait_for_rows(rows)
    return resident_kib(program.process.pid) - before


@pytest.mark.parametrize("kind", ["kept alive", "closes every connection", "resets", "retries", "head", "refused"])
def test_memory_does_not_grow_with_the_number_of_requests(log, kind):
    """With the garbage collector off, nothing is left behind by requests, connections or failures."""
    options = {
        "closes every connection": {"close": True},
        "resets": {"reset_every": 2},
        "retries": {"close_after": 2},
    }.get(kind, {})
    with server_process(**options) as url, paced(log) as program:
        url = f"http://127.0.0.1:{unused_port()}/" if kind == "refused" else url
        requests = (TaskRequest(url, method="HEAD" if kind == "head" else "GET"),)
        task = open_task(url, 2_000, 600, requests=requests, clients=50, timeout_us=10**7)
        program.write(format_task(replace(task, log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(3_000)
        grown = growth_kib(program, 9_000)
        if grown >= MOST_GROWN_KIB:
            # A busy machine may have needed a larger buffer, once. A leak goes on.
            grown = growth_kib(program, 15_000)
        program.process.send_signal(signal.SIGTERM)
        check_summary(program.finish())
    # A leak of one connection or request of 200 bytes would show as 1,200 KiB.
    assert grown < MOST_GROWN_KIB, f"{grown} KiB"


def test_sockets_are_closed(log):
    """Connections that have ended hold no file descriptor."""
    with server_process(close=True) as url, paced(log) as program:
        program.write(format_task(replace(closed_task(url, 4, duration_us=10**9), log=str(log))))
        program.wait_ready()
        program.go()
        program.wait_for_rows(500)
        assert len(os.listdir(f"/proc/{program.process.pid}/fd")) < 50
        program.process.terminate()
        program.finish()
