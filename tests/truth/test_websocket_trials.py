"""Trials over WebSocket: the check before the load, many agents, and a search, against servers of known behaviour."""

from http import HTTPStatus

import pytest

from agents.probe import Expect, Request, check
from agents.records import ServerState
from tests.truth.harness import codes, explain, run
from tests.truth.test_capacity import search
from tests.truth.websocket_world import (
    closes_on,
    echoes_after,
    echoes_twice,
    never_echoes,
    one_at_a_time,
    serving,
)

pytestmark = [pytest.mark.counted, pytest.mark.usefixtures("scratch_is_clean")]
TIMES = {"warm_up": "200ms", "tail": "200ms"}


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({}, ""),
        ({"refuses": lambda number: HTTPStatus.FORBIDDEN}, "it refused the handshake with status 403"),
        ({"refuses": lambda number: HTTPStatus.OK}, "status 200: there is no WebSocket here"),
        ({"answer": never_echoes}, "it sent no message back within 0.5 s"),
        ({"answer": closes_on(1, 1011)}, "it closed the connection with code 1011 ('as the test says') instead"),
        ({"answer": closes_on(1, None)}, "it closed the connection without a close frame instead"),
        ({"answer": echoes_twice}, "it answers one message with several"),
        ({"greets": True}, "it sends a message before it gets one"),
    ],
)
def test_the_check_before_a_load(server, words):
    """What is wrong with a server is said in its words, within the time that the check has."""
    with serving(**server) as echo:
        checked = check(Request(echo.url, body=b"x", websocket=True), Expect(), 0.5, repeat=False)
    assert checked.state == (ServerState.MISMATCH if words else ServerState.READY)
    assert words in checked.detail
    assert checked.asked == "WebSocket /ws"


def test_the_answer_to_the_message_is_compared():
    """With what the target expects, as a body is."""
    with serving() as echo:
        request = Request(echo.url, body=b'{"a": 1}', websocket=True)
        right = check(request, Expect(json_text='{"a":1}'), 2, repeat=False)
        wrong = check(request, Expect(body="other"), 2, repeat=False)
    assert right.state is ServerState.READY
    assert "where 'other' was expected" in wrong.detail


def test_nothing_that_listens():
    """The reason is that of the connection."""
    checked = check(Request("ws://127.0.0.1:9/", websocket=True), Expect(), 0.5, repeat=False)
    assert (checked.state, checked.detail) == (ServerState.NOT_READY, "Connection refused")


@pytest.mark.silent(
    "handshakes-failed", "unasked-messages", "counts-mismatch", "response-mismatch", but=["too-few-samples"]
)
def test_four_agents_count_as_many_messages_as_the_server(tmp_path):
    """An open loop of 397/s: every message that the server saw is a row of some agent, and each agent connected."""
    with serving(echoes_after(0.004)) as echo:
        trial, output = run(
            echo.url, 4, {"body": "m"}, protocol="websocket", message="m", model="open", rate="397/s", clients=80,
            duration="600ms", **TIMES,
        )  # fmt: skip
    agents = output.facts.agents
    # One more before the load, and one after it.
    assert sum(agent.started for agent in agents) == len(echo.messages) - 2, explain(trial)
    assert sum(agent.due for agent in agents) in (238, 239)
    assert sum(agent.handshakes.opened for agent in agents) == echo.handshakes - 2
    assert all(agent.handshakes.opened and not agent.handshakes.refused for agent in agents)
    assert all(agent.checked for agent in agents)
    assert not codes(trial) & {"handshakes-failed", "unasked-messages", "counts-mismatch", "response-mismatch"}
    assert trial.metrics.response_time_us["p50"] >= 4_000 - 1_000


@pytest.mark.provokes("handshakes-failed")
def test_a_share_of_refused_handshakes_is_a_finding():
    """Every fourth is refused from the third on, so that the check before the load has passed."""
    refuses = lambda number: HTTPStatus.SERVICE_UNAVAILABLE if number > 2 and number % 4 == 0 else None  # noqa: E731
    with serving(closes_on(3, 1000), refuses=refuses) as echo:
        trial, output = run(echo.url, 2, protocol="websocket", clients=4, count=90)
    refused = sum(agent.handshakes.refused.get(503, 0) for agent in output.facts.agents)
    (found,) = [finding for finding in trial.findings if finding.code == "handshakes-failed"]
    assert 0 < refused <= echo.refused
    assert f"by status: 503: {refused}" in found.sentence


@pytest.mark.provokes("response-mismatch")
def test_a_server_that_never_answers_gets_no_load():
    """The trial says what to do."""
    with serving(refuses=lambda number: HTTPStatus.NOT_FOUND) as echo:
        trial, _ = run(echo.url, 1, protocol="websocket", clients=1, count=5)
    (found,) = [finding for finding in trial.findings if finding.code == "response-mismatch"]
    assert found.sentence == "The server cannot be loaded over WebSocket: it refused the handshake with status 404."
    assert "subprotocols" in found.hint
    assert echo.messages == []


def test_a_search_finds_the_capacity_of_a_server_that_answers_one_at_a_time():
    """10 ms a message: 100 a second, whatever the number of connections; a busy machine may cost some of it."""
    with serving(one_at_a_time(0.01)) as echo:
        load = {"protocol": "websocket", "clients": 4, "duration": "300ms"}
        times = {"window": "300ms", "soak": "500ms", "warm_up": "100ms", "tail": "100ms"}
        limits = {"precision": "40%", "budget": 6, "lowest": "60/s", "highest": "180/s"}
        found = search(echo.url, "p50 < 100ms", load=load, **times, **limits)
    rate = found.found.capacity_per_s
    assert rate is not None, found.told()
    assert rate.estimate < 115, found.told()
    assert rate.estimate > 75 or found.disturbed_below(100), found.told()
