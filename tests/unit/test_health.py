"""Waiting until a container is up: what a check says decides, and everything has an end."""

import socket
import threading

import pytest

from agents.container import ContainerState, Health
from agents.health import last_line, port_check, until_up
from agents.records import ServerState

UP = ContainerState(running=True)
AT_ONCE = Health(interval_s=0.0)


def checks(*answers):
    """A check that answers one after the other, and the last one again and again."""
    left = list(answers)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def waited(check, health=AT_ONCE, state=UP, timeout_s=30.0, abort=None):
    return until_up(health, check, lambda: state, abort or threading.Event(), timeout_s)


def test_a_container_is_up_with_the_first_check_that_succeeds():
    assert waited(checks("not yet", "not yet", "")) is None


def test_a_container_that_ended_is_not_checked():
    found = waited(lambda: pytest.fail("checked"), state=ContainerState(False, 3))

    assert (found.state, found.detail) == (ServerState.EXITED, "the container ended with exit code 3")


def test_the_wait_ends_in_time_with_the_last_reason():
    found = waited(checks("first", "second"), timeout_s=0.0)
    assert (found.state, found.detail) == (ServerState.NOT_READY, "not up within 0 s: first")


@pytest.mark.parametrize(("start_period_s", "failures"), [(0.0, 3), (1000.0, None)])
def test_failures_count_after_the_start_period(start_period_s, failures):
    """With `retries` of them it is unhealthy; before that they do not count."""
    health = Health(interval_s=0.0, retries=3, start_period_s=start_period_s)
    found = waited(checks("loading"), health, timeout_s=0.05)

    said = "not up within 0.05 s: loading" if failures is None else "unhealthy after 3 failed checks: loading"
    assert found.detail == said


def test_an_abort_ends_the_wait():
    abort = threading.Event()
    abort.set()

    assert waited(checks("x"), abort=abort).detail == "cancelled"


def test_the_last_line_is_the_last_that_says_something():
    assert (last_line("a\n b \n\n"), last_line("\n"), len(last_line("x" * 1000))) == ("b", "", 160)


@pytest.mark.process
def test_a_port_is_open_at_any_of_the_addresses():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port_check(["192.0.2.300", "127.0.0.1"], port)() == ""
    assert port_check(["127.0.0.1"], port)() == f"nothing listens on port {port}"
