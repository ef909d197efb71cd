"""Build the wheel and install it, as users do: into an environment that has nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.machine import ROOT


def built(folder: Path) -> Path:
    """Build the sdist, and the wheel from the sdist alone; return the wheel."""
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(sdist, folder / "unpacked")
    (source,) = (folder / "unpacked").iterdir()
    subprocess.run([*build, "-t", "wheel"], cwd=source, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def uv(*arguments: str) -> None:
    """Run uv; its own words are the test's failure."""
    program = Path(sys.executable).with_name("uv")
    ended = subprocess.run([str(program), "pip", "install", "-q", *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def into_environment(environment: Path, requirement: str) -> Path:
    """Install a wheel, with or without extras, into a new environment as pipx would; return its `volley`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    uv("--python", str(environment / "bin/python"), requirement)
    return environment / "bin/volley"


def clean_environment() -> dict[str, str]:
    """Return this environment without what leads to the checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
