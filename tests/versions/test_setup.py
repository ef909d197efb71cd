"""What `make setup` gives to a user of a fresh clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.integration.wheel import clean_environment


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_fresh_clone_has_a_volley_after_its_set_up(tmp_path: Path) -> None:
    """An environment of its own, from the locks for users; twice is as good as once."""
    clone = tmp_path / "clone"
    listed = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            (clone / name).write_bytes((ROOT / name).read_bytes())
            (clone / name).chmod((ROOT / name).stat().st_mode)

    outputs = [
        subprocess.run(
            ["deploy/setup.sh", "python"],
            cwd=clone,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=250,
        )
        for _ in range(2)
    ]
    version = subprocess.check_output([clone / ".venv/bin/volley", "--version"], cwd=tmp_path, text=True)

    assert [done.returncode for done in outputs] == [0, 0], outputs[0].stderr
    assert "creating .venv" in outputs[0].stdout
    assert outputs[1].stdout == ""
    assert version.startswith("volley ")
    assert not (clone / ".venv/bin/pytest").exists()
