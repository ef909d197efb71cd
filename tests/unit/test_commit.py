"""From which commit a campaign file is: with git, without it, and outside of a repository."""

import subprocess

import pytest

from orchestrator.cli.commit import commit_of
from tests.conftest import require


@pytest.mark.process
def test_the_commit_of_a_file(tmp_path, monkeypatch):
    """Shortened; a file that differs from it is marked, and another file does not matter."""
    require("git")

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *identity, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    file, other = tmp_path / "c.yaml", tmp_path / "other"
    for each in (file, other):
        each.write_text("a")
    git("init", "-q")
    without = commit_of(file)
    git("add", ".")
    git("commit", "-q", "-m", "first")
    head = git("rev-parse", "--short", "HEAD")
    other.write_text("b")
    clean = commit_of(file)
    file.write_text("b")
    changed = commit_of(file)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert (without, clean, changed) == (None, head, f"{head} with uncommitted changes")
    assert commit_of(file) is None


def test_a_file_outside_of_a_repository_starts_nothing(tmp_path):
    """Nor does the file that a URL has in its run folder."""
    assert commit_of(tmp_path / "c.yaml") is None
    assert commit_of((tmp_path / "c.yaml").relative_to("/")) is None
