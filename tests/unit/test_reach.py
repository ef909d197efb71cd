"""What cannot reach a server is refused before the run: headers, files of TLS, sockets."""

import shutil
from pathlib import Path

import pytest

from agents.generators.choice import contract_task
from agents.tls import Tls
from orchestrator.errors import ConfigurationError
from orchestrator.plan import assign, make_plan
from orchestrator.run.targets import request_to, traffic_of, verifies
from orchestrator.spec.load import from_plain

pytestmark = pytest.mark.unit
TLS = Path(__file__).parents[1] / "fakes" / "tls"
URL = "https://127.0.0.1:1/"
LOAD = {"clients": 1, "requests": 1}


def mix(*requests, **load):
    """Return a load of a list of requests."""
    return {"requests": list(requests), "count": 1} | load


def campaign(load, target=None):
    return {"campaign": "c", "agents": 1, "targets": {"t": {"url": URL} | (target or {})}, "loads": {"l": LOAD | load}}


def problems(load, target=None, folder=TLS):
    with pytest.raises(ConfigurationError) as refused:
        from_plain(campaign(load, target), folder)
    return [(problem.where.partition(": ")[2], problem.what, problem.hint) for problem in refused.value.problems]


def case_of(load, target=None):
    loaded = from_plain(campaign(load, target), TLS)
    return make_plan(loaded.campaign).cases[0], loaded


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"headers": {"Connection": "s3cret"}, "protocol": "http2"}, "HTTP/2 forbids the header 'Connection'"),
        ({"headers": {"keep-alive": "s3cret"}, "protocol": "http2"}, "HTTP/2 forbids the header 'keep-alive'"),
        ({"headers": {"Upgrade": "s3cret"}, "protocol": "http2"}, "HTTP/2 forbids the header 'Upgrade'"),
        ({"headers": {"TE": "s3cret"}, "protocol": "http2"}, "with the value 'trailers' only"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "announces chunks"),
        ({"headers": {"Content-Length": "9"}, "body": "äb"}, "does not fit the body of 3 bytes"),
        ({"headers": {"content-length": "s3cret"}}, "does not fit the body of 0 bytes"),
        ({"headers": {"Content-Length": "9"}, "body_file": "ca.pem"}, "does not fit the body of"),
        ({"requests": [{"path": "/", "body_file": "ca.pem", "headers": {"Content-Length": "9"}}], "count": 1},
         "does not fit the body of"),
        ({"headers": {"Content-Length": "9"}, "requests": [{"path": "/", "body_file": "ca.pem"}], "count": 1},
         "does not fit the body of"),
        ({"headers": {"Host": "a", "host": "b"}}, "'host' is the same header as 'Host'"),
        ({"headers": {"Host": "http://s3cret"}}, "the value of header 'Host' is not a host"),
        ({"headers": {"X": "s3cret\n"}}, "holds a line break or control character"),
        ({"headers": {"X": "s3cret\ud800"}}, "is not Unicode text"),
        ({"headers": {"X": ""}, "generator": "h2load"}, "cannot send the header 'X' without a value"),
        ({"method": "HEAD", "generator": "h2load"}, "waits for the body that the answer to HEAD does not have"),
        ({"tls": {"cert": "client.pem", "key": "client-key.pem"}, "protocol": "http2"}, "has no client certificates"),
        ({"tls": {"server_name": "n"}, "generator": "h2load"}, "sends no other name than the URL's"),
        ({"tls": {"verify": True}, "protocol": "http2"}, "does not check certificates"),
        ({"tls": {"verify": True}, "verify": True}, "are set together"),
        ({"tls": {"verify": False, "ca": "ca.pem"}}, "'ca' has no effect without a check"),
        ({"tls": {"key": "client-key.pem"}}, "'key' is set without 'cert'"),
        (mix({"path": "/", "method": "PUT", "body": "x", "headers": {"content-length": "9"}}),
         "of 'PUT /' does not fit the body of 1 bytes"),
        (mix({"path": "/", "body_file": "ca.pem", "headers": {"Content-Length": "9"}}), "does not fit the body of"),
        (mix({"path": "/", "headers": {"Host": "http://s3cret"}}), "of 'GET /' is not a host"),
        (mix({"path": "/", "method": "HEAD"}, generator="h2load"), "waits for the body that the answer to HEAD"),
        (mix({"path": "/", "headers": {"X": ""}}, generator="h2load"), "cannot send the header 'X' without a value"),
        ({"tls": {"ca": "none.pem"}}, "there is no file 'none.pem'"),
        ({"tls": {"ca": "client-key.pem"}}, "'client-key.pem' holds no certificate"),
        ({"tls": {"cert": "client-key.pem"}}, "'client-key.pem' holds no certificate"),
        ({"tls": {"cert": "client.pem"}}, "'client.pem' holds no private key"),
        ({"tls": {"cert": "client.pem", "key": "server-key.pem"}}, "the private key is not the one of the certificate"),
        ({"tls": {"cert": "client.pem", "key": "encrypted-key.pem"}}, "needs a passphrase"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_request_that_cannot_be_sent_is_refused(load, words):
    """With the right words and a fix, and without the value of a header."""
    ((where, what, hint),) = problems(load)

    assert where.startswith("loads.l")
    assert words in f"{what}: {hint}"
    assert hint
    assert "s3cret" not in f"{what}{hint}"


@pytest.mark.parametrize(
    "load",
    [
        {"headers": {"Content-Length": "3"}, "body": "äb"},
        {"headers": {"TE": "trailers"}, "protocol": "http2"},
        {"headers": {"Connection": "close"}},
        {"headers": {"X": "ü"}},
        {"method": "HEAD", "protocol": "http2"},
        mix({"path": "/", "body": "abc"}, headers={"Content-Length": "3"}),
    ],
)
def test_what_can_be_sent_is_accepted(load):
    """HEAD over HTTP/2 is h2load's: its answers end there without a body."""
    from_plain(campaign(load), TLS)


def test_blanks_around_a_header_are_no_part_of_it():
    """As HTTP has it."""
    _, loaded = case_of({"headers": {"X": "  a b\t"}})

    assert loaded.campaign.loads["l"].headers == {"X": "a b"}


@pytest.mark.parametrize(
    ("load", "target"),
    [
        ({"method": "HEAD"}, None),
        ({"headers": {"X": ""}}, None),
        (mix({"path": "/", "method": "HEAD"}), None),
        ({"tls": {"cert": "client.pem", "key": "client-key.pem"}}, None),
        ({"tls": {"server_name": "shop.example"}}, None),
        ({}, {"socket": "/run/app.sock"}),
    ],
)
def test_paced_sends_what_h2load_cannot(load, target):
    """By itself, where no generator is chosen."""
    case, _ = case_of(load, target)

    assert (case.generator, case.unix_socket) == ("paced", target is not None)


@pytest.mark.parametrize(
    ("target", "load", "words"),
    [
        ({"socket": "/run/a"}, {"generator": "h2load"}, "which only the generator paced connects to"),
        ({"socket": "/run/a"}, {"generator": {"command": ["mine"]}}, "which only the generator paced connects to"),
        ({"socket": "/run/a"}, {"protocol": "http2"}, "which only the generator paced connects to"),
        ({"socket": "app.sock"}, {}, "is not an absolute path"),
        ({"socket": "/" + "a" * 107}, {}, "at most 107 bytes"),
        ({"url": "http://h/"}, {"tls": {"server_name": "n"}}, "no target of this load speaks TLS"),
    ],
)
def test_a_target_that_a_load_cannot_reach_is_refused(target, load, words):
    """What the two exclude together, and what cannot be a socket."""
    ((_, what, hint),) = problems(load, target)

    assert words in f"{what}: {hint}"


def test_files_of_tls_travel_as_text_and_are_in_no_repr():
    """They are read where the campaign is, and authorities of the load's own are checked even on this machine."""
    _, loaded = case_of({"tls": {"ca": "ca.pem", "cert": "client.pem", "key": "client-key.pem", "server_name": "n"}})
    target, load = loaded.campaign.targets["t"], loaded.campaign.loads["l"]
    traffic = traffic_of(target, load, "", TLS)

    assert traffic.tls == Tls(*((TLS / name).read_text() for name in ("ca.pem", "client.pem", "client-key.pem")), "n")  # type: ignore[call-arg]
    assert "BEGIN" not in repr(traffic)
    assert verifies(target, load)


def test_every_way_to_a_server_holds_for_each_request_of_a_mix(tmp_path):
    """Paths are encoded and placeholders are not; names stay as they were written."""
    (tmp_path / "rows.csv").write_text("id\na/b\n")
    load = mix("/a b/${row.id}?ü=${row.id}#x", "/c", data={"file": "rows.csv"})
    loaded = from_plain(campaign(load, {"url": "HTTP://ä.example", "socket": "/run/a"}), tmp_path)
    traffic = traffic_of(loaded.campaign.targets["t"], loaded.campaign.loads["l"], "", tmp_path)

    sent = [request_to(traffic, index) for index in (0, 1)]
    host = "http://xn--4ca.example"
    assert traffic.urls == [f"{host}/a%20b/${{row.url:id}}?%C3%BC=${{row.url:id}}", f"{host}/c"]
    assert [each.url for each in sent] == [f"{host}/a%20b/a%2Fb?%C3%BC=a%2Fb", f"{host}/c"]
    assert [each.socket for each in sent] == ["/run/a", "/run/a"]
    assert traffic.requests[0].name == "GET /a b/${row.id}?ü=${row.id}#x"
    (assigned,) = assign(make_plan(loaded.campaign).cases[0], traffic, 1, "r", 1, {"h": [None]})["h"]
    task = contract_task(assigned, tmp_path)
    assert (task.socket, task.requests[0].url) == ("/run/a", traffic.urls[0])


def test_a_placeholder_without_data_is_text():
    """And is encoded as any other."""
    _, loaded = case_of({"paths": ["/${row.id}"]})
    traffic = traffic_of(loaded.campaign.targets["t"], loaded.campaign.loads["l"], "", TLS)

    assert traffic.urls == ["https://127.0.0.1:1/$%7Brow.id%7D"]


def test_an_unreadable_file_is_named(tmp_path):
    """A folder, for instance."""
    (tmp_path / "ca.pem").mkdir()
    shutil.copy(TLS / "client.pem", tmp_path)

    ((where, what, _),) = problems({"tls": {"ca": "ca.pem"}}, folder=tmp_path)
    assert (where, what) == ("loads.l.tls.ca", "'ca.pem' cannot be read: Is a directory")
