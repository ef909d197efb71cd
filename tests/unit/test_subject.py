"""What a sentence about a case is about: the URL that was typed, or the name that the campaign gave."""

import pytest

from orchestrator.report.answer import _named
from orchestrator.url_name import url_name

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/"),
        ("http://127.0.0.1:8000/search", "http://127.0.0.1:8000/search"),
        ("https://api.test/items/", "https://api.test/items/"),
        ("http://[::1]:8000/", "http://[::1]:8000/"),
        ("http://anna:secret@api.test:81/?token=secret", "http://api.test:81/?…"),
    ],
)
def test_a_target_of_the_command_line_is_its_url(url, shown):
    """Without what may be secret."""
    assert _named(url_name(url), [url]) == shown


def test_several_paths_are_counted():
    """Their target's name ends in a digest."""
    urls = ["http://127.0.0.1:8000/a", "http://127.0.0.1:8000/b"]

    assert _named(url_name(urls[0], ["/a", "/b"]), urls) == "http://127.0.0.1:8000 (2 paths)"


@pytest.mark.parametrize("name", ["flask", "1", "127.0.0.10"])
def test_a_name_of_the_campaign_stays(name):
    """Although the target is at a URL."""
    assert _named(name, ["http://127.0.0.1:8000/"]) == name
