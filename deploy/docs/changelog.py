"""The form of CHANGELOG.md: Keep a Changelog 1.1.0, with the version of the package as its newest release.

Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise

from deploy.docs.markdown import ROOT

PATH = ROOT / "CHANGELOG.md"
# In the order of Keep a Changelog.
GROUPS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
UNRELEASED = "## [Unreleased]"
_RELEASE = re.compile(r"## \[(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)\] - (\d{4}-\d\d-\d\d)")
_FORMS = ("https://keepachangelog.com/", "https://semver.org/")


@dataclass(frozen=True, slots=True)
class Release:
    """What the heading of a release names."""

    version: tuple[int, int, int]
    day: date


@dataclass(slots=True)
class Section:
    """What is below one heading of level 2. line: the heading's; release: None where it names none.

    groups: the number of entries below each heading of level 3, in their order. stray: lines outside of a group.
    """

    line: int
    heading: str
    release: Release | None
    groups: list[tuple[str, int]] = field(default_factory=list)
    stray: list[int] = field(default_factory=list)


def sections(text: str) -> list[Section]:
    """Return the sections of a changelog, from top to bottom."""
    found: list[Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            found.append(Section(number, line, _release(line)))
        elif found and line.startswith("### "):
            found[-1].groups.append((line.removeprefix("### "), 0))
        elif found and line.startswith("- ") and found[-1].groups:
            name, entries = found[-1].groups[-1]
            found[-1].groups[-1] = (name, entries + 1)
        elif found and line.strip() and not (line.startswith("  ") and found[-1].groups):
            found[-1].stray.append(number)
    return found


def problems(text: str, version: str) -> Iterator[str]:
    """Yield what is wrong with a changelog, with line and fix. version: the package's, as in 0.2.0."""
    head = text.partition("\n## ")[0]
    if not head.startswith("# Changelog\n"):
        yield "line 1: the title is '# Changelog'"
    for form in _FORMS:
        if form not in head:
            yield f"the text below the title names its form: add a link to {form}"
    found = sections(text)
    for section in found:
        yield from _wrong(section, first=section is found[0])
    releases = [(section, section.release) for section in found if section.release is not None]
    newest = ".".join(map(str, releases[0][1].version)) if releases else "none"
    if newest != version:
        yield f"the newest release is {newest}, but the package has version {version}: add '## [{version}] - YYYY-MM-DD'"
    for (above, newer), (below, older) in pairwise(releases):
        if newer.version <= older.version or newer.day < older.day:
            yield f"line {below.line}: {below.heading} stands below {above.heading}: put the newest release first"


def _release(heading: str) -> Release | None:
    match = _RELEASE.fullmatch(heading)
    if match is None:
        return None
    try:
        day = date.fromisoformat(match[4])
    except ValueError:  # such as 30 February
        return None
    return Release((int(match[1]), int(match[2]), int(match[3])), day)


def _wrong(section: Section, *, first: bool) -> Iterator[str]:
    where = f"line {section.line}: {section.heading}"
    if section.heading == UNRELEASED:
        if not first:
            yield f"{where}: put it above all releases"
    elif section.release is None:
        yield f"{where}: write '{UNRELEASED}' or '## [1.2.3] - YYYY-MM-DD'"
    elif not section.groups:
        yield f"{where}: it has no entries: add '### {GROUPS[0]}'"
    names = [name for name, _ in section.groups]
    if names != [group for group in GROUPS if group in names]:
        yield f"{where}: its groups are {', '.join(names)}: use each once, in the order {', '.join(GROUPS)}"
    for name, entries in section.groups:
        if not entries:
            yield f"{where}: '### {name}' has no entry that begins with '- '"
    for line in section.stray:
        yield f"line {line}: write it as an entry of a group ('- ', and two spaces in front of its other lines)"
