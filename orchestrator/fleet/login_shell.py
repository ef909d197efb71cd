"""Commands that mean the same in every login shell, and output that a login shell's start files cannot disturb.

sshd hands a command to the user's login shell, which may be fish or tcsh and may print whatever its
start files say. Every command therefore runs in /bin/sh, and everything before a marker is ignored.
"""

from __future__ import annotations

MARK = "--volley-begins--"
# What the quotes of bash, dash, zsh, ksh, fish and tcsh do not agree on, as printf's %b writes it.
_ESCAPED = {ord(character): f"\\0{ord(character):03o}" for character in "'\\!\n\r`"}


def portable(script: str) -> str:
    """Return a command for any login shell that runs a script of POSIX sh after printing the marker, to both outputs."""
    whole = f"printf '\\n{MARK}\\n'; printf '\\n{MARK}\\n' >&2; {script}"
    return f"""exec /bin/sh -c 'eval "$(printf %b "$1")"' sh '{whole.translate(_ESCAPED)}'"""


def after_mark(output: bytes) -> bytes | None:
    """Return what was printed after the marker; None if it is missing."""
    _, mark, rest = output.partition(f"\n{MARK}\n".encode())
    return rest if mark else None
