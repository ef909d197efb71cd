"""The inventory: every problem at once, defaults applied, nothing silently wrong."""

import json

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.spec.load import is_inventory, load_inventory


def problems(tmp_path, text):
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as told:
        load_inventory(path)
    return [f"{p.where.removeprefix(str(path))} {p.what} {p.hint}" for p in told.value.problems]


def test_a_good_one(tmp_path):
    """Defaults are for every host, and a host's own word goes before them."""
    (tmp_path / "key").write_text("")
    path = tmp_path / "hosts.yaml"
    path.write_text(
        "defaults: {user: bench, key: key, port: 2222}\n"
        "hosts:\n  web1: {address: 10.0.0.1, roles: [server]}\n  gen1: {roles: [load], user: '${WHO:-other}', cores: [2, 3]}\n"
    )

    inventory = load_inventory(path, {})

    assert inventory.access("web1").user == "bench"
    assert inventory.access("gen1").user == "other"
    assert inventory.access("gen1").port == 2222
    assert (inventory.address("web1"), inventory.address("gen1")) == ("10.0.0.1", "gen1")
    assert (inventory.host_keys, inventory.images) == ("strict", "build")
    assert is_inventory(path)


def test_every_problem_at_once(tmp_path):
    """Line, path, what is wrong, what would be right."""
    found = problems(
        tmp_path,
        "host_keys: lax\nhosts:\n  a: {role: [load]}\n  b: {roles: [client]}\n  c: {roles: [], cores: [-1]}\n"
        "  d: {roles: [load], labels: {x: '!y'}, slots: 0}\n",
    )

    text = "\n".join(found)
    assert ":1: host_keys" in text
    assert "did you mean 'roles'?" in text
    assert ":4: hosts.b.roles" in text
    assert ":5: hosts.c" in text
    assert "is no label" in text
    assert ":6: hosts.d.slots" in text


def test_one_host_is_listed_once(tmp_path):
    """Two names for one machine would measure itself."""
    (found,) = problems(tmp_path, "hosts:\n  a: {address: x, roles: [load]}\n  b: {address: x, roles: [server]}\n")

    assert "'b' and 'a' are both at x" in found


def test_a_key_that_is_not_there(tmp_path):
    """Told for the host that would use it."""
    (found,) = problems(tmp_path, json.dumps({"hosts": {"a": {"roles": ["load"], "key": "none"}}}))

    assert "hosts.a there is no key file 'none'" in found
