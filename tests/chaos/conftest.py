"""Real parts: what they need must be there, and nothing may be left after any test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import require
from tests.integration.machine import nothing_left


@pytest.fixture(autouse=True)
def _clean_machine() -> Iterator[None]:
    require("h2load")
    require("docker")
    nothing_left()
    yield
    nothing_left()
