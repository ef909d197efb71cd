"""Images on one engine: built by the docker command from a context, and named by its content so that none is built twice."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import DockerClient

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Build:
    """What to build: a folder on the engine's host, a Dockerfile relative to it, build arguments, the build's network."""

    context: str
    dockerfile: str = "Dockerfile"
    args: dict[str, str] = field(default_factory=dict)
    network: str = "host"


class BuildFailed(RuntimeError):
    """docker build ended with an error: carries the end of its output."""


def tag_of(name: str, build: Build, engine: DockerClient) -> str:
    """Name the image by its content: every file of the context, the arguments, and the base images as they are here."""
    digest = hashlib.sha256()
    context = Path(build.context)
    for path in _files(context):
        mode = "x" if os.access(path, os.X_OK) else "-"
        digest.update(f"{path.relative_to(context)}\0{mode}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    dockerfile = context / build.dockerfile
    digest.update(repr((build.dockerfile, sorted(build.args.items()))).encode())
    for base in _FROM.findall(dockerfile.read_text()):
        digest.update(f"{base}={_image_id(engine, base)}\0".encode())
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "target"
    return f"volley/{slug}:{digest.hexdigest()[:16]}"


def ensure(name: str, build: Build, engine: DockerClient, say: Callable[[str], None]) -> str:
    """Give the image's name, building it when this engine has no image of that content; output goes to `say` by line.

    Raises BuildFailed.
    """
    tag = tag_of(name, build, engine)
    if _image_id(engine, tag):
        say(f"{name}: image {tag} is there")
        return tag
    say(f"{name}: building {tag}")
    argv = [
        "docker",
        "build",
        "--force-rm",  # the classic builder leaves the container of a step that failed
        f"--network={build.network}",
        "--tag",
        tag,
        "--file",
        f"{build.context}/{build.dockerfile}",
    ]
    for key, value in sorted(build.args.items()):
        argv += ["--build-arg", f"{key}={value}"]
    lines: list[str] = []
    with subprocess.Popen(
        [*argv, build.context], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                lines.append(line.rstrip())
                say(f"{name}: {line.rstrip()}")
    if process.returncode != 0:
        raise BuildFailed(f"docker build of {build.context} failed ({process.returncode}): " + " | ".join(lines[-4:]))
    return tag


def _files(context: Path) -> list[Path]:
    from docker.utils.build import exclude_paths

    ignore = context / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.is_file() else []
    patterns = [line.strip() for line in patterns if line.strip() and not line.lstrip().startswith("#")]
    names = exclude_paths(str(context), patterns)
    return sorted(path for path in (context / name for name in names) if path.is_file())


def _image_id(engine: DockerClient, name: str) -> str:
    from docker.errors import ImageNotFound

    try:
        return str(engine.images.get(name).id)
    except ImageNotFound:
        return ""
