"""Volley starts only with its own package `agents`: another distribution has one of the same name."""

import subprocess
import sys

import pytest

from orchestrator.cli import own_agents
from orchestrator.errors import EXIT_USAGE, UsageError
from tests.conftest import ROOT

FOREIGN = "raise SystemExit('a foreign package was imported')\n"


@pytest.fixture
def first_on_the_path(tmp_path, monkeypatch):
    """A folder that Python searches first; what was imported before is forgotten for the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == own_agents.PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def test_own_package_is_accepted():
    own_agents.require_own_agents()


def test_foreign_package_is_refused_without_importing_it(first_on_the_path):
    """The message names the folder; the hint is a command."""
    folder = first_on_the_path / "agents"
    folder.mkdir()
    (folder / "__init__.py").write_text(FOREIGN)

    with pytest.raises(UsageError) as refused:
        own_agents.require_own_agents()

    assert refused.value.exit_code == EXIT_USAGE
    assert f"{folder} belongs to another project" in refused.value.message
    assert "pip install" in refused.value.hint


def test_folder_without_init_is_refused(first_on_the_path, monkeypatch):
    """A namespace package has no origin: nothing of ours is there."""
    (first_on_the_path / "agents").mkdir()
    monkeypatch.setattr(sys, "path", [str(first_on_the_path)])
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if "editable" not in repr(f).lower()])

    with pytest.raises(UsageError, match="the package is missing"):
        own_agents.require_own_agents()


def test_check_does_not_import_the_package(monkeypatch):
    """It runs before every verb, so it must cost next to nothing."""
    for name in [name for name in sys.modules if name.partition(".")[0] == own_agents.PACKAGE]:
        monkeypatch.delitem(sys.modules, name)

    own_agents.require_own_agents()

    assert own_agents.PACKAGE not in sys.modules


@pytest.mark.process
def test_command_refuses_to_start(tmp_path):
    """One error with a hint, exit code 2. The foreign package is never imported, as it may fail or be slow."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text(FOREIGN)

    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "doctor"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True, cwd="/",
    )  # fmt: skip

    assert done.returncode == EXIT_USAGE, done.stderr
    assert done.stdout == ""
    message, hint = done.stderr.splitlines()
    assert message.startswith("error: ")
    assert f"{tmp_path}/agents belongs to another project" in message
    assert hint.startswith("  -> install Volley")
