"""What must not be shown: the secret values of this process, and text without them.

A secret is noted where a campaign is read, and hidden where something leaves the process or is stored: in records that
come from hosts, events, documents of a run folder, errors, and whatever is printed.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from agents.printable import in_colour, printable

T = TypeVar("T")

HIDDEN = "(hidden)"
# A shorter value would be found in text that has nothing to do with it.
SHORTEST = 4
# A quotation may end within a secret: so many of its first or last characters are hidden, too.
SHORTEST_PART, SHORTEST_AT_END = 8, 12
# The marks of a cut.
CUT, CUT_SHORT = "...", "\N{HORIZONTAL ELLIPSIS}"
# What a path or a query can hold as it is.
IN_URL = "%/:@!$&'()*+,;=[]?"
# Encoded forms that are shorter prove nothing.
SHORTEST_ENCODED = 6
# Fields that name a part of a run: they are compared and looked up, and no value of a variable can be in them.
NAMES = {"host", "target", "load", "agent", "image", "container", "images", "service_images"}
_NAMED_BY_CONTENT = "PlannedRequest"


class Redactor:
    """A set of secrets. Those shorter than SHORTEST are known, and are not looked for in text."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._sought: set[str] = set()
        self._forms: list[str] = []

    def add(self, values: Iterable[str], sought: bool = True) -> None:
        """Note secrets. sought: look for them in text; otherwise they are only known, because they are ordinary words."""
        new = {value for value in values if value}
        self._values |= new
        new = {value for value in new if len(value) >= SHORTEST} - self._sought if sought else set()
        if new:
            self._sought |= new
            # A form that contains another one is hidden as a whole.
            forms = {form for value in self._sought for form in forms_of(value)}
            self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def clear(self) -> None:
        """Forget all secrets."""
        self._values, self._sought, self._forms = set(), set(), []

    def holds(self, text: str) -> bool:
        """Return whether a text is a secret or contains one."""
        return text in self._values or any(form in text for form in self._forms)

    def hide(self, text: str) -> str:
        """Return text with HIDDEN in place of each secret, in any of its forms, and of the parts of one that is cut."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        for form in self._forms:
            if len(form) > SHORTEST_PART:
                text = _without_parts(text, form)
        return text


def forms_of(value: str) -> Iterator[str]:
    """Yield the forms in which a value is likely to come back."""
    yield value
    for form in (
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        # As a URL is sent: what may stand there is not escaped.
        quote(value, safe=IN_URL),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        value.translate(_HTML),
        value.translate(_HTML_TEXT),
        repr(value)[1:-1],
        # As what has no control characters is stored.
        printable(value),
    ):
        if form != value:
            yield form
    data = value.encode("utf-8", "surrogatepass")
    yield data.hex()
    for encoded in _in_base64(data):
        if len(encoded) >= SHORTEST_ENCODED:
            yield encoded
            if (url_safe := encoded.translate(_URL_SAFE)) != encoded:
                yield url_safe


_URL_SAFE = str.maketrans("+/", "-_")
_HTML_TEXT = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_HTML = _HTML_TEXT | {ord('"'): "&quot;", ord("'"): "&#x27;"}


def _in_base64(data: bytes) -> Iterator[str]:
    """Yield what base64 makes of data wherever they begin in a longer text, as in 'USER:PASSWORD'."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # The characters at the ends hold bits of what is beside the data.
        last = len(encoded) - ((before + len(data)) % 3 > 0)
        yield encoded[(before * 8 + 5) // 6 : last]


def _without_parts(text: str, form: str) -> str:
    """Return text without the beginnings and the ends of a form: what is left of one that was cut.

    A part must be half of the form, or stand beside the mark of a cut: what many values begin with is not secret.
    """
    head, tail = form[:SHORTEST_PART], form[-SHORTEST_PART:]
    start = 0
    while (start := text.find(head, start)) >= 0:
        end = start + SHORTEST_PART
        while end < len(text) and end - start < len(form) and text[end] == form[end - start]:
            end += 1
        if _is_cut(end - start, form, text[end : end + 3], at_end=end == len(text)):
            text = text[:start] + HIDDEN + text[end:]
            start += len(HIDDEN)
        else:
            start += 1
    start = len(text)
    while (start := text.rfind(tail, 0, start)) >= 0:
        begin, end = start, start + SHORTEST_PART
        while begin > 0 and end - begin < len(form) and text[begin - 1] == form[len(form) - (end - begin) - 1]:
            begin -= 1
        if _is_cut(end - begin, form, text[max(0, begin - 3) : begin], at_end=begin == 0):
            text = text[:begin] + HIDDEN + text[end:]
            start = begin
        else:
            start = end - 1
    return text


def _is_cut(length: int, form: str, beside: str, at_end: bool) -> bool:
    """Return whether so many characters of a form are a part of it that was cut. beside: what is where the rest would be."""
    is_marked = beside == CUT or (CUT_SHORT in beside) or (at_end and length >= SHORTEST_AT_END)
    return 2 * length >= len(form) or is_marked


_SECRETS = Redactor()


def keep_secret(values: Iterable[str], sought: bool = True) -> None:
    """Note secret values, for the life of this process. sought: as in Redactor.add."""
    _SECRETS.add(values, sought)


def forget() -> None:
    """Forget all secret values."""
    _SECRETS.clear()


def is_secret(text: str) -> bool:
    """Return whether a text is a secret value or contains one."""
    return _SECRETS.holds(text)


def hidden(text: str) -> str:
    """Return text without secret values."""
    return _SECRETS.hide(text)


def clean(text: str) -> str:
    """Return text without secret values, and without what would act on a terminal."""
    # In this order: an escape sequence may stand in the middle of a secret.
    return _SECRETS.hide(printable(text))


def clean_output(text: str) -> str:
    """Return text for a terminal without secret values, and without what would act there but colours."""
    return _SECRETS.hide(in_colour(text))


def clean_bytes(data: bytes) -> bytes:
    """Return what a program printed as UTF-8 text, cleaned."""
    return clean(data.decode(errors="replace")).encode()


def cleaned(record: T) -> T:
    """Return a record with every text in it cleaned, but those that name a part of the run.

    Records are dataclasses, mappings, lists and tuples; other objects stay as they are.
    """
    made: T = _cleaned(record)
    return made


def _cleaned(value: Any) -> Any:
    if type(value) is str:
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(inner) for inner in value]
    if type(value) is tuple:
        return tuple(_cleaned(inner) for inner in value)
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(inner) for key, inner in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _cleaned_record(value)
    return value


def _cleaned_record(record: Any) -> Any:
    changed = {}
    for name in _fields(type(record)):
        before = getattr(record, name)
        after = _cleaned(before)
        if after is not before and after != before:
            changed[name] = after
    return dataclasses.replace(record, **changed) if changed else record


def _fields(kind: Any) -> list[str]:
    kept = NAMES if kind.__name__ == _NAMED_BY_CONTENT else NAMES | {"name"}
    return [field.name for field in dataclasses.fields(kind) if field.init and field.name not in kept]
