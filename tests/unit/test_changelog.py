"""CHANGELOG.md: the form of Keep a Changelog, and the package's version as its newest release."""

import re

import pytest

import orchestrator
from deploy.docs.changelog import PATH, problems, sections

MOST_LINES = 130
GOOD = """# Changelog

As in https://keepachangelog.com/en/1.1.0/ and https://semver.org/spec/v2.0.0.html.

## [Unreleased]

### Fixed

- one,
  on two lines

## [0.10.0] - 2026-02-01

### Added

- two
- three

### Security

- four

## [0.9.0] - 2026-02-01

### Added

- five
"""


def test_the_changelog_has_its_form_and_the_version_of_the_package():
    """The newest release is the one that this code is."""
    assert list(problems(PATH.read_text(), orchestrator.__version__)) == []


def test_a_release_can_be_read():
    """A few screens at most: what users notice, not every commit."""
    text = PATH.read_text()
    starts = [section.line for section in sections(text)]

    lengths = [below - line for line, below in zip(starts, [*starts[1:], len(text.splitlines())], strict=True)]
    assert max(lengths) <= MOST_LINES


def test_a_good_changelog_has_no_problems():
    """Versions are numbers: 0.10.0 is newer than 0.9.0. Two releases of one day are in order."""
    assert list(problems(GOOD, "0.10.0")) == []
    assert [section.groups for section in sections(GOOD)] == [
        [("Fixed", 1)],
        [("Added", 2), ("Security", 1)],
        [("Added", 1)],
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# Changelog\n", "# Changes\n", "line 1: the title is"),
        ("https://keepachangelog.com/en/1.1.0/", "a form", "add a link to https://keepachangelog.com/"),
        ("https://semver.org/spec/v2.0.0.html", "numbers", "add a link to https://semver.org/"),
        ("[Unreleased]", "Unreleased", "line 5: ## Unreleased: write '## [Unreleased]' or"),
        ("[0.10.0] - 2026-02-01", "0.10.0 (2026-02-01)", "line 12: ## 0.10.0 (2026-02-01): write"),
        ("[0.10.0] - 2026-02-01", "[0.10.0] - 2026-02-30", "line 12: ## [0.10.0] - 2026-02-30: write"),
        ("[0.10.0]", "[0.08.0]", "line 12: ## [0.08.0] - 2026-02-01: write"),
        ("[0.9.0] - 2026-02-01", "[0.9.0] - 2026-02-02", "put the newest release first"),
        ("[0.9.0]", "[0.11.0]", "put the newest release first"),
        ("[0.9.0] - 2026-02-01", "[Unreleased]", "put it above all releases"),
        ("### Added\n\n- two", "### New\n\n- two", "its groups are New, Security"),
        ("### Added\n\n- two", "### Security\n\n- two", "its groups are Security, Security"),
        ("### Security", "### Added", "its groups are Added, Added"),
        ("\n- four\n", "", "'### Security' has no entry"),
        ("\n- five\n", "\nfive\n", "line 27: write it as an entry of a group"),
        ("\n### Added\n\n- five\n", "", "## [0.9.0] - 2026-02-01: it has no entries"),
        (
            "## [0.10.0] - 2026-02-01\n",
            "## [0.11.0] - 2026-02-01\n",
            "the package has version 0.10.0: add '## [0.10.0]",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(old, new, problem):
    """The control of the tests above: one change, and its problem is there."""
    assert GOOD.count(old) >= 1

    found = list(problems(GOOD.replace(old, new, 1), "0.10.0"))

    assert [each for each in found if re.search(re.escape(problem), each)], found
