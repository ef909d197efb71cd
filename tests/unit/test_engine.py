"""Which Docker engine is used: the rule of the docker command, for everything."""

import hashlib
import json

import pytest

from agents import engine


def settings(folder, current, **endpoints):
    (folder / "config.json").write_text(json.dumps({"currentContext": current}))
    for name, host in endpoints.items():
        meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


@pytest.mark.parametrize(
    ("current", "environment", "address"),
    [
        ("default", {}, engine.DEFAULT),
        ("", {}, engine.DEFAULT),
        ("rootless", {}, "unix:///run/user/1/docker.sock"),
        ("rootless", {"DOCKER_CONTEXT": "far"}, "ssh://far"),
        ("rootless", {"DOCKER_CONTEXT": "default"}, engine.DEFAULT),
        ("rootless", {"DOCKER_HOST": "tcp://127.0.0.1:2375", "DOCKER_CONTEXT": "far"}, "tcp://127.0.0.1:2375"),
        ("gone", {}, engine.DEFAULT),
    ],
)
def test_the_engine_is_the_one_that_the_docker_command_uses(tmp_path, current, environment, address):
    """DOCKER_HOST, then DOCKER_CONTEXT, then the current context, then the usual socket."""
    settings(tmp_path, current, rootless="unix:///run/user/1/docker.sock", far="ssh://far")

    assert engine.endpoint({"DOCKER_CONFIG": str(tmp_path)} | environment) == address


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (engine.DEFAULT, True),
        ("tcp://localhost:2375", True),
        ("tcp://[::1]:2375", True),
        ("tcp://10.0.0.1:2375", False),
        ("ssh://me@far", False),
    ],
)
def test_an_engine_elsewhere_is_known_as_such(address, local):
    """The server could not be metered there."""
    assert engine.is_local(address) is local


def test_commands_name_the_engine(tmp_path, monkeypatch):
    """A docker command gets the address itself, so that no context is looked up again."""
    settings(tmp_path, "rootless", rootless="unix:///run/x.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    assert engine.environment()["DOCKER_HOST"] == "unix:///run/x.sock"
    assert "DOCKER_CONTEXT" not in engine.environment()
    assert not engine.is_there()
