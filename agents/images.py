"""Images: contexts packed here, built or loaded on the engine's own host, named by content so that none is built twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from agents import engine

if TYPE_CHECKING:
    from docker import DockerClient

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)
CHUNK_BYTES = 1 << 20
# Variables that docker itself obeys.
_OF_DOCKER = re.compile(r"(?:PATH|HOME|TMPDIR|DOCKER_.*|BUILDX_.*|BUILDKIT_.*|LD_.*|SSH_.*|XDG_.*)")
_NONE: Mapping[str, str] = {}
LAST_LINES = 4


class BuildFailed(RuntimeError):
    """docker build, load or pull ended with an error; the message has the end of its output."""


class ImageMissing(BuildFailed):
    """An image that the campaign names is not on the engine and cannot be pulled."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image of an engine: its id, and the names that it goes by."""

    id: str
    tags: list[str]


@dataclass(frozen=True, slots=True)
class Build:
    """What to build: a context by its content, a Dockerfile in it, build arguments, the network of the build.

    bases: the images that it starts from; their ids on the building engine are part of the name.
    """

    name: str
    digest: str
    dockerfile: str = "Dockerfile"
    args: dict[str, str] = field(default_factory=dict)
    network: str = "host"
    bases: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Context:
    """A folder with a Dockerfile, as docker sees it (.dockerignore applied)."""

    folder: Path
    dockerfile: str = "Dockerfile"

    def files(self) -> list[Path]:
        """Return its files, in a fixed order."""
        from docker.utils.build import exclude_paths

        ignore = self.folder / ".dockerignore"
        patterns = ignore.read_text().splitlines() if ignore.is_file() else []
        patterns = [line.strip() for line in patterns if line.strip() and not line.lstrip().startswith("#")]
        names = exclude_paths(str(self.folder), patterns, self.dockerfile)
        return sorted(path for path in (self.folder / name for name in names) if path.is_file())

    def digest(self) -> str:
        """Return a digest of every file's name, mode and content."""
        digest = hashlib.sha256()
        for path in self.files():
            mode = "x" if os.access(path, os.X_OK) else "-"
            digest.update(f"{path.relative_to(self.folder)}\0{mode}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def bases(self) -> list[str]:
        """Return the images that the Dockerfile starts from, without its own stages and variables."""
        found = _FROM.findall((self.folder / self.dockerfile).read_text())
        stages = {stage.lower() for _, stage in found if stage}
        return list(
            dict.fromkeys(i for i, _ in found if i.lower() not in stages and "$" not in i and i.lower() != "scratch")
        )

    def pack(self, out: IO[bytes]) -> None:
        """Write the context as a tar archive."""
        # GNU format: docker looks at the first 512 bytes only and does not recognise a PAX header.
        with tarfile.open(fileobj=out, mode="w|", bufsize=CHUNK_BYTES, format=tarfile.GNU_FORMAT) as archive:
            for path in self.files():
                archive.add(path, arcname=str(path.relative_to(self.folder)), recursive=False)


class ImageStore:
    """The images of one engine, on its own host. One stream at a time is taken in: a build context or an image."""

    def __init__(self, engine: Callable[[], DockerClient]) -> None:
        self._engine = engine
        self._lines: list[str] = []
        self._intake: _Intake | None = None

    def output(self, since: int) -> list[str]:
        """Return the lines that builds and pulls have printed, from line number `since` on (from 0)."""
        return self._lines[since:]

    def lacks(self, names: list[str]) -> list[str]:
        """Return those images that this engine does not have. Raises EngineUnreachable."""
        return [name for name in names if not self.id_of(name)]

    def id_of(self, name: str) -> str:
        """Return an image's id; '' when this engine does not have it."""
        from docker.errors import ImageNotFound

        try:
            return str(self._engine().images.get(name).id)
        except ImageNotFound:
            return ""

    def inspect(self, image: str) -> ImageFacts:
        """Return id and names of an image; pull it when this engine does not have it. Raises BuildFailed."""
        from docker.errors import APIError, ImageNotFound

        try:
            found = self._engine().images.get(image)
        except ImageNotFound:
            self._lines.append(f"pulling {image}")
            try:
                found = self._engine().images.pull(image)
            except (ImageNotFound, APIError) as error:
                why = getattr(error, "explanation", None) or error
                raise ImageMissing(f"image {image!r} is missing and cannot be pulled: {why}") from error
        return ImageFacts(str(found.id), list(found.tags))

    def tag_of(self, build: Build) -> str:
        """Return a build's image name, by content: context, arguments, and the base images that this engine has."""
        parts = [build.digest, build.dockerfile, repr(sorted(build.args.items()))]
        parts += [f"{base}={self.id_of(base)}" for base in build.bases]
        slug = re.sub(r"[^a-z0-9]+", "-", build.name.lower()).strip("-") or "target"
        return f"volley/{slug}:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"

    def find(self, build: Build) -> str:
        """Return the name of a build's image when it was built before, else ''."""
        tag = self.tag_of(build)
        return tag if self.id_of(tag) else ""

    def begin_build(self, build: Build) -> None:
        """Start a build; its context comes by feed()."""
        tag = self.tag_of(build)
        argv = ["docker", "build", "--force-rm", f"--network={build.network}", "--tag", tag, "--file", build.dockerfile]
        # Only their names: docker takes the values from its environment, and every user sees its command line.
        values = {key: value for key, value in build.args.items() if not _OF_DOCKER.fullmatch(key)}
        for key in sorted(build.args):
            argv += ["--build-arg", key if key in values else f"{key}={build.args[key]}"]
        self._begin(f"docker build of {build.name}", [*argv, "-"], f"{build.name}: ", tag, values)

    def begin_load(self, name: str) -> None:
        """Start loading an image that comes by feed()."""
        self._begin(f"docker load of {name}", ["docker", "load"], "", name)

    def _begin(self, what: str, argv: list[str], prefix: str, name: str, values: Mapping[str, str] = _NONE) -> None:
        self.discard()
        self._intake = _Intake(what, argv, lambda line: self._lines.append(prefix + line), name, values)

    def feed(self, chunk: bytes) -> None:
        """Pass on the next piece of the context or image."""
        assert self._intake is not None, "begin_build() or begin_load() first"
        self._intake.feed(chunk)

    def finish(self) -> str:
        """Wait for the build or the load and return the image's name. Raises BuildFailed."""
        assert self._intake is not None, "begin_build() or begin_load() first"
        try:
            return self._intake.finish()
        finally:
            self._intake = None

    def abort(self) -> None:
        """End the build or the load that is under way; its finish() then raises BuildFailed."""
        if (intake := self._intake) is not None:
            intake.end()

    def discard(self) -> None:
        """End the build or the load that is under way, and forget it."""
        self.abort()
        self._intake = None


class _Intake:
    """A docker command that reads a stream. values: added to its environment."""

    def __init__(
        self, what: str, argv: list[str], say: Callable[[str], None], name: str, values: Mapping[str, str]
    ) -> None:
        self._what, self._say, self._name = what, say, name
        self._lines: list[str] = []
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=False,
            env={**engine.environment(), **values},
        )
        self._reader = threading.Thread(target=self._read, name="docker-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            if line := raw.decode(errors="replace").strip():
                self._lines.append(line)
                self._say(line)

    def feed(self, chunk: bytes) -> None:
        # A command that has failed reads no more: finish() reports why.
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(chunk)

    def finish(self) -> str:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        status = self._process.wait()
        self._reader.join(timeout=5)
        if status != 0:
            raise BuildFailed(f"{self._what} failed ({status}): " + " | ".join(self._lines[-LAST_LINES:]))
        return self._name

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def saved(name: str) -> Iterator[bytes]:
    """Yield an image of this machine's engine in pieces, as `docker save` writes it. Raises BuildFailed."""
    with subprocess.Popen(
        ["docker", "save", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=engine.environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while chunk := process.stdout.read(CHUNK_BYTES):
            yield chunk
        why = process.stderr.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise BuildFailed(f"docker save of {name} failed: {why[-200:]}")
