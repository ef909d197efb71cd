"""The unit tests with Python 3.13, in a container: the checkout is read there, and nothing is written to it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, require
from tests.integration.wheel import uv

IMAGE = "python:3.13-slim"
# They take half of the time, and compute or read text: `make test-full` runs them, too.
LONG = (
    "capacity", "compare", "comparisons", "data", "dependencies", "docs", "html_page", "live_counters", "probing", "search_engine",
    "searches", "simulated_searches", "statistics", "trend", "wording", "words_of_messages",
)  # fmt: skip
# Far below what there are, so that a new test changes nothing here; far above what a wrong folder would have.
AT_LEAST = 2_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("left_out", [LONG, pytest.param((), marks=pytest.mark.full)], ids=["short", "all"])
def test_unit_tests_with_python_313(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    """With the packages of the lock file, those of the newer Python."""
    require("docker")
    packages, lock = tmp_path / "packages", ROOT / "deploy" / "development.lock"
    uv(
        "--target",
        str(packages),
        "--python-version",
        "3.13",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "-r",
        str(lock),
    )
    environment = {"PWD": "/volley", "PYTHONPATH": "/packages", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", f"--volume={packages}:/packages:ro", f"--volume={ROOT}:/volley:ro",
         "--workdir=/volley", *(f"--env={name}={value}" for name, value in environment.items()), IMAGE,
         "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "unit and not full", "tests/unit",
         *(f"--ignore=tests/unit/test_{name}.py" for name in left_out)],
        capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert passed is not None, done.stdout[-1000:]
    assert int(passed[1]) > AT_LEAST
