"""Both transports keep to the same contract: actors of a real Ray node, and child processes; with the real engine."""

import os
from contextlib import contextmanager

import pytest

from orchestrator.campaign.hosts import Hosts as RunHosts
from orchestrator.fleet.child_process import Children
from orchestrator.fleet.claims import Claim
from orchestrator.fleet.place import LOCAL, Placement
from orchestrator.run.images import provide
from orchestrator.spec.target import Target
from tests.handles_contract import (
    CONTRACT,
    Hosts,
    a_container_is_started_metered_and_removed,
    a_service_is_started_prepared_metered_and_removed,
)
from tests.integration.machine import TINY

PORT = 18331
TARGET = Target.model_validate({"build": str(TINY), "port": PORT})


@contextmanager
def ray_actors(run, folder):
    """One machine as a fleet, an actor in each role."""
    placement = Placement(LOCAL, {LOCAL: 1}, services={"side": LOCAL})
    with RunHosts(ray=True).fleet(Claim(run, run), {"case": placement}, [LOCAL]) as fleet:
        fleet.up(lambda text: None)
        actors = fleet.actors
        yield Hosts(run, actors.loads[LOCAL], actors.server, actors.others[LOCAL], folder), actors.services[LOCAL]


@contextmanager
def child_processes(run, folder):
    """A child of this process in each role."""
    with Children(run) as children:
        at = "127.0.0.1"
        hosts = Hosts(run, children.load("here", at), children.server("web", at), children.command("db", at), folder)
        yield hosts, children.services("side", at)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("transport", [ray_actors, child_processes], ids=lambda function: function.__name__)
def test_a_transport_keeps_to_the_contract(transport, tmp_path):
    """One after the other over the same hosts, as in a run; the context is packed and sent, and built once."""
    run = f"handles-{os.getpid()}-{transport.__name__}"
    with transport(run, tmp_path) as (hosts, services):
        events = []
        image = provide({"tiny": TARGET}, tmp_path, hosts.server, False, events.append)["tiny"]
        assert provide({"tiny": TARGET}, tmp_path, hosts.server, False, events.append)["tiny"] == image
        assert any(f"image {image} is there" in event.text for event in events)
        env = {"MODE": "ok", "PORT": str(PORT)}
        a_container_is_started_metered_and_removed(hosts, image, env, PORT)
        a_service_is_started_prepared_metered_and_removed(services, image)
        for number, keeps_to in enumerate(CONTRACT):
            (tmp_path / str(number)).mkdir()
            keeps_to(Hosts(run, hosts.load, hosts.server, hosts.command, tmp_path / str(number)))
