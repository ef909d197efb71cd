"""Build contexts: what docker would see, by content, packed so that docker takes it."""

import io
import tarfile

import pytest

from agents.images import Context

DOCKERFILE = """FROM --platform=linux/amd64 python:3.13-slim AS base
ARG WHICH=x
FROM base
FROM ${WHICH}
FROM scratch
FROM debian:trixie as other
"""


def context(tmp_path, name="c"):
    folder = tmp_path / name
    (folder / "sub").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "sub" / "app.py").write_text("print()\n")
    (folder / "secret.env").write_text("x\n")
    (folder / ".dockerignore").write_text("# not these\n*.env\n")
    return Context(folder)


@pytest.mark.process
def test_the_digest_is_of_the_content_and_not_of_the_place(tmp_path):
    """Another folder with the same files is the same; a byte or a mode is not; what is ignored does not count."""
    one, two = context(tmp_path, "a"), context(tmp_path, "b")
    assert one.digest() == two.digest()

    (two.folder / "secret.env").write_text("y\n")
    assert one.digest() == two.digest()
    (two.folder / "sub" / "app.py").chmod(0o755)
    assert one.digest() != two.digest()


def test_bases_are_images_and_no_stages_or_variables(tmp_path):
    """What has to be on the engine before a build can start."""
    assert context(tmp_path).bases() == ["python:3.13-slim", "debian:trixie"]


@pytest.mark.process
def test_a_packed_context_is_an_archive_to_docker(tmp_path):
    """Docker looks at the first 512 bytes only: they are a whole header."""
    out = io.BytesIO()

    context(tmp_path).pack(out)
    first = tarfile.TarInfo.frombuf(out.getvalue()[:512], "utf-8", "surrogateescape")
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        names = archive.getnames()

    assert first.isreg()
    assert sorted(names) == [".dockerignore", "Dockerfile", "sub/app.py"]
