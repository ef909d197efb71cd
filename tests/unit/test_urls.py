"""URLs and paths: read as people write them, sent as a browser sends them."""

import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.spec.load import from_plain
from orchestrator.spec.reach import notes
from orchestrator.spec.urls import checked_path, checked_url, sent_path, sent_url

pytestmark = pytest.mark.unit
SENDABLE = st.text(st.characters(exclude_characters="".join(map(chr, [*range(32), 127])), exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("http://h/a b", "http://h/a%20b"),
        ("http://h/münchen", "http://h/m%C3%BCnchen"),
        ("http://h/m%C3%BCnchen", "http://h/m%C3%BCnchen"),
        ("http://münchen.example:81/", "http://xn--mnchen-3ya.example:81/"),
        ('http://h/{id}?q={"a":1}', "http://h/%7Bid%7D?q=%7B%22a%22:1%7D"),
        ("http://h/?e=[1]|2", "http://h/?e=[1]%7C2"),
        ("http://h/Items?$filter=Price eq 'a'&$$x", "http://h/Items?$filter=Price%20eq%20'a'&$$x"),
        ("http://h/?p=100%&q=%zz", "http://h/?p=100%25&q=%25zz"),
        ("http://h/a/./b/../c/..", "http://h/a/"),
        ("http://h//a//b", "http://h//a//b"),
        ("http://h/ok#frag", "http://h/ok"),
        ("http://h?x=1", "http://h/?x=1"),
        ("http://h#frag", "http://h/"),
        ("HTTP://H:8080/Ok", "http://h:8080/Ok"),
        ("http://h:/x", "http://h/x"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
        (" http://h ", "http://h/"),
    ],
)
def test_a_url_is_sent_as_a_browser_sends_it(written, sent):
    """Blanks, umlauts and brackets encoded, escapes kept, the fragment left behind."""
    assert sent_url(checked_url(written)) == sent


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("http://h:99999/", "port 99999 is out of range: use 1 to 65535"),
        ("http://h:0/", "port 0 is out of range"),
        ("http://h:abc/", "'abc' is not a port: write a number from 1 to 65535"),
        ("http:///x", "names no host"),
        ("http://::1:80/", "write an IPv6 address in brackets"),
        ("http://[::1/", "write an IPv6 address in brackets"),
        ("http://[fe80::1%eth0]/", "has a zone"),
        ("http://a b/", "'a b' is not a host name or an IP address"),
        ("http://h/\n", "line break or control character"),
        ("ftp://h/", "is not a URL: write http://HOST"),
        ("unix:/run/app.sock", "--unix-socket FILE"),
    ],
)
def test_a_url_that_cannot_be_requested_is_refused(written, words):
    """In one sentence that says what to write."""
    with pytest.raises(ValueError, match=re.escape(words)):
        checked_url(written)


@pytest.mark.parametrize("url", ["http://u:s3cret@h/", "http://u:s3cret@h:99999/", "ftp://u:s3cret@h/"])
def test_a_password_in_a_url_is_refused_and_not_shown(url):
    """Whatever else is wrong with the URL."""
    with pytest.raises(ValueError, match="must not carry a password") as error:
        checked_url(url)

    assert "s3cret" not in str(error.value)


@given(SENDABLE, SENDABLE)
def test_the_probe_sends_the_same_bytes_as_the_load(path, query):
    """The probe's library encodes by itself: it finds nothing left to encode. Encoding twice changes nothing."""
    sent = sent_path(checked_path("/" + path + "?" + query))

    assert httpx.URL("http://h" + sent).raw_path == sent.encode()
    assert sent_path(sent) == sent


def test_a_fragment_is_noted():
    """It is dropped with a word, wherever it stands."""
    plain = {
        "campaign": "c",
        "targets": {"a": {"url": "http://h/ok#top"}, "b": {"image": "i", "port": 1, "ready": {"path": "/r#x"}}},
        "loads": {"l": {"clients": 1, "requests": 1, "paths": ["/p#q"]},
                  "m": {"clients": 1, "count": 1, "requests": ["/", "/r#s", {"path": "/t#u"}]}},
        "agents": 1,
    }  # fmt: skip
    from_plain(plain)

    assert [note.split(" is not sent")[0] for note in notes(plain)] == [
        "targets.a.url: '#top'", "targets.b.ready.path: '#x'", "loads.l.paths[0]: '#q'",
        "loads.m.requests[1]: '#s'", "loads.m.requests[2]: '#u'",
    ]  # fmt: skip
