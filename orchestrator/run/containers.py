"""From a container of a campaign to what its host needs to create it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from agents.container import ContainerSpec, Health, Mount
from agents.service import ServiceSpec
from orchestrator.spec.container import Container, Healthcheck, Ulimit
from orchestrator.spec.models import resolve
from orchestrator.spec.service import Service


def container_of(container: Container, folder: Path) -> ContainerSpec:
    """Describe a container. folder: where paths of the campaign begin; a mounted path must exist on its host.

    Its health check is the image's own where the campaign has none.
    """
    limits = container.limits
    return ContainerSpec(
        command=container.command,
        entrypoint=container.entrypoint,
        env=container.environment,
        cpus=limits.cpus,
        memory_bytes=limits.memory,
        cpuset=limits.cpuset,
        pids=limits.pids,
        network=container.network,
        ports=_ports(container),
        hosts=container.extra_hosts,
        mounts=[_mount(source, path, read_only, folder) for source, path, read_only in container.mounts],
        tmpfs=dict(_path_and_options(entry) for entry in container.tmpfs),
        ulimits={name: _soft_and_hard(limit) for name, limit in container.ulimits.items()},
        sysctls=container.sysctls,
        shm_bytes=container.shm_size,
        user=container.user,
        working_dir=container.working_dir,
        cap_add=container.cap_add,
        cap_drop=container.cap_drop,
        health=_health(container.healthcheck),
    )


def fields_of(spec: ContainerSpec) -> dict[str, Any]:
    """Return the fields of a container, for a spec that extends it."""
    return {field.name: getattr(spec, field.name) for field in dataclasses.fields(ContainerSpec)}


def service_spec(name: str, service: Service, image: str, folder: Path, trial: str = "") -> ServiceSpec:
    """Describe a service, its references to others resolved. trial: '' for one that outlives trials."""
    return ServiceSpec(
        name=name,
        image=image,
        port=service.reached,
        ready_timeout_s=service.ready.timeout / 1e6,
        trial=trial,
        **fields_of(container_of(service, folder)),
    )


def prepare_argv(command: str | list[str]) -> list[str]:
    """Return what to run in a service's container; text is for sh."""
    return ["/bin/sh", "-c", command] if isinstance(command, str) else command


def _ports(container: Container) -> dict[int, int]:
    """Return the host's port by the container's: those that are named, and the one that is driven or reached."""
    ports = {inside: host for host, inside in container.published}
    main: int | None = getattr(container, "port", None)
    return {main: main, **ports} if main is not None else ports


def _mount(source: str, path: str, read_only: bool, folder: Path) -> Mount:
    is_path = source.startswith(("/", "."))
    return Mount(str(resolve(folder, source)) if is_path else source, path, is_path, read_only)


def _path_and_options(entry: str) -> tuple[str, str]:
    path, _, options = entry.partition(":")
    return path, options


def _soft_and_hard(limit: Ulimit | int) -> list[int]:
    return [limit, limit] if isinstance(limit, int) else [limit.soft, limit.hard]


def _health(check: Healthcheck | None) -> Health | None:
    if check is None:
        return Health()
    if check.is_off:
        return None
    return Health(
        argv=check.argv,
        interval_s=check.interval / 1e6,
        timeout_s=check.timeout / 1e6,
        retries=check.retries,
        start_period_s=check.start_period / 1e6,
    )
