"""Brings images to the host that runs them: sends a build context to build there, or an image that is here; none twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

from agents import engine, images, room
from agents.images import Context, ImageStore
from orchestrator.errors import HostError
from orchestrator.fleet.handles import ImageHandle, Pending
from orchestrator.run.events import Event, Say
from orchestrator.spec.container import Build, Container
from orchestrator.spec.models import resolve
from orchestrator.spec.service import Service

BUILD_TIMEOUT_S = 1800.0
# Chunks on the way at once: enough to hide the round trip, few enough not to fill anybody's memory.
IN_FLIGHT = 4


class EngineHandle(Protocol):
    """A host with a Docker engine: of the server, or of services."""

    @property
    def host(self) -> str:
        """The host's name."""

    @property
    def images(self) -> ImageHandle:
        """The images of its engine."""


def provide(
    containers: Mapping[str, Container], folder: Path, server: EngineHandle | None, send: bool, say: Say
) -> dict[str, str]:
    """Make sure of every image before anything is started; return image names by target or service. Raises HostError.

    server: the host that runs them all. send: build on this machine's engine and send the image; otherwise that host builds.
    """
    found: dict[str, str] = {}
    for name, container in containers.items():
        if container.image is None and container.build is None:
            continue
        assert server is not None
        if container.image is not None:
            _ship_missing([container.image], server, say)
            found[name] = server.images.inspect(container.image, BUILD_TIMEOUT_S).id
            continue
        assert container.build is not None
        build = container.build if isinstance(container.build, Build) else Build(context=container.build)
        context = Context(resolve(folder, build.context), build.dockerfile)
        bases = context.bases()
        order = images.Build(name, context.digest(), build.dockerfile, build.args, build.network, bases)
        tag = _build_here(order, context, server, say) if send else _build_there(order, context, server, say)
        found[name] = tag
        kind = "service" if isinstance(container, Service) else "target"
        say(Event("image", f"{name}: image {tag} is ready", {kind: name, "image": tag}))
    return found


def _build_there(order: images.Build, context: Context, server: EngineHandle, say: Say) -> str:
    """Build on the server host, from the context and from the base images that it lacks and we have."""
    _ship_missing(order.bases, server, say)
    if tag := server.images.find(order):
        say(Event("build", f"{order.name}: image {tag} is there", {"target": order.name}, passing=True))
        return tag
    shown = len(server.images.output(0))
    server.images.begin_build(order)
    say(
        Event("build", f"{order.name}: sending {context.folder} to {server.host}", {"target": order.name}, passing=True)
    )
    with tempfile.TemporaryFile() as packed:
        try:
            context.pack(packed)
        except OSError as error:
            if not room.is_full(error):
                raise
            place = Path(tempfile.gettempdir())
            free = room.in_mib(room.free_bytes(place))
            raise HostError(
                f"the build context {context.folder} cannot be packed in {place}: {error.strerror} ({free} free)",
                "free some space there, name another folder with TMPDIR, or leave files out with .dockerignore",
            ) from error
        packed.seek(0)
        _feed(server, _pieces(packed))
    call = server.images.finish()
    done = False
    while not done:
        done = call.done(timeout_s=0.3)
        for line in server.images.output(shown):
            shown += 1
            say(Event("build", line, {"target": order.name}, passing=True))
    return call.result(BUILD_TIMEOUT_S)


def _build_here(order: images.Build, context: Context, server: EngineHandle, say: Say) -> str:
    """Build on this machine's engine, and send the image to the server host if it is not there yet."""
    store = _our_images(required=True)
    assert store is not None
    tag = store.find(order)
    if not tag:
        say(Event("build", f"{order.name}: building it here", {"target": order.name}, passing=True))
        store.begin_build(order)
        with tempfile.TemporaryFile() as packed:
            context.pack(packed)
            packed.seek(0)
            for chunk in _pieces(packed):
                store.feed(chunk)
        try:
            tag = store.finish()
        except images.BuildFailed as error:
            raise HostError(
                f"this machine: {error}",
                "fix the Dockerfile; if a base image cannot be pulled, load it with 'docker load'",
            ) from None
    _ship_missing([tag], server, say)
    return tag


def _ship_missing(names: list[str], server: EngineHandle, say: Say) -> None:
    """Send those images that the server host lacks and this machine has; others it may still pull."""
    missing = server.images.missing(names) if names else []
    ours = _our_images(required=False) if missing else None
    for name in missing:
        if ours is None or not ours.id_of(name):
            continue
        say(Event("image", f"sending image {name} to {server.host}", {"image": name, "host": server.host}))
        server.images.begin_load(name)
        try:
            _feed(server, images.saved(name))
        except images.BuildFailed as error:
            raise HostError(f"this machine: {error}", "check that its disk is not full: df -h") from None
        server.images.finish().result(BUILD_TIMEOUT_S)


def _our_images(required: bool) -> ImageStore | None:
    """Return the images of this machine's engine; None when it has no engine."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=60, environment=engine.environment())
        client.ping()
    except (DockerException, OSError) as error:
        if not required:
            return None
        raise HostError(
            f"this machine: the Docker engine does not answer: {error}",
            "start it: sudo systemctl start docker; or write 'images: build' in the inventory to build on the server host",
        ) from None
    return ImageStore(lambda: client)


def _feed(server: EngineHandle, chunks: Iterable[bytes]) -> None:
    waiting: list[Pending[None]] = []
    for chunk in chunks:
        waiting.append(server.images.feed(chunk))
        if len(waiting) >= IN_FLIGHT:
            waiting.pop(0).result(BUILD_TIMEOUT_S)
    for call in waiting:
        call.result(BUILD_TIMEOUT_S)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(images.CHUNK_BYTES):
        yield chunk
