"""Images get to the server host: built there from a context that is sent, or sent as they are here; never twice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from agents import images
from agents.images import Context, ImageStore
from agents.records import to_plain
from orchestrator.errors import HostError
from orchestrator.fleet.hosts import Actor
from orchestrator.run.events import Event, Say
from orchestrator.spec.models import Build, Target, resolve

BUILD_TIMEOUT_S = 1800.0
# Chunks on the way at once: enough to hide the round trip, few enough not to fill anybody's memory.
IN_FLIGHT = 4


def provide(targets: dict[str, Target], folder: Path, server: Actor | None, send: bool, say: Say) -> dict[str, str]:
    """Make sure of every image before anything is started; give image names by target. Raises HostError.

    send: build on this machine's engine and send the image; otherwise the server host builds.
    """
    found: dict[str, str] = {}
    for name, target in targets.items():
        if target.url is not None:
            continue
        assert server is not None
        if target.image is not None:
            _ship_missing([target.image], server, say)
            found[name] = str(server.call("images.inspect", target.image, timeout_s=BUILD_TIMEOUT_S)["id"])
            continue
        assert target.build is not None
        build = target.build if isinstance(target.build, Build) else Build(context=target.build)
        context = Context(resolve(folder, build.context), build.dockerfile)
        bases = context.bases()
        order = images.Build(name, context.digest(), build.dockerfile, build.args, build.network, bases)
        tag = _build_here(order, context, server, say) if send else _build_there(order, context, server, say)
        found[name] = tag
        say(Event("image", f"{name}: image {tag} is ready", {"target": name, "image": tag}))
    return found


def _build_there(order: images.Build, context: Context, server: Actor, say: Say) -> str:
    """Build on the server host, from the context and from the base images that it lacks and we have."""
    _ship_missing(order.bases, server, say)
    if tag := str(server.call("images.find", to_plain(order))):
        say(Event("build", f"{order.name}: image {tag} is there", {"target": order.name}, passing=True))
        return tag
    shown = len(server.control("images.said", 0))
    server.call("images.begin_build", to_plain(order))
    say(
        Event("build", f"{order.name}: sending {context.folder} to {server.host}", {"target": order.name}, passing=True)
    )
    with tempfile.TemporaryFile() as packed:
        context.pack(packed)
        packed.seek(0)
        _feed(server, _pieces(packed))
    call = server.begin("images.finish")
    done = False
    while not done:
        done = server.done(call, timeout_s=0.3)
        for line in server.control("images.said", shown):
            shown += 1
            say(Event("build", line, {"target": order.name}, passing=True))
    return str(server.result(call, timeout_s=BUILD_TIMEOUT_S))


def _build_here(order: images.Build, context: Context, server: Actor, say: Say) -> str:
    """Build on this machine's engine, and send the image to the server host if it is not there yet."""
    store = _our_images(required=True)
    assert store is not None
    plain = to_plain(order)
    tag = store.find(plain)
    if not tag:
        say(Event("build", f"{order.name}: building it here", {"target": order.name}, passing=True))
        store.begin_build(plain)
        with tempfile.TemporaryFile() as packed:
            context.pack(packed)
            packed.seek(0)
            for chunk in _pieces(packed):
                store.feed(chunk)
        try:
            tag = store.finish()
        except images.BuildFailed as error:
            raise HostError(f"this machine: {error}", "mend the Dockerfile; where the base image cannot be pulled, run "
                            "deploy/base-image.sh") from None  # fmt: skip
    _ship_missing([tag], server, say)
    return tag


def _ship_missing(names: list[str], server: Actor, say: Say) -> None:
    """Send those images that the server host lacks and this machine has; others it may still pull."""
    lacking = server.call("images.lacks", names) if names else []
    ours = _our_images(required=False) if lacking else None
    for name in lacking:
        if ours is None or not ours.id_of(name):
            continue
        say(Event("image", f"sending image {name} to {server.host}", {"image": name, "host": server.host}))
        server.call("images.begin_load", name)
        try:
            _feed(server, images.saved(name))
        except images.BuildFailed as error:
            raise HostError(f"this machine: {error}", "is its disk full?") from None
        server.call("images.finish", timeout_s=BUILD_TIMEOUT_S)


def _our_images(required: bool) -> ImageStore | None:
    """Give the images of this machine's engine; None when there is none."""
    import docker
    from docker.errors import DockerException

    try:
        engine = docker.from_env(timeout=60)
        engine.ping()
    except (DockerException, OSError) as error:
        if not required:
            return None
        raise HostError(
            f"this machine: the Docker engine does not answer: {error}",
            "start it: deploy/engine.sh up; or let the server host build: images: build, in the inventory",
        ) from None
    return ImageStore(lambda: engine)


def _feed(server: Actor, chunks: Iterable[bytes]) -> None:
    waiting: list[Any] = []
    for chunk in chunks:
        waiting.append(server.begin("images.feed", chunk))
        if len(waiting) >= IN_FLIGHT:
            server.result(waiting.pop(0), timeout_s=BUILD_TIMEOUT_S)
    for reference in waiting:
        server.result(reference, timeout_s=BUILD_TIMEOUT_S)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(images.CHUNK_BYTES):
        yield chunk
