"""From a campaign to what the agents send."""

from pathlib import Path

import pytest

from agents.generators.contract import Protocol
from orchestrator.run.targets import is_loopback, request_to, traffic_of
from orchestrator.spec.models import Load, Target


def load(**changes):
    return Load.model_validate({"clients": 1, "requests": 1} | changes)


CONTAINER = Target.model_validate({"image": "i", "port": 81, "path": "/a?b=c", "scheme": "https"})
URL = Target.model_validate({"url": "http://example.test:8080/x"})


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


@pytest.mark.parametrize(("method", "expected"), [("GET", "POST"), ("PUT", "PUT")])
def test_a_body_is_posted_unless_the_load_names_a_method(tmp_path, method, expected):
    """The body is that of the file beside the campaign."""
    (tmp_path / "body.json").write_bytes(b"{}")
    sent = traffic_of(URL, load(body_file="body.json", method=method), "", tmp_path)

    assert (sent.method, sent.body) == (expected, b"{}")


def test_the_request_that_is_checked_is_the_one_that_is_sent():
    """Protocol, method and headers included."""
    sent = traffic_of(URL, load(protocol="http2", headers={"X-A": "1"}, method="HEAD"), "", Path())
    request = request_to(sent.urls[0], sent)

    assert (sent.protocol, request.http2) == (Protocol.HTTP2, True)
    assert (request.url, request.method, request.headers, request.body) == (URL.url, "HEAD", [["X-A", "1"]], b"")


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.9.0.1", True), ("localhost", True), ("198.18.0.1", False), ("", False)],
)
def test_which_hosts_are_this_machine(host, here):
    """By name or address."""
    assert is_loopback(host) is here
