"""Loads over WebSocket before any connection: the model, the command line, the traffic, what agents get, the words."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agents.generators.choice import contract_task
from agents.generators.contract import (
    BadMessage,
    GeneratorSummary,
    Protocol,
    TaskRequest,
    format_summary,
    format_task,
    parse_summary,
    parse_task,
)
from agents.generators.handshakes import Handshakes
from agents.generators.request import BadRequest
from agents.generators.websocket_message import handshake, prepare_message
from agents.records import AgentFacts, GeneratorKind, from_plain, to_plain
from orchestrator.campaign.target import TargetSearch, wanted_of
from orchestrator.errors import ConfigurationError
from orchestrator.plan import assign, make_plan
from orchestrator.report import several, single, terminal
from orchestrator.report.conditions import counted_in
from orchestrator.report.connections import connections
from orchestrator.run.targets import ready_request, request_to, traffic_of, verifies
from orchestrator.search.records import Kind
from orchestrator.spec import inline
from orchestrator.spec.asked import RequestOptions
from orchestrator.spec.load import from_plain as campaign_of
from tests.unit import page_runs
from tests.unit.facts import agent_facts

pytestmark = pytest.mark.unit
URL = "ws://127.0.0.1:9/chat"


def campaign(target=None, **load):
    plain = {"clients": 2, "duration": "1s", "protocol": "websocket"} | load
    targets = {"t": target or {"url": URL}}
    return campaign_of({"campaign": "c", "targets": targets, "loads": {"l": plain}}).campaign


def traffic(target=None, **load):
    made = campaign(target, **load)
    return traffic_of(made.targets["t"], made.loads["l"], "10.0.0.1", Path("/nowhere"))


def refused(**load):
    with pytest.raises(ConfigurationError) as caught:
        campaign(**load)
    return " | ".join(f"{problem.what}: {problem.hint}" for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"method": "POST"}, "'method' belongs to HTTP requests: remove it, a handshake is a GET"),
        ({"body": "x"}, "'body' belongs to HTTP requests: write 'message'"),
        ({"body_file": "/dev/null"}, "'body_file' belongs to HTTP requests: write 'message_file'"),
        ({"paths": ["/a"]}, "'paths' belongs to HTTP requests"),
        ({"requests": ["/a"]}, "a list of requests belongs to HTTP"),
        ({"streams": 2}, "'streams' belongs to HTTP requests"),
        ({"generator": "paced"}, "the generator paced speaks HTTP only: omit 'generator'"),
        ({"generator": "h2load"}, "the generator h2load speaks HTTP only: omit 'generator'"),
        ({"message": "x", "json": 1}, "message, json are set together"),
        ({"binary": True}, "a binary message comes from a file: add message_file"),
        ({"headers": {"Sec-WebSocket-Key": "x"}}, "is part of the handshake, which Volley makes: remove it"),
        ({"headers": {"Sec-WebSocket-Protocol": "x"}}, "offers subprotocols: write 'subprotocols'"),
        ({"subprotocols": ["a b"]}, "'a b' is not the name of a subprotocol"),
        ({"protocol": "http1", "message": "x"}, "'message' belongs to WebSocket: add protocol: websocket"),
        ({"protocol": "http1", "generator": "websocket"}, "the generator websocket sends messages only"),
        ({"protocol": "http1"}, "is one of WebSocket, and this load sends HTTP requests: write protocol: websocket"),
        ({"message_file": "/nowhere/m"}, "there is no file '/nowhere/m'"),
        ({"message_file": sys.executable}, "is not UTF-8 text: add binary: true"),
    ],
)
def test_what_a_load_over_websocket_cannot_have(load, words):
    """Each is refused with what to write instead."""
    assert words in refused(**load)


@pytest.mark.parametrize(
    ("load", "message", "binary"),
    [({}, b"hello", False), ({"message": "\u00e9"}, b"\xc3\xa9", False), ({"json": {"a": [1]}}, b'{"a":[1]}', False),
     ({"message": ""}, b"", False), ({"message_file": __file__, "binary": True}, Path(__file__).read_bytes(), True)],
)  # fmt: skip
def test_the_message_of_a_load(load, message, binary):
    """Text, a document as text, or a file; a document adds no Content-Type to the handshake."""
    (sent,) = traffic(**load).requests
    assert (sent.body, sent.binary, sent.url, sent.headers) == (message, binary, URL, [])


def test_a_container_is_loaded_over_websocket_too():
    """The load decides what is spoken, the target whether over TLS; what shows that it is ready may be plain HTTP."""
    target = {"image": "i:1", "port": 80, "path": "/ws", "scheme": "https", "ready": {"path": "/up"}}
    made = campaign(target, subprotocols=["v1", "v2"], headers={"X": "y"})
    sent = traffic_of(made.targets["t"], made.loads["l"], "10.0.0.1", Path())
    asked = request_to(sent)
    assert (asked.url, asked.websocket, asked.asked) == ("wss://10.0.0.1:80/ws", True, "WebSocket /ws")
    assert asked.headers == [["X", "y"], ["Sec-WebSocket-Protocol", "v1, v2"]]
    ready = ready_request(made.targets["t"], asked)
    assert (ready.url, ready.websocket) == ("https://10.0.0.1:80/up", False)


@pytest.mark.parametrize(("url", "checked"), [("wss://example.org/", True), ("wss://127.0.0.1/", False), (URL, False)])
def test_certificates_of_other_machines_are_checked(url, checked):
    """As those of https are."""
    made = campaign({"url": url})
    assert verifies(made.targets["t"], made.loads["l"]) is checked


def test_agents_get_the_generator_and_its_task():
    """By the contract: the protocol, the message and the headers, after one trip as JSON."""
    made = campaign(message="hi", timeout="2s", model="open", rate="100/s")
    plan = make_plan(made)
    sent = traffic_of(made.targets["t"], made.loads["l"], "", Path())
    (share, _) = assign(plan.cases[0], sent, 0, "r", 1, {"h": [None, None]})["h"]
    task = parse_task(format_task(contract_task(share, Path("log"))))
    assert (share.generator, share.websocket, plan.cases[0].protocol) == (
        GeneratorKind.WEBSOCKET,
        True,
        Protocol.WEBSOCKET,
    )
    assert (task.protocol, task.requests[0].body, task.requests[0].url) == (Protocol.WEBSOCKET, b"hi", URL)
    assert task.timeout_us == task.requests[0].timeout_us == 2_000_000


def test_probes_of_a_search_send_the_message():
    """Closed or open, a probe has the protocol and the message of its load."""
    plain = {"campaign": "c", "targets": {"t": {"url": URL}}, "saturation": {"slo": "p99 < 50ms"},
             "loads": {"l": {"clients": 2, "duration": "1s", "protocol": "websocket", "message": "m"}}}  # fmt: skip
    made = campaign_of(plain).campaign
    search = TargetSearch("t", made, made.saturation, wanted_of(made), 1)
    ask = search.next()
    assert ask is not None
    for kind in (Kind.ESTIMATE, Kind.PROBE):
        load = search.load(kind, 100.0)
        assert (load.protocol, load.message) == ("websocket", "m")
        assert search.case(kind, 100.0).generator is GeneratorKind.WEBSOCKET


def test_the_url_decides_on_a_command_line():
    """With ws:// the data is a message; options of HTTP are refused with what to do."""
    loaded = inline.bench(inline.Bench(URL, 3, 1, request=RequestOptions(data="m", timeout="1s")))
    load = loaded.campaign.loads["load"]
    assert (load.protocol, load.message, load.timeout) == ("websocket", "m", 1_000_000)
    assert inline.saturate(URL, inline.Search(slo="p99<9ms")).campaign.loads["load"].protocol == "websocket"
    assert len(inline.sweep(URL, "1,2", "1s", 1).campaign.loads) == 2
    assert '"m"' not in inline.source(loaded)
    with pytest.raises(ConfigurationError) as caught:
        inline.bench(inline.Bench(URL, 3, 1, request=RequestOptions(method="PUT", http2=True, generator="paced")))
    assert {problem.where for problem in caught.value.problems} == {"-X", "--http2", "--generator"}
    with pytest.raises(ConfigurationError) as caught:
        inline.bench(inline.Bench("http://h/", 3, 1, request=RequestOptions(generator="websocket")))
    assert "write the URL with ws:// or wss://" in str(caught.value.problems[0].hint)


def _prepare(requests):
    handshake(tuple(requests))
    return [prepare_message(request) for request in requests]


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([TaskRequest("http://h/")], "is not a ws or wss URL"),
        ([TaskRequest(URL), TaskRequest(URL + "2")], "all of them are sent over the same connections"),
        ([TaskRequest(URL, headers=(("Upgrade", "x"),))], "'Upgrade' is set by this generator"),
        ([TaskRequest(URL, headers=(("X", "a\r\nb"),))], "contains a line break"),
        ([TaskRequest(URL, method="POST")], "a handshake is a GET"),
        ([TaskRequest(URL, body=b"\xff")], "not UTF-8 text: send it as binary"),
    ],
)
def test_what_the_generator_refuses(requests, words):
    """A task that cannot be sent ends before it is ready, with a sentence that shows no value."""
    with pytest.raises(BadRequest, match=words):
        _prepare(requests)


COUNTED = Handshakes({900: 2, 1200: 37, 20_000: 1}, {403: 3, 0: 2}, {1011: 5, 0: 1}, 4)


def test_the_summary_keeps_what_happened_on_connections():
    """Whole, as JSON, and in the facts of an agent as they are stored."""
    summary = GeneratorSummary(planned=None, sent=1, done=1, failed={}, handshakes=COUNTED)
    assert parse_summary(format_summary(summary)).handshakes == COUNTED
    facts = agent_facts(handshakes=COUNTED)
    assert from_plain(AgentFacts, json.loads(json.dumps(to_plain(facts)))).handshakes == COUNTED


@pytest.mark.parametrize("broken", [3, {"refused": {"x": 1}}, {"closed": {"1": -1}}, {"unasked": "1"}])
def test_a_summary_that_is_wrong_about_connections(broken):
    """It is refused, as any other part would be."""
    with pytest.raises(BadMessage, match="handshakes"):
        parse_summary(json.dumps({"planned": None, "sent": 0, "done": 0, "failed": {}, "handshakes": broken}))


def test_percentiles_of_connecting_are_those_of_all_agents():
    """Counters are added, and the nearest rank is taken once."""
    both = COUNTED + Handshakes({900: 60})
    assert (both.opened, both.connect_quantile_us(0.5), both.connect_quantile_us(0.99)) == (100, 900, 1200)
    assert both.connect_quantile_us(1.0) == 20_000
    assert (both.refused, both.closed, both.unasked) == (COUNTED.refused, COUNTED.closed, 4)


def test_connections_in_words():
    """What was opened, how long that took, what failed and what the server closed."""
    assert connections(COUNTED) == [
        "40 in 1.2 ms (median; p99 20 ms)",
        "5 handshakes failed (403: 3, no response: 2)",
        "the server closed 6 instead of answering (code 1011: 5, no close frame: 1)",
    ]
    assert connections(Handshakes({}, {0: 1})) == ["none", "1 handshake failed (no response: 1)"]
    assert connections(None) == connections(Handshakes()) == []


def test_a_page_of_messages_has_their_unit_and_their_connections():
    """Throughput is in messages; the line of connections has a blank between its label and its text."""
    summary, trials = page_runs.settled()
    cases = [
        replace(case, handshakes=COUNTED, planned=replace(case.planned, protocol=Protocol.WEBSOCKET))
        for case in summary.cases
    ]
    page = "\n".join(str(piece) for piece in terminal.render(replace(summary, cases=cases), 80, trials))

    assert "msg/s" in page
    assert "req/s" not in page
    assert "  connected flask: 40 in 1.2 ms" in page
    assert counted_in(cases[0], summary.cases[0]).per_s == "answers/s"
    assert counted_in(replace(cases[0], planned=None)).per_s == "req/s"


@pytest.mark.parametrize("run", ["one-closed", "settled"])
def test_pages_count_messages(run):
    """Once only the first sentence did."""
    summary, _ = page_runs.RUNS[run]()
    cases = [replace(case, planned=replace(case.planned, protocol="websocket")) for case in summary.cases]
    summary = replace(summary, cases=cases)
    lines = several.render(summary, 80) if cases[1:] else single.render(cases[0], 80)
    shown = "\n".join(str(line) for line in lines)

    assert "  messages  " in shown
    assert "  requests  " not in shown
    assert cases[1:] or " msg/s" in shown


@pytest.mark.parametrize("load", [{"message": "for ${row.id}"}, {"json": {"to": "${row.id}"}}, {"message_file": "m"}])
def test_a_message_is_filled_from_data(load, tmp_path):
    """Each way to write one; a column that the file lacks is reported before the run."""
    (tmp_path / "rows.csv").write_text("id\n7\n8\n")
    (tmp_path / "m").write_text("for ${row.id}")

    def made(**changes):
        plain = {"clients": 2, "duration": "1s", "protocol": "websocket", "data": {"file": "rows.csv"}}
        loads = {"l": plain | load | changes}
        return campaign_of({"campaign": "c", "targets": {"t": {"url": URL}}, "loads": loads}, tmp_path).campaign

    campaign_ = made()
    (request,) = traffic_of(campaign_.targets["t"], campaign_.loads["l"], "10.0.0.1", tmp_path).requests
    assert b"${row." in request.body
    (tmp_path / "rows.csv").write_text("other\n7\n")
    with pytest.raises(ConfigurationError, match="no column"):
        made()
