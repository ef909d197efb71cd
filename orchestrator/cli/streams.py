"""Standard output and error that any terminal, pipe or locale can take. Only the standard library."""

from __future__ import annotations

import io
import locale
import os
import sys
from collections.abc import Callable
from typing import BinaryIO, cast

# What pages use beyond ASCII, and how it is written where the locale has no such characters.
PLAIN = str.maketrans(
    {
        "×": "x", "–": "-", "—": "-", "−": "-", "‑": "-", "≤": "<=", "≥": ">=", "≈": "~", "±": "+-", "µ": "u", "μ": "u",
        "·": ".", "•": "*", "…": "...", "→": "->", "←": "<-", "▸": ">", "▶": ">", "∞": "inf", "√": "sqrt",
        "’": "'", "‘": "'", "“": '"', "”": '"', "\xa0": " ", "✓": "+", "✗": "x", "●": "o", "○": "o", "°": " deg",
        "▏": "|", "▁": ".", "▂": ":", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "%", "█": "#",
        "░": ":", "▒": "%", "▓": "#", "│": "|", "┃": "|", "─": "-", "━": "-", "┤": "|", "├": "|", "┬": "+", "┴": "+",
        "┼": "+", "└": "+", "┘": "+", "┌": "+", "┐": "+", "╭": "+", "╮": "+", "╯": "+", "╰": "+",
    }
)  # fmt: skip
# What text goes through: the last of these. Volley's own is set once its packages are known to be its own.
_clean: list[Callable[[str], str]] = []
_PLAIN_LOCALES = ("C", "POSIX")
_LOCALE_VARIABLES = ("LC_ALL", "LC_CTYPE", "LANG")


class Stream(io.TextIOWrapper):
    """Standard output or error. Where the reader is gone, what is written goes nowhere and nobody fails.

    A closed pipe must not end a run that is being measured, nor change its exit code. Nor must a log of standard error on
    a full disk; a result that cannot be written is an error.
    """

    # Set where the characters in PLAIN cannot be written.
    plain = False
    # Set for standard error, which nothing depends on.
    may_be_lost = False

    def write(self, text: str) -> int:
        """Write text without what would act on the terminal, in characters that the locale has."""
        self.control(self.cleaned(text))
        return len(text)

    def cleaned(self, text: str) -> str:
        """Return text as it is written: see clean_with()."""
        return _clean[-1](text) if _clean and isinstance(text, str) else text

    def control(self, text: str) -> int:
        """Write text as it is, with the terminal's own sequences, in characters that the locale has."""
        try:
            super().write(text.translate(PLAIN).encode("ascii", "replace").decode() if self.plain else text)
        except OSError as error:
            self._failed(error)
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        try:
            super().flush()
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        if not self.may_be_lost and not isinstance(error, BrokenPipeError):
            raise error
        self._discard()

    def _discard(self) -> None:
        """Send this and everything that follows to nowhere."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def prepare() -> None:
    """Replace standard output and error by streams that take every character and a closed pipe."""
    _open_closed()
    plain = is_plain(dict(os.environ))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = stream(sys.stdout, plain)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = stream(sys.stderr, plain)
        sys.stderr.may_be_lost = True


def clean_with(clean: Callable[[str], str]) -> None:
    """Set what everything goes through that is written to standard output and error."""
    _clean.append(clean)


def _open_closed() -> None:
    """Open standard streams that were closed, so that no file of the run gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one, because those below it are open.
            os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, opened)
            # A reference that stays: the file would be closed together with the last one.
            setattr(sys, f"__{name}__", opened)


def stream(old: io.TextIOWrapper, plain: bool) -> Stream:
    """Return a stream on the same file. plain: write ASCII although Python chose another encoding."""
    plain = plain or not old.encoding.lower().startswith("utf")
    # Click writes UTF-8 to a stream that says 'ascii'. Latin-1 has the same bytes for what is written here.
    made = Stream(
        cast(BinaryIO, old.buffer),
        encoding="latin-1" if plain else old.encoding,
        errors="backslashreplace",
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )
    made.plain = plain
    return made


def is_plain(environment: dict[str, str]) -> bool:
    """Return whether the locale that was asked for has ASCII only, even where Python writes UTF-8 in it.

    An empty environment, as in a container, asks for nothing: UTF-8 is what terminals and CI show today.
    """
    if environment.get("PYTHONIOENCODING") or environment.get("PYTHONUTF8") == "1":
        return False
    asked = next((value for name in _LOCALE_VARIABLES if (value := environment.get(name))), "")
    return asked in _PLAIN_LOCALES or (bool(asked) and not _is_unicode(asked))


def _is_unicode(asked: str) -> bool:
    _, dot, charset = asked.partition(".")
    name = charset.partition("@")[0] if dot else locale.getencoding()
    return name.lower().replace("-", "").startswith("utf")
