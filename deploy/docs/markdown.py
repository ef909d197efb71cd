"""Markdown files as the checks need them: prose, code blocks, links and anchors. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*([\w-]*)\s*$")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$")
_INLINE_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block. line: of its fence. language: '' where the fence names none."""

    path: Path
    line: int
    language: str
    text: str


def documents(root: Path = ROOT) -> list[Path]:
    """Return every document of the repository that a reader sees."""
    top = sorted(root.glob("*.md"))
    return [*top, *sorted((root / "docs").rglob("*.md"))]


def blocks(path: Path) -> Iterator[Block]:
    """Yield the code blocks of a document, without the indentation of their fence."""
    fence, start, language, indent, lines = "", 0, "", 0, list[str]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if not fence and match:
            fence, start, language, indent, lines = match[2], number, match[3], len(match[1]), []
        elif fence and match and match[2].startswith(fence) and not match[3]:
            yield Block(path, start, language, "".join(f"{each}\n" for each in lines))
            fence = ""
        elif fence:
            lines.append(line[indent:] if not line[:indent].strip() else line)
    if fence:
        yield Block(path, start, "unclosed", "\n".join(lines))


def prose_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a document that are in no code block and no HTML comment, with their numbers."""
    fence, comment = "", False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if match and not fence:
            fence = match[2]
        elif match and match[2].startswith(fence) and not match[3]:
            fence = ""
        elif not fence:
            comment = comment or line.startswith("<!--")
            if not comment:
                yield number, line
            comment = comment and not line.rstrip().endswith("-->")


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as code hosts and the built pages make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


def slug(heading: str, separator: str) -> str:
    """Return the anchor of a heading for mkdocs, the same as a code host's."""
    return anchor(heading)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document; a heading that comes again has -1, -2 and so on at its end."""
    found: dict[str, int] = {}
    names = set()
    for _, line in prose_lines(path):
        if match := _HEADING.match(line):
            name = anchor(match[1])
            times = found[name] = found.get(name, -1) + 1
            names.add(name if not times else f"{name}-{times}")
    return names


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the targets of a document's links, with the line in which each ends."""
    lines = list(prose_lines(path))
    text = "\n".join(_INLINE_CODE.sub(_blank, line) for _, line in lines)
    for match in _LINK.finditer(text):
        yield lines[text.count("\n", 0, match.end())][0], match[1]


def broken_links(paths: list[Path]) -> Iterator[str]:
    """Yield every link to a file or an anchor that does not exist. Links to other hosts are not followed."""
    for path in paths:
        for line, target in links(path):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, part = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not file.exists():
                yield f"{path.relative_to(ROOT)}:{line}: {target}: the file does not exist"
            elif part and file.suffix == ".md" and part not in anchors(file):
                yield f"{path.relative_to(ROOT)}:{line}: {target}: the page has no such heading"


def _blank(match: re.Match[str]) -> str:
    """Replace inline code: a link in it is text, and a link's text can be code."""
    return "x" * len(match[0])
