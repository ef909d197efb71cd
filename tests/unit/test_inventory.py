"""The inventory: every problem at once, defaults applied, nothing silently wrong."""

import json

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.fleet.place import machines_of
from orchestrator.spec.load import is_inventory, load_inventory


def problems(tmp_path, text):
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_inventory(path)
    return [f"{p.where.removeprefix(str(path))} {p.what} {p.hint}" for p in refused.value.problems]


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
    assert "is not a valid label" in text
    assert ":6: hosts.d.slots" in text


def test_one_host_is_listed_once(tmp_path):
    """Two names for one machine would measure itself."""
    (found,) = problems(tmp_path, "hosts:\n  a: {address: x, roles: [load]}\n  b: {address: x, roles: [server]}\n")

    assert "'b' and 'a' are both at x" in found


def test_a_key_that_is_not_there(tmp_path):
    """Reported for the host that would use it."""
    (found,) = problems(tmp_path, json.dumps({"hosts": {"a": {"roles": ["load"], "key": "none"}}}))

    assert "hosts.a there is no key file 'none'" in found


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        ("hosts: {a: {roles: [load], jump: '::1'}}", ":1: hosts.a.jump", "'::1' is not [USER@]HOST[:PORT]"),
        ("hosts: {a: {roles: [load], jump: 'u@h:99999'}}", ":1: hosts.a.jump", "is not [USER@]HOST[:PORT]"),
        ("hosts: {a: {roles: [load], jump: 'u@../x'}}", ":1: hosts.a.jump", "'../x' is not a host name"),
        ("hosts: {a: {roles: [load], address: ../x}}", ":1: hosts.a.address", "'../x' is not a host name"),
        ("hosts: {a: {roles: [load], address: 10.0.0.999}}", ":1: hosts.a.address", "is not a host name"),
        ("hosts: {a: {roles: [load], address: ''}}", ":1: hosts.a.address", "'' is not a host name"),
        ('hosts: {a: {roles: [load]}}\nssh_config: "\\0"', ":2: ssh_config", "holds a control character"),
        ('hosts: {a: {roles: [load], user: "a\\nb"}}', ":1: hosts.a.user", "holds a control character"),
        ("hosts: {a: {roles: [load], cores: [65536]}}", ":1: hosts.a.cores.0", "65536 is out of range"),
    ],
    ids=range(9),
)
def test_what_ssh_could_not_use_is_refused(tmp_path, line, where, what):
    """With its line, before anything connects."""
    (problem,) = problems(tmp_path, line)

    assert problem.startswith(where)
    assert what in problem


def test_a_jump_host_with_an_ipv6_address(tmp_path):
    """In brackets, as in a URL."""
    path = tmp_path / "hosts.yaml"
    path.write_text(json.dumps({"hosts": {"a": {"roles": ["load"], "jump": "me@[fd00::1]:2222"}}}))

    assert load_inventory(path).access("a").jump == "me@[fd00::1]:2222"


def test_load_may_have_a_network_of_its_own(tmp_path):
    """Its address is one of the host, beside the one for SSH and Ray."""
    path = tmp_path / "hosts.yaml"
    path.write_text("hosts: {a: {roles: [server], address: 10.0.0.1, load_address: 192.168.5.1}}\n")

    (machine,) = machines_of(load_inventory(path))
    assert (machine.address, machine.load_address) == ("10.0.0.1", "192.168.5.1")


@pytest.mark.parametrize("address", ["10.0.0.1", "fe80::1", "web-1.example.org", "web_1", "localhost"])
def test_addresses(tmp_path, address):
    """Names and IP addresses of both kinds, with a jump host or without."""
    path = tmp_path / "hosts.yaml"
    path.write_text(
        json.dumps({"hosts": {"a": {"roles": ["load"], "address": address, "jump": "me@gate.example.org:22"}}})
    )

    assert load_inventory(path).address("a") == address
