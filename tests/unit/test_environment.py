"""What hosts receive: complete, named by content, and the same files that the coordinator runs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.fleet import environment
from tests.conftest import require


def test_names_follow_the_content(tmp_path, monkeypatch):
    """Equal for equal content; different as soon as one of our files changes."""
    first = environment.project().name
    assert environment.project().name == first
    copy = tmp_path / "agents"
    shutil.copytree(environment.agents.__path__[0], copy)  # type: ignore[attr-defined]
    (copy / "guard.py").write_text((copy / "guard.py").read_text() + "\n# changed\n")
    monkeypatch.setattr(environment.agents, "__file__", str(copy / "__init__.py"))  # type: ignore[attr-defined]

    assert environment.project().name != first


@pytest.mark.process
def test_only_our_own_modules_are_sent_and_all_of_them():
    """The list is explicit: another distribution may have put its modules into the folder `agents`."""
    root = Path(environment.agents.__file__).parent  # type: ignore[attr-defined]

    assert sorted(environment.MODULES) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    assert [inside for inside, _ in environment.project().files] == [f"agents/{name}" for name in environment.MODULES]


def test_files_of_other_distributions_are_not_sent(tmp_path, monkeypatch):
    """A module that is not in the list stays here, and does not change the archive's name."""
    name = environment.project().name
    copy = tmp_path / "agents"
    shutil.copytree(environment.agents.__path__[0], copy)  # type: ignore[attr-defined]
    (copy / "tool.py").write_text("")
    monkeypatch.setattr(environment.agents, "__file__", str(copy / "__init__.py"))  # type: ignore[attr-defined]

    assert environment.project().name == name


def test_the_closure_has_what_the_packages_require():
    """Including extras; each package once."""
    names = [d.name.lower() for d in environment.closure(["httpx[http2]", "httpx"])]

    assert len(names) == len(set(names))
    assert {"httpx", "h2", "httpcore", "anyio", "idna"} <= set(names)


@pytest.mark.process
@pytest.mark.parametrize("zstd", [False, True])
def test_what_is_sent_is_enough_to_run_an_agent(tmp_path, monkeypatch, zstd):
    """Unpacked elsewhere, without this environment, the actors can be imported."""
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
    # -S: without this interpreter's own packages.
    done = subprocess.run([sys.executable, "-S", "-c", code], env=bare, capture_output=True, text=True, cwd="/")

    assert done.returncode == 0, done.stderr
    assert all(word.startswith(str(place)) for word in done.stdout.split())
    assert not (place / "ray" / "jars").exists()
