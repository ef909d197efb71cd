"""YAML files as trees that know their lines: YAML 1.2, no tags, no dates, no traps."""

from __future__ import annotations

import errno
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import bounded
from orchestrator.errors import ConfigurationError, Problem
from orchestrator.slo import legible, shown

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

_CORE = "tag:yaml.org,2002:"
_PLAIN = {_CORE + kind for kind in ("map", "seq", "str", "int", "float", "bool", "null", "merge")}
# YAML 1.2 has no dates: 2024-01-01 is text.
_DATE, _TEXT = _CORE + "timestamp", _CORE + "str"
# Aliases are counted where they are used: a few lines of them can stand for millions of values.
MOST_VALUES = 100_000
MOST_BYTES = 1 << 20
# The parser takes about 70 µs for what stands between two of these marks: two seconds in all.
_MARKS = (",", "\n", "[", "{", ": ", "- ")
MOST_MARKS = 30_000
# The time that the parser takes grows with the square of this.
MOST_OPEN_BRACKETS = 500
FIX = "fix the YAML there"
_TUPLE = re.compile(r"\((['\"].*?['\"]),\)")
MOST_IN_A_LINE = 300
_BRACKETS = re.compile(r"[][{}]")
# Python converts no text of more digits to a number.
_HUGE = re.compile(r"[0-9]{4000,}")


class Refused(ValueError):
    """A part of the document that is not accepted: `line` counts from 1."""

    def __init__(self, what: str, hint: str, node: Node) -> None:
        super().__init__(what)
        self.hint = hint
        self.line = node.start_mark.line + 1


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file, read once: a pipe cannot be read again. text: as it was written; tree: ruamel's, which knows lines."""

    path: Path
    text: str
    tree: dict[Any, Any]

    @property
    def is_pipe(self) -> bool:
        """Return whether it came through a pipe or standard input, as of 'volley run <(program)'."""
        return not self.path.is_file() or self.path.parts[:2] in (("/", "dev"), ("/", "proc"))

    @property
    def folder(self) -> Path:
        """The folder that its paths are relative to: its own, or the current one if it came through a pipe."""
        return Path.cwd() if self.is_pipe else self.path.parent


def read_document(path: Path) -> Document:
    """Return a YAML file that holds a mapping. Raise ConfigurationError if it cannot be read."""
    try:
        text = bounded.read_bytes(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError([_unreadable(path, error)]) from None
    except ValueError:
        raise ConfigurationError(
            [Problem(str(path), "cannot be read: it is not UTF-8 text", "check the path")]
        ) from None
    tree = _parsed(text, path)
    if not isinstance(tree, dict):
        raise ConfigurationError([Problem(str(path), "is not a mapping", "begin with 'campaign: NAME' (or 'hosts:')")])
    return Document(path, text, tree)


def _unreadable(path: Path, error: OSError) -> Problem:
    if error.errno == errno.EFBIG:
        return Problem(str(path), f"is larger than {MOST_BYTES >> 20} MiB", "put large bodies into files of their own")
    if error.errno == errno.ETIMEDOUT:
        return Problem(
            str(path), f"cannot be read: {error.strerror}", "check the program that writes it, or use a file"
        )
    return Problem(str(path), f"cannot be read: {error.strerror}", "check the path")


def read_yaml(path: Path) -> dict[Any, Any]:
    """Return the mapping that a YAML file holds. Raise ConfigurationError if it cannot be read."""
    return read_document(path).tree


def read_value(text: str) -> Any:
    """Return the value that a piece of YAML stands for, as plain data. Raise ConfigurationError if it is not YAML."""
    return plain(_parsed(text, Path("value")))


def plain(value: Any) -> Any:
    """Return a value of a tree as dicts with text as keys, lists, and Python's own scalars."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    # A scalar with a tag of its own: '!!str 5'.
    return getattr(value, "value", value)


def _parsed(text: str, path: Path) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if sum(text.count(mark) for mark in _MARKS) > MOST_MARKS:
        what, hint = (
            f"has more than {MOST_MARKS:,} entries",
            "put lists of requests and large bodies into files of their own",
        )
        raise ConfigurationError([Problem(str(path), what, hint)])
    try:
        _refuse_deep(text)
        return _tree(text)
    except Refused as error:
        problem = Problem(f"{path}:{error.line}", str(error), error.hint)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = Problem(where, *_told(error.problem or "is not YAML"))
    except YAMLError as error:
        problem = Problem(str(path), *_told(str(error)))
    except RecursionError:
        problem = Problem(str(path), "is nested too deeply", FIX)
    raise ConfigurationError([problem])


def _told(problem: str) -> tuple[str, str]:
    """Return what the parser found, and what to do. It quotes text where that begins like an alias or a tag of YAML."""
    for what, sign in (("alias", "*"), ("tag", "!"), ("anchor", "&")):
        if what in problem:
            hint = f"text that begins with '{sign}' belongs in quotes"
            return f"the value begins with '{sign}', which stands for {_SIGNS[sign]} in YAML", hint
    # The first line, without the tuples of Python that ruamel shows.
    return legible(_TUPLE.sub(r"\1", problem.split("\n")[0]), MOST_IN_A_LINE), FIX


_SIGNS = {"*": "an alias", "!": "a tag", "&": "an anchor"}


def _refuse_deep(text: str) -> None:
    """Raise RecursionError for brackets inside of brackets inside of brackets."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        if depth > MOST_OPEN_BRACKETS:
            raise RecursionError


def _tree(text: str) -> Any:
    """Return the document as ruamel's round-trip data, which knows lines."""
    from ruamel.yaml import YAML

    constructor, parser = YAML(typ="rt").get_constructor_parser(text)
    try:
        with warnings.catch_warnings():
            # YAML allows an anchor to be used again; ruamel warns on stderr.
            warnings.simplefilter("ignore")
            node = constructor.composer.get_single_node()
        if node is None:
            return None
        _accept(node, [], [0])
        return _constructed(constructor, node)
    finally:
        parser.dispose()


def _constructed(constructor: Any, node: Node) -> Any:
    from ruamel.yaml.error import YAMLError

    try:
        return constructor.construct_document(node)
    except YAMLError:
        raise
    except (ValueError, LookupError, TypeError):
        # ruamel's own errors for '!!int x', and for a document that says it is YAML 1.1.
        raise Refused("a value does not match its tag or its YAML version", "remove the tag", node) from None


def _accept(node: Node, above: list[Node], count: list[int]) -> None:
    """Raise Refused for a tag, a huge number, and an alias that contains itself or stands for too much."""
    count[0] += 1
    if any(node is one for one in above):
        raise Refused("an alias contains itself", "write the value out", node)
    if count[0] > MOST_VALUES:
        raise Refused(f"aliases expand to more than {MOST_VALUES:,} values", "use fewer aliases", node)
    tag = str(node.tag)
    if tag == _DATE:
        node.ctag = type(node.ctag)(suffix=_TEXT)
    elif tag not in _PLAIN:
        # A tag of the file's own can be a secret that begins with '!'.
        known = f"unknown tag {shown(tag.replace(_CORE, '!!'))}" if tag.startswith(_CORE) else "unknown tag"
        raise Refused(known, "remove the tag; text that begins with '!' belongs in quotes", node)
    if isinstance(node.value, str):
        if tag != _TEXT and _HUGE.search(node.value):
            raise Refused("a number has thousands of digits", "write a smaller number", node)
        return
    _refuse_duplicates(node)
    for child in node.value:
        for inner in child if isinstance(child, tuple) else (child,):
            _accept(inner, [*above, node], count)


def _refuse_duplicates(node: Node) -> None:
    """Raise Refused for a key that occurs twice. ruamel's own message would show both values."""
    keys = [pair[0] for pair in node.value if isinstance(pair, tuple) and isinstance(pair[0].value, str)]
    seen: set[str] = set()
    for key in keys:
        if key.value in seen and key.tag != _CORE + "merge":
            raise Refused(f"duplicate key {shown(key.value)}", "remove one of the two", key)
        seen.add(key.value)
