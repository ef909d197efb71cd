"""From which commit a campaign file is, so that a result can be traced to it. Works without git, too."""

from __future__ import annotations

from pathlib import Path

TIMEOUT_S = 5.0


def commit_of(file: Path) -> str | None:
    """Return the commit of the repository that holds a file, shortened; None outside of one, or without git.

    A file that differs from that commit is marked.
    """
    if not file.is_absolute() or not any((folder / ".git").exists() for folder in file.parents):
        return None
    head = _git(file.parent, "rev-parse", "--short", "HEAD")
    if not head:
        return None
    changed = _git(file.parent, "status", "--porcelain", "--", file.name)
    return f"{head} with uncommitted changes" if changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
