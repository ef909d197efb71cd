"""The services of a run on one host: several containers at a time, each started, prepared, metered and removed.

Knows nothing of how it is reached. Containers carry the label volley.run=<run> and are removed by it on every way out.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor, wait

from agents.command import CommandResult
from agents.docker_host import DockerHost
from agents.execute import CANNOT_RUN, execute
from agents.records import HostRole, ServiceFacts
from agents.running_service import RunningService
from agents.service import ServiceSpec


class ServiceHost(DockerHost):
    """Runs services, all for the same run, each under its own name."""

    role = HostRole.SERVICE

    def __init__(self, run: str, name: str = "local", address: str = "127.0.0.1", clock_port: int = 0) -> None:
        super().__init__(run, name, address, clock_port)
        # In the order of their starts.
        self._services: dict[str, RunningService] = {}

    def start(self, spec: ServiceSpec) -> ServiceFacts:
        """Start one service and wait until it is up. See start_all()."""
        return self.start_all([spec])[0]

    def start_all(self, specs: list[ServiceSpec]) -> list[ServiceFacts]:
        """Start services at the same time, and wait until each is up. Those of the same names are removed first.

        A service that does not come up is a result: `state` says so. Raises PortInUse, EngineUnreachable, BuildFailed (no
        such image) and ContainerRefused; what was started then stays until stop() or close().
        """
        self.stop([spec.name for spec in specs])
        self._abort.clear()
        client = self.engine()
        for spec in specs:
            image = self.images.inspect(spec.image)
            self._services[spec.name] = RunningService(spec, image.id, self._name, self._address, client)
        with ThreadPoolExecutor(max(1, len(specs)), thread_name_prefix="service") as pool:
            calls = [pool.submit(self._services[spec.name].start, self._run, self._abort) for spec in specs]
            wait(calls)
        return [call.result() for call in calls]

    def waiting_for(self) -> str:
        """Return what start() is waiting for, for a person; '' before it waits."""
        names = [name for name, service in list(self._services.items()) if service.is_starting]
        return f"waiting for {' and '.join(names)}" if names else ""

    def prepare(self, name: str, argv: list[str], timeout_s: float) -> CommandResult:
        """Run a command in a service's container; status None: it took longer than timeout_s, or was aborted."""
        service = self._services.get(name)
        if service is None:
            return CommandResult(CANNOT_RUN, 0, f"service {name} is not running")
        return execute(self.engine(), service.container, argv, timeout_s, self._abort)

    def meter(self, opening_ns: int, closing_ns: int | None) -> None:
        """Read every service's counters at both edges of the window, instants on this host's wall clock.

        closing_ns None: the window ends when finish() is called.
        """
        for service in self._services.values():
            service.meter(opening_ns, closing_ns)
        self._meter.start()

    def finish(self) -> list[ServiceFacts]:
        """Read the counters for the last time, and return all that is known of every service."""
        return [service.finish() for service in self._services.values()]

    def look(self) -> list[ServiceFacts]:
        """Return the state of every service now; windows go on."""
        return [service.look() for service in self._services.values()]

    def log(self, name: str) -> bytes:
        """Return the last lines that a service printed; empty for a service that it does not run."""
        service = self._services.get(name)
        return b"" if service is None else service.log()

    def stop(self, names: list[str]) -> None:
        """Remove the containers of these services, those that exist."""
        removed = [service for name in names if (service := self._services.pop(name, None)) is not None]
        if removed:
            with ThreadPoolExecutor(len(removed), thread_name_prefix="service") as pool:
                for call in [pool.submit(service.remove) for service in removed]:
                    call.result()

    def abort(self) -> None:
        """End every wait, command and pull that is under way."""
        for service in list(self._services.values()):
            service.abort()
        super().abort()

    def close(self) -> None:
        """End and remove everything that this host runs, the run's volumes included."""
        super().close()
        self._abort.set()
        self._meter.stop()
        self.images.discard()
        with contextlib.suppress(Exception):  # the guard removes what is left
            self.stop(list(self._services))
        self.remove_volumes()
        self._responder.close()
