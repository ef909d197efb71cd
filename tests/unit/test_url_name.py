"""Targets named by their URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from orchestrator.spec.text import LONGEST_NAME, Name
from orchestrator.url_name import LONGEST, url_name

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://127.0.0.1:8000/", "127.0.0.1-8000"),
        ("http://127.0.0.1:8000", "127.0.0.1-8000"),
        ("http://127.0.0.1:8000/search", "127.0.0.1-8000_search"),
        ("http://api.example.test/v1/items", "api.example.test_v1_items"),
        ("http://API.example.test:80/", "api.example.test"),
        ("https://example.test/", "https-example.test"),
        ("https://example.test:8443/x", "https-example.test-8443_x"),
    ],
)
def test_what_can_be_read_from_a_name_is_all_of_it(url, name):
    assert url_name(url) == name


# Pairs that would share a name if only letters were replaced.
ALIKE = [
    ("http://h/a/b", "http://h/a_b"),
    ("http://h/a", "http://h/a/"),
    ("http://h:80/", "http://h-80/"),
    ("http://h-80/", "http://h/"),
    ("http://h/a", "http://h/a?"),
    ("http://h/a?q=1", "http://h/a?q=2"),
    ("http://h/a", "https://h/a"),
    ("https://h/", "http://https-h/"),
    ("http://h/%20", "http://h/-20"),
    ("http://[::1]:8000/", "http://1-8000/"),
    ("http://h/" + "x" * 200, "http://h/" + "x" * 201),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_two_urls_have_two_names(one, other):
    names = {url_name(one), url_name(other)}

    assert len(names) == (1 if other == "http://h/a?" else 2)


def test_a_name_that_looks_like_one_with_a_digest_is_never_that_name():
    hashed = url_name("http://h/a?q=1")

    assert url_name(f"http://h/{hashed.partition('_')[2]}") != hashed


def test_paths_of_a_load_are_part_of_the_name():
    base = "http://127.0.0.1:8000/"
    names = {url_name(base), url_name(base, ["/a"]), url_name(base, ["/a", "/b"]), url_name(base, ["/b", "/a"])}

    assert len(names) == 4
    assert url_name(base, ["/search"]) == "127.0.0.1-8000_search"


def test_a_name_holds_no_secret():
    """Neither a password, which is refused later, nor a query."""
    for url in ("http://user:hunter2@h/", "http://h/a?token=hunter2", "http://h/?hunter2"):
        assert "hunter2" not in url_name(url)


@given(st.text(max_size=120), st.lists(st.text(max_size=40), max_size=3))
def test_every_text_has_a_valid_name(text, paths):
    """Also one that the campaign's checks refuse as a URL."""
    for url in (text, f"http://{text}", f"http://h/{text}"):
        name = url_name(url, paths)
        assert TypeAdapter(Name).validate_python(name) == name
        assert len(name) <= LONGEST < LONGEST_NAME


_PIECE = st.text("ab80-_./%?", max_size=9)


@given(_PIECE, _PIECE)
def test_different_paths_have_different_names(one, other):
    if one.rstrip("?") != other.rstrip("?") and "?" not in (one[-1:], other[-1:]):
        assert url_name(f"http://h/{one}") != url_name(f"http://h/{other}")
