"""One machine as a fleet: the same guard, Ray node and actors as everywhere, reached without SSH, on loopback only."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

from orchestrator.errors import HostError, Shortage
from orchestrator.fleet import raynode
from orchestrator.fleet.guarded import LocalGuard
from orchestrator.fleet.hosts import Actor, Placed

ADDRESS = "127.0.0.1"
HOST = "local"
UP_WITHIN_S = 90.0
PLACED_WITHIN_S = 60.0
# A run that Ray cannot place would wait for ever: this is what this machine offers, and it is checked first.
SLOTS_PER_CORE = 2


def slots() -> int:
    """How many agents this machine takes."""
    return max(2, SLOTS_PER_CORE * len(os.sched_getaffinity(0)))


def require_placeable(agents: int) -> None:
    """Raise Shortage, in numbers, when this machine cannot take the agents."""
    if agents > slots():
        raise Shortage(
            f"{agents} agents are wanted at once; this machine takes {slots()} ({len(os.sched_getaffinity(0))} cores)",
            "use fewer agents",
        )


class LocalFleet:
    """Brings the machine up on entry and leaves nothing behind on exit, whatever happened in between."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._guard: LocalGuard | None = None
        self._folder = Path()
        self._connected = False
        self.host_names = [HOST]

    def up(self) -> None:
        """Start guard and Ray node, and connect. Raises HostError."""
        require_no_stranger()
        # Short: a socket's path has to stay within 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="volley-"))
        token = raynode.write_token(self._folder)
        settings = raynode.environment(token, loopback=True)
        port = raynode.free_ports(ADDRESS, 1)[0]
        labels = {"host": HOST}
        command = raynode.head_command(ADDRESS, port, self._folder / "ray", labels, {"server": 1, "agent": slots()})
        self._guard = LocalGuard(self._run, self._folder, command, {**os.environ, **settings})
        os.environ.update(settings)
        self._wait_for(port)
        self._connect(port)

    def _wait_for(self, port: int) -> None:
        assert self._guard is not None
        deadline = time.monotonic() + UP_WITHIN_S
        while True:
            self._guard.require_alive()
            with contextlib.suppress(OSError), socket.create_connection((ADDRESS, port), timeout=1):
                return
            if time.monotonic() > deadline:
                raise HostError(
                    f"Ray did not come up within {UP_WITHIN_S:g} s: {self._guard.log()}", "run 'volley doctor'"
                )
            time.sleep(0.05)

    def _connect(self, port: int) -> None:
        import ray

        previous = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                address=f"{ADDRESS}:{port}",
                _node_ip_address=ADDRESS,
                namespace=self._run,
                log_to_driver=False,
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError) as error:
            raise HostError(f"Ray's node does not let us in: {error}", "run 'volley doctor'") from error
        finally:
            signal.signal(signal.SIGTERM, previous)  # ray.init() puts its own in place
        self._connected = True

    def place(self, agents: int, with_server: bool) -> Placed:
        """Let Ray place a server actor and a load actor with room for `agents`. Raises Shortage, HostError."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        from agents.actors import LoadActor, ServerActor, remote

        require_placeable(agents)
        kinds: list[Any] = [ServerActor, LoadActor] if with_server else [LoadActor]
        needs: list[dict[str, float]] = [{"agent": float(agents)}]
        if with_server:
            needs.insert(0, {"server": 1.0})
        group = placement_group(needs, bundle_label_selector=[{"host": HOST}] * len(needs))
        if not group.wait(PLACED_WITHIN_S):
            raise Shortage(f"Ray could not place {needs} on {HOST} within {PLACED_WITHIN_S:g} s", "run 'volley doctor'")
        placed = []
        for i, kind in enumerate(kinds):
            strategy = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=i)
            handle = remote(kind).options(scheduling_strategy=strategy, resources=needs[i]).remote(self._run, ADDRESS)
            placed.append(Actor(HOST, ADDRESS, handle))
        ray.get([actor.handle.__ray_ready__.remote() for actor in placed], timeout=PLACED_WITHIN_S)
        return Placed(placed[0] if with_server else None, placed[1:] if with_server else placed)

    def down(self) -> None:
        """Disconnect, and let the guard end and remove everything."""
        if self._connected:
            import ray

            ray.shutdown()
            self._connected = False
        if self._guard is not None:
            if not self._guard.close():
                raise HostError(
                    "this machine could not be cleaned in time", f"run: volley hosts clean --run {self._run}"
                )
            self._guard = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LocalFleet:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.down()


def require_no_stranger() -> None:
    """Refuse to connect twice from one process: Ray would silently use the first connection."""
    import sys

    ray: Any = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        raise HostError("this process is already connected to a Ray cluster", "run Volley in a process of its own")
