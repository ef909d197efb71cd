"""What the tests of SSH share: a login over SSH to a host of an inventory, and one that is refused."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.fleet.ssh import SshHost
from orchestrator.spec.load import load_inventory


def ssh_host(inventory, name="h"):
    return SshHost(name, load_inventory(inventory), inventory.parent)


def with_host(inventory, work, name="h"):
    """Connect, do some work and disconnect; return what the work returned."""

    async def session():
        host = ssh_host(inventory, name)
        try:
            await host.connect()
            return await work(host)
        finally:
            await host.close()

    return asyncio.run(session())


def logs_in(inventory, name="h"):
    return with_host(inventory, lambda host: host.run("echo in"), name).out == "in\n"


def refused(inventory, name="h", kind=HostError):
    with pytest.raises(kind) as error:
        logs_in(inventory, name)
    assert error.value.hint
    return f"{error.value.message}\n{error.value.hint}"


def config(text):
    (Path.home() / ".ssh" / "config").write_text(text)


def behind(mini_hosts, gate_port, host):
    return mini_hosts.inventory(
        {"h": {"address": host.address, "port": host.port, "jump": f"root@localhost:{gate_port}"}}
    )
