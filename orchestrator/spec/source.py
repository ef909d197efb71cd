"""The text of a campaign file as a run folder keeps it: without the values of headers, bodies and secrets."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.redact import hidden
from orchestrator.spec.overrides import Override, read_overrides
from orchestrator.spec.secrets import SECRET, Place, is_secret_name, key_of, place_of, secrets_of_url, unwrapped
from orchestrator.spec.variables import Location

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

LEFT_OUT_TEXT = "..."
# A value that is only ${NAME}, perhaps after a word such as Bearer, shows nothing.
_ONLY_NAMES = re.compile(r"(?:[A-Za-z]{1,10} )?\$\{[A-Za-z0-9_][A-Za-z0-9_.-]*\}")


def stored_source(text: str, overrides: Sequence[str] = (), allowed: Sequence[str] = ()) -> str:
    """Return a campaign file as it is stored, with the options that changed it as comments."""
    kept, left_out = without_secrets(overrides)
    lines = [f"# --set {override}\n" for override in kept] + [f"# --set {path}={LEFT_OUT_TEXT}\n" for path in left_out]
    lines += [f"# --allow-target {host}\n" for host in allowed]
    return hidden(_without_values(text) + "".join(lines))


def without_secrets(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return those --set values that can be stored, and the paths of the others, whose values are secret."""
    kept: list[str] = []
    left_out: list[str] = []
    for text in overrides:
        read = read_overrides([text], {}, [])
        if read and (_has_secret(read[0]) or hidden(text) != text):
            left_out.append(".".join(read[0].keys))
        else:
            kept.append(text)
    return kept, left_out


def _has_secret(override: Override) -> bool:
    value, wrapped = unwrapped(override.value, override.keys)
    leaves = [*_leaves(value, override.keys)]
    return bool(wrapped) or any(_is_left_out(*leaf) or any(_in_url(*leaf)) for leaf in leaves)


def _leaves(value: object, location: Location) -> Iterator[tuple[Location, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*location, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, (*location, i))
    else:
        yield location, str(value)


def _is_left_out(location: Location, text: str) -> bool:
    """Return whether the value at a location is not stored."""
    place = place_of(location)
    if place is None or _ONLY_NAMES.fullmatch(text) or text == LEFT_OUT_TEXT:
        return False
    if place in (Place.HEADER, Place.BODY):
        return True
    return place is Place.ENVIRONMENT and is_secret_name(key_of(location, text))


def _in_url(location: Location, text: str) -> Iterator[str]:
    """Yield the passwords and parameters of a URL that are not stored."""
    if place_of(location) is not None:
        yield from (value for value in secrets_of_url(text) if not _ONLY_NAMES.fullmatch(value))


def _without_values(text: str) -> str:
    """Return YAML with LEFT_OUT_TEXT in place of values that are not stored; all else as it was written."""
    from ruamel.yaml.error import YAMLError

    try:
        node = _composed(text)
    except YAMLError:  # it was read before, so this is another file now
        return ""
    spans = {} if node is None else dict(_spans(node, (), text))
    for start, (end, new) in sorted(spans.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _composed(text: str) -> Node | None:
    from ruamel.yaml import YAML

    constructor, parser = YAML(typ="rt").get_constructor_parser(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            node: Node | None = constructor.composer.get_single_node()
            return node
    finally:
        parser.dispose()


def _spans(node: Node, location: Location, text: str) -> Iterator[tuple[int, tuple[int, str]]]:
    """Yield the start and the end of each value that is left out, and what stands for it."""
    if isinstance(node.value, str):
        if _is_left_out(location, node.value):
            yield _span(node)
        elif secrets := [*_in_url(location, node.value)]:
            written = text[node.start_mark.index : node.end_mark.index]
            for secret in secrets:
                written = written.replace(secret, LEFT_OUT_TEXT)
            is_whole = LEFT_OUT_TEXT in written
            yield (node.start_mark.index, (node.end_mark.index, written)) if is_whole else _span(node)
        return
    for i, child in enumerate(node.value):
        if not isinstance(child, tuple):
            yield from _spans(child, (*location, i), text)
            continue
        key, value = child
        if len(node.value) == 1 and key.value == SECRET and isinstance(value.value, str):
            if not _ONLY_NAMES.fullmatch(value.value):
                yield _span(value)
        elif isinstance(key.value, str):
            yield from _spans(value, location if key.value == "<<" else (*location, key.value), text)


def _span(node: Node) -> tuple[int, tuple[int, str]]:
    start, end = node.start_mark, node.end_mark
    anchor = f"&{node.anchor} " if node.anchor else ""
    # A block of text ends with the line after it.
    is_block = getattr(node, "style", None) in ("|", ">")
    return start.index, (end.index, f'{anchor}"{LEFT_OUT_TEXT}"' + ("\n" if is_block else ""))
