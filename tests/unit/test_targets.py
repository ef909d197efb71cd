"""From a campaign to what the agents send."""

from pathlib import Path

import pytest

from agents.generators.contract import Protocol
from agents.probe import Request
from orchestrator.run.targets import is_loopback, ready_request, request_to, traffic_of
from orchestrator.spec.loads import Load
from orchestrator.spec.target import Ready, Target


def load(**changes):
    return Load.model_validate({"clients": 1, "requests": 1} | changes)


CONTAINER = Target.model_validate({"image": "i", "port": 81, "path": "/a?b=c", "scheme": "https"})
URL = Target.model_validate({"url": "http://example.test:8080/x"})


def test_an_ipv6_address_stands_in_brackets():
    """As a URL needs it."""
    target = Target.model_validate({"image": "x", "port": 8080})

    assert traffic_of(target, load(), "fd00::1", Path()).urls == ["http://[fd00::1]:8080/"]


@pytest.mark.parametrize(
    ("target", "paths", "urls"),
    [
        (CONTAINER, None, ["https://198.18.0.1:81/a?b=c"]),
        (CONTAINER, ["/p", "/q?r=s"], ["https://198.18.0.1:81/p", "https://198.18.0.1:81/q?r=s"]),
        (URL, None, ["http://example.test:8080/x"]),
        (URL, ["/p"], ["http://example.test:8080/p"]),
    ],
)
def test_urls_of_a_container_and_of_a_url(target, paths, urls):
    """A container is asked at its host's address; paths replace that of the target."""
    assert traffic_of(target, load(paths=paths), "198.18.0.1", Path()).urls == urls


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"body_file": "body.json"}, b"{}"),
        ({"body": "a=1&b=\u00fc"}, b"a=1&b=\xc3\xbc"),
        ({"body": ""}, b""),
        ({"json": {"a": [1, None, "\u00fc"]}}, b'{"a":[1,null,"\xc3\xbc"]}'),
        ({"json": None}, b"null"),
    ],
)
@pytest.mark.parametrize(("method", "expected"), [({}, "POST"), ({"method": "GET"}, "GET"), ({"method": "PUT"}, "PUT")])
def test_a_body_is_posted_unless_the_load_names_a_method(tmp_path, body, sent, method, expected):
    """The body is that of the file beside the campaign, or the one in it."""
    (tmp_path / "body.json").write_bytes(b"{}")
    traffic = traffic_of(URL, load(**body, **method), "", tmp_path)

    (request,) = traffic.requests
    assert (request.method, request.body) == (expected, sent)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, [["Content-Type", "application/json"]]),
        ({"content-type": "application/x+json"}, [["content-type", "application/x+json"]]),
    ],
)
def test_a_json_document_names_its_type_unless_the_load_does(given, sent):
    """Whatever the letters' case of the header's name. Other bodies name no type."""
    assert traffic_of(URL, load(json={}, headers=given), "", Path()).requests[0].headers == sent
    assert traffic_of(URL, load(body="{}", headers=given), "", Path()).requests[0].headers == [
        list(x) for x in given.items()
    ]


def test_a_body_is_in_no_text_about_a_load():
    """It can be a secret."""
    one, other = load(body="s3cret"), load(json={"key": "s3cret"})

    assert "s3cret" not in f"{one!r} {other!r} {traffic_of(URL, one, '', Path())!r}"


def test_the_request_that_is_checked_is_the_one_that_is_sent():
    """Protocol, method and headers included."""
    sent = traffic_of(URL, load(protocol="http2", headers={"X-A": "1"}, method="HEAD"), "", Path())
    request = request_to(sent)

    assert (sent.protocol, request.http2) == (Protocol.HTTP2, True)
    assert (request.url, request.method, request.headers, request.body) == (URL.url, "HEAD", [["X-A", "1"]], b"")


@pytest.mark.parametrize("target", [CONTAINER, URL])
def test_a_server_is_waited_for_with_the_loads_own_request(target):
    """Method, headers and body: a service that only takes POST answers nothing else."""
    sent = traffic_of(target, load(json={}), "h", Path())
    request = request_to(sent)

    assert ready_request(target, request) == request


def test_a_path_for_readiness_is_a_get_without_a_body():
    """With the load's headers, such as a host or credentials, and without those about its body."""
    target = CONTAINER.model_copy(update={"ready": Ready(path="/up?x")})
    sent = traffic_of(target, load(json={}, headers={"Host": "shop", "Content-Encoding": "gzip"}), "h", Path())

    assert ready_request(target, request_to(sent)) == Request("https://h:81/up?x", headers=[["Host", "shop"]])


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.0.1", True), ("localhost", True), ("198.18.0.1", False), ("", False)],
)
def test_which_hosts_are_this_machine(host, here):
    """By name or address."""
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("target", "more", "checked"),
    [
        ({"url": "https://example.test/"}, {}, True),
        ({"url": "https://example.test/"}, {"verify": False}, False),
        ({"url": "https://localhost:1/"}, {}, False),
        ({"url": "https://[::1]/"}, {}, False),
        ({"url": "https://localhost:1/"}, {"verify": True}, True),
        ({"url": "http://example.test/"}, {}, False),
        ({"image": "x", "port": 1, "scheme": "https"}, {}, False),
    ],
)
def test_whose_certificate_is_checked(tmp_path, target, more, checked):
    """That of a URL elsewhere, unless the load says otherwise; the check before the load and the load do the same."""
    sent = traffic_of(Target.model_validate(target), load(**more), "10.0.0.1", tmp_path)

    assert (sent.verify, request_to(sent).verify) == (checked, checked)
