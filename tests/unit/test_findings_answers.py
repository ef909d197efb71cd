"""Findings about what a server answers: redirects, rate limits, streams, and answers slower than the load is long."""

from dataclasses import replace

import pytest

from agents.answers import NO_WEBSOCKET
from agents.mix import MOST_REQUESTS
from agents.probe import SPEAKS
from agents.tls import OTHER_NAME, UNTRUSTED
from orchestrator.analyse.cases import judge
from orchestrator.facts import PlannedRequest
from tests.unit import page_runs
from tests.unit.facts import agent_facts, case, result, server_facts, trial_facts
from tests.unit.judged_trials import STEADY, codes, steady_agents, trial

pytestmark = pytest.mark.table


def found(judged, code):
    return next(f for f in judged.findings if f.code == code)


def answers(*statuses):
    """Two agents whose 500 requests each had these statuses, in equal parts."""
    counts = {status: 500 // len(statuses) for status in statuses}
    return [agent_facts(agent=f"local/{n}", statuses=counts) for n in range(2)]


@pytest.mark.provokes("redirected")
def test_a_load_that_is_redirected_is_suspect_and_says_where_to():
    """Once it was VALID: 302 is below 400, and fast."""
    judged = trial(agents=answers(302), server=server_facts(status=302, location="/login"))

    assert judged.verdict == "SUSPECT"
    assert found(judged, "redirected").sentence == (
        "The server redirected 1,000 requests (100 %) with status 302 to /login."
    )


@pytest.mark.provokes("redirected")
def test_a_part_of_the_answers_that_is_redirected_is_counted():
    """The location is not known: the request before the load was answered otherwise."""
    judged = trial(agents=answers(200, 301), server=server_facts(status=200))

    sentence = found(judged, "redirected").sentence
    assert sentence == "The server redirected 500 requests (50 %) with status 301."


@pytest.mark.silent("redirected")
@pytest.mark.parametrize(("status", "allowed"), [(302, [200, 302]), (304, []), (200, [])])
def test_a_redirect_that_is_expected_and_a_304_are_not_redirected(status, allowed):
    """304 sends nobody anywhere."""
    assert "redirected" not in codes(trial(agents=answers(status), server=server_facts(allowed=allowed)))


@pytest.mark.provokes("redirected")
@pytest.mark.parametrize(
    ("answered", "requests"),
    [
        ({0: 301, 1: 404}, "1,797 requests (59.9 %) with status 301, all of them GET /items."),
        ({0: 301, 1: 404, 2: 307}, "2,549 requests (85 %) with status 301, most of them GET /items."),
    ],
)
def test_redirects_of_a_mix_name_the_request(answered, requests):
    """Each request has statuses of its own that are expected."""
    sentence = found(page_runs.mixed(answered=answered), "redirected").sentence
    assert sentence == f"The server redirected {requests}"
    known = page_runs.mixed(answered=answered, locations={"GET /items": "/login"})
    assert found(known, "redirected").sentence == f"The server redirected {requests[:-1]}, to /login."


@pytest.mark.silent("redirected")
@pytest.mark.parametrize("number", [3, MOST_REQUESTS + 50])
def test_a_redirect_that_its_own_request_expects_is_not_redirected(number):
    """Once the statuses of the first request decided for all."""
    first = PlannedRequest("GET /items", "GET", "/items", 6.0, [])
    moved = [PlannedRequest(f"GET /{i}", "GET", f"/{i}", 1.0, [302]) for i in range(1, number)]
    assert "redirected" not in codes(page_runs.mixed(mix=[first, *moved], answered={1: 302}))


@pytest.mark.provokes("server-not-ready")
@pytest.mark.parametrize(
    ("detail", "fix"),
    [
        (f"{SPEAKS} HTTP/1.1, and the load is HTTP/2", "Set the load's 'protocol'"),
        (f"{OTHER_NAME} 'shop'", "Write the name of the certificate in the URL"),
        (f"{UNTRUSTED}: self-signed certificate", "Name the certificate's authority as 'tls.ca'"),
        ("Connection refused", "Check that the server is up"),
    ],
)
def test_a_url_that_cannot_be_measured_has_the_fix_for_its_cause(detail, fix):
    """Also where other targets are measured, so that the run goes ahead."""
    server = server_facts(state="not-ready", detail=detail)
    judged = trial(case=case(external=True), server=server, error="x", agents=[], t0_ns=None)
    assert found(judged, "server-not-ready").hint.startswith(fix)


@pytest.mark.provokes("response-mismatch")
@pytest.mark.parametrize(
    ("detail", "words"),
    [
        (
            f"{NO_WEBSOCKET} 200: there is no WebSocket here",
            "The server cannot be loaded over WebSocket: it answers the",
        ),
        ("body 'b' where 'a' was expected", "The server's response is not the expected one: body 'b'"),
    ],
)
def test_a_page_where_a_websocket_was_expected_is_not_a_wrong_answer(detail, words):
    """Both have status 200."""
    server = server_facts(state="mismatch", status=200, detail=detail, asked="WebSocket /ws")
    judged = trial(case=case(protocol="websocket"), server=server, error="x", agents=[], t0_ns=None)
    assert words in found(judged, "response-mismatch").sentence


@pytest.mark.provokes("errors")
@pytest.mark.parametrize(("refused", "words"), [(429, "A rate limiter refused"), (503, "did not succeed")])
def test_a_rate_limiter_is_named(refused, words):
    """The times are those of the successful answers."""
    judged = trial(agents=answers(200, refused), http_errors=250)

    assert words in found(judged, "errors").sentence
    assert "successful" in found(judged, "errors").sentence or refused != 429


@pytest.mark.provokes("response-mismatch")
@pytest.mark.parametrize(("under_load", "changed"), [(429, False), (200, True)])
def test_a_limiter_that_still_refuses_after_the_load_has_not_changed(under_load, changed):
    """It also refused under load; a server that only does so afterwards answers differently from before."""
    after = server_facts(afterwards="mismatch", afterwards_status=429, afterwards_detail="status 429")

    assert ("response-mismatch" in codes(trial(agents=answers(200, under_load), server=after))) == changed


@pytest.mark.provokes("no-success")
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"endless": True}, "the server's answers do not end"),
        ({"answer_us": 9_000_000}, "The answer before it took 9 s"),
        ({"answer_us": 1_000}, "No request succeeded"),
    ],
)
def test_why_no_request_succeeded_is_said(facts, words):
    """A stream, a load that is shorter than an answer, or something else."""
    agents = [agent_facts(planned=None, rows=0, done=0, started=20, statuses={}) for _ in steady_agents()]
    judged = judge(
        trial_facts(**STEADY, agents=agents, server=server_facts(**facts)), [result(agent, []) for agent in agents]
    )

    assert words in found(judged, "no-success").sentence


@pytest.mark.provokes("server-exited")
def test_the_last_line_of_a_container_that_exited_is_said():
    """Without opening its log."""
    judged = trial(server=server_facts(running=False, exit_code=3, last_line="FATAL: no such table"))

    assert found(judged, "server-exited").sentence.endswith("code 3. Its last line was 'FATAL: no such table'.")


@pytest.mark.silent("hung-slots")
@pytest.mark.parametrize("facts", [{"endless": True}, {"answer_us": 9_000_000}])
def test_slots_do_not_hang_where_no_answer_can_have_come(facts):
    """A stream and a short load leave every slot without an answer: neither is the server's fault."""
    agents = [agent_facts(planned=None, rows=0, done=0, hung=20, statuses={}) for _ in steady_agents()]
    judged = judge(
        trial_facts(**STEADY, agents=agents, server=server_facts(**facts)), [result(agent, []) for agent in agents]
    )

    assert "hung-slots" not in codes(judged)
    assert "no-success" in codes(judged)


@pytest.mark.provokes("agent-lost")
@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"endless": True}, "the server's answers do not end"),
        ({"answer_us": 6_000_000}, "At 6 s an answer, 1,000 requests over 40 clients take about 150 s"),
        ({"answer_us": 1_000}, "did not end in time and was stopped."),
    ],
)
def test_why_a_load_bound_by_requests_did_not_end_in_time(facts, words):
    """The answer before the load tells how long it takes."""
    agents = [agent_facts(ended="watchdog"), agent_facts(agent="local/1")]

    assert words in found(trial(agents=agents, server=server_facts(**facts)), "agent-lost").sentence


@pytest.mark.provokes("censored-tail")
def test_a_tail_that_is_shorter_than_an_answer_is_said_with_its_time():
    """The fix has the number that the tail must exceed."""
    agents = [replace(agent, crossing=0) for agent in steady_agents()]
    judged = trial(**STEADY, agents=agents, server=server_facts(answer_us=3_000_000))

    assert found(judged, "censored-tail").hint.endswith("the one before the load took 3 s.")


@pytest.mark.provokes("errors")
def test_requests_that_h2load_never_sent_are_not_the_servers_errors():
    """It ended 4 connections of each agent with a request under way; h2load failed all that was left."""
    agents = [agent_facts(agent=f"local/{n}", total=500, started=24, done=20, rows=20, errored=480) for n in range(2)]
    judged = judge(trial_facts(agents=agents), [result(agent, [1_000] * 20) for agent in agents])

    assert found(judged, "errors").sentence == (
        "The server ended 8 connections with a request under way. h2load does not open those again, so it never sent "
        "952 of 1,000 requests."
    )


@pytest.mark.provokes("hung-slots")
@pytest.mark.parametrize(("sockets", "words"), [(0, "The server ended connections"), (20, "got no more answers")])
def test_a_server_that_ends_connections_is_not_one_that_hangs(sockets, words):
    """A server that hangs leaves the sockets of h2load open."""
    judged = trial(**STEADY, agents=steady_agents(hung=20, sockets_fewest=sockets))

    assert words in found(judged, "hung-slots").sentence
