"""What hosts are sent: complete, by content, and what the coordinator itself runs."""

import shutil
import subprocess
import sys

import pytest

from orchestrator.fleet import environment
from tests.conftest import require


def test_names_follow_the_content(tmp_path, monkeypatch):
    """The same twice; another as soon as a file of ours changes."""
    first = environment.project().name
    assert environment.project().name == first
    copy = tmp_path / "agents"
    shutil.copytree(environment.agents.__path__[0], copy)
    (copy / "guard.py").write_text((copy / "guard.py").read_text() + "\n# changed\n")
    monkeypatch.setattr(environment.agents, "__file__", str(copy / "__init__.py"))

    assert environment.project().name != first


def test_the_closure_has_what_the_packages_require():
    """Extras too; each once."""
    names = [d.name.lower() for d in environment.closure(["httpx[http2]", "httpx"])]

    assert len(names) == len(set(names))
    assert {"httpx", "h2", "httpcore", "anyio", "idna"} <= set(names)


@pytest.mark.parametrize("zstd", [False, True])
def test_what_is_sent_is_enough_to_run_an_agent(tmp_path, monkeypatch, zstd):
    """Unpacked elsewhere, with nothing of this environment: the actors import, and Ray's node command answers."""
    require("tar", *(["zstd"] if zstd else []))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "host"
    place.mkdir()
    for archive in environment.archives():
        path = archive.packed(zstd)
        assert path == archive.packed(zstd)
        unpack = "zstd -dcq" if zstd else "gzip -dc"
        subprocess.run(f"{unpack} {path} | tar -xf - -C {place}", shell=True, check=True)

    bare = {"PYTHONPATH": str(place), "PATH": "/usr/bin:/bin"}
    code = "import agents.actors, sys, ray; print(ray.__file__, agents.actors.__file__)"
    # -S: nothing of this interpreter's own packages.
    done = subprocess.run([sys.executable, "-S", "-c", code], env=bare, capture_output=True, text=True, cwd="/")

    assert done.returncode == 0, done.stderr
    assert all(word.startswith(str(place)) for word in done.stdout.split())
    assert not (place / "ray" / "jars").exists()
