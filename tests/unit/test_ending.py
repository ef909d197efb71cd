"""What is removed of a run that has died, with a docker command that behaves as the engine does when two remove at once."""

import pytest

from agents import ending

DOCKER = """#!/bin/sh
cd {folder}
case "$1 $2" in
  "ps --all") cat container 2>/dev/null ;;
  "volume ls") cat volume 2>/dev/null ;;
  "rm --force") {removal} ;;
  "volume rm") [ ! -e container ] || {{ echo "volume is in use" >&2; exit 1; }}; rm volume ;;
esac
exit 0
"""
IN_PROGRESS = 'rm container; echo "removal of container c is already in progress" >&2; exit 1'
STUCK = 'echo "container c cannot be killed" >&2; exit 1'


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Return a function that installs a docker command with one container and one volume of a run."""

    def install(removal):
        for name in ("container", "volume"):
            (tmp_path / name).write_text(f"{name[0]}\n")
        command = tmp_path / "docker"
        command.write_text(DOCKER.format(folder=tmp_path, removal=removal))
        command.chmod(0o755)
        return tmp_path

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(ending, "AGAIN_S", 0.01)
    return install


@pytest.mark.process
@pytest.mark.parametrize("removal", ["rm container", IN_PROGRESS])
def test_volumes_go_even_when_another_is_removing_the_container(engine, removal):
    """An actor that ends at the same moment removes it, too; the engine then refuses the second removal."""
    folder = engine(removal)

    assert ending.remove_containers(["run-1"]) == 1
    assert not (folder / "container").exists()
    assert not (folder / "volume").exists()


@pytest.mark.process
def test_what_cannot_be_removed_is_an_error_with_the_engines_words(engine, monkeypatch):
    """After a while."""
    engine(STUCK)
    monkeypatch.setattr(ending, "REMOVED_WITHIN_S", 0.1)

    with pytest.raises(ending.EngineTrouble, match="container c cannot be killed"):
        ending.remove_containers(["run-1"])
