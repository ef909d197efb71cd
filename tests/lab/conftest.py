"""One lab for all tests here: a server host and three load hosts: one far away, one with a wrong clock, one that can run services."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import require
from tests.integration.machine import nothing_left
from tests.lab import world


@pytest.fixture(scope="session", autouse=True)
def _lab() -> Iterator[None]:
    require("ip", "nsenter", "ssh-keygen", "cc", "docker", "h2load", "iptables", "zstd")
    assert os.geteuid() == 0, "the lab needs root"
    assert not world.STATE.exists(), "a lab is up; remove it with: deploy/lab/lab down"
    try:
        of_hosts = ["--delay", f"{world.FAR}=5ms", "--clock", f"{world.WRONG_CLOCK}=+3.7s", "--service", world.PLAIN]
        world.lab("up", "--hosts", "4", *of_hosts)
        yield
    finally:
        world.lab("down")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    world.nothing_left_on_hosts()
    nothing_left()
