"""Host keys as people have them recorded: types, authorities, changed and revoked ones. Against real sshds."""

import subprocess
from pathlib import Path

import asyncssh
import pytest

from orchestrator.errors import HostError
from orchestrator.fleet import care
from orchestrator.fleet.host_keys import KeyState, fingerprint
from orchestrator.fleet.ssh_errors import UnknownKey
from orchestrator.spec.load import load_inventory
from tests.unit.ssh_logins import behind, config, logs_in, refused

pytestmark = pytest.mark.process


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_any_type_of_key_may_be_the_recorded_one(mini_hosts, trusted, kind):
    """A host with several keys presents the recorded one: check, trust and up agree."""
    host = mini_hosts.start("web", kinds=("ed25519", "ecdsa", "rsa"))
    trusted(host.known(kind))
    inventory = mini_hosts.inventory({"h": {"address": host.address, "port": host.port}})

    assert logs_in(inventory)
    (key,), errors = care.keys(load_inventory(inventory), inventory.parent)
    assert (key.state, errors) == (KeyState.TRUSTED, [])


def certified(authority, principal="web", **settings):
    return lambda key: authority.generate_host_certificate(key, "web", principals=[principal], **settings)


def test_a_certificate_authority_may_be_recorded(mini_hosts, trusted):
    """It vouches for the host, under the name of HostKeyAlias; a key of the host itself is not needed."""
    authority = asyncssh.generate_private_key("ssh-ed25519")
    host = mini_hosts.start("web", certificates={"ed25519": certified(authority)})
    trusted(f"@cert-authority web {authority.export_public_key().decode()}")
    config(f"Host h\n  HostName {host.address}\n  Port {host.port}\n  HostKeyAlias web\n")
    inventory = mini_hosts.inventory({"h": {}})

    assert logs_in(inventory)
    (key,), _ = care.keys(load_inventory(inventory), inventory.parent)
    assert key.state is KeyState.TRUSTED


def test_a_certificate_that_does_not_count(mini_hosts, trusted):
    """Expired, or of another authority: never trusted; the plain key counts if it is recorded."""
    authority, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    expired = certified(authority, valid_after=0, valid_before=1)
    host = mini_hosts.start("web", certificates={"ed25519": expired})
    config(f"Host h\n  HostName {host.address}\n  Port {host.port}\n  HostKeyAlias web\n")
    inventory = mini_hosts.inventory({"h": {}})
    public = authority.export_public_key().decode()

    trusted(f"@cert-authority web {public}")
    text = refused(inventory, kind=UnknownKey)
    assert "a certificate authority is recorded, but it did not certify this key: Certificate expired" in text
    (key,), _ = care.keys(load_inventory(inventory), inventory.parent)
    assert key.state is KeyState.UNKNOWN

    trusted(f"@cert-authority web {other.export_public_key().decode()}", host.known(name="web"))
    assert logs_in(inventory)


def test_a_changed_key_is_told_from_one_of_another_type(mini_hosts, trusted):
    """Only a key of the same type can have changed: no advice to delete a good key."""
    host, stranger = mini_hosts.start("web"), mini_hosts.start("else", kinds=("ed25519", "rsa"))
    inventory = mini_hosts.inventory({"h": {"address": host.address, "port": host.port}}, host_keys="accept-new")
    place = f"[{host.address}]:{host.port}"

    trusted("# mine\n", stranger.known(name=place))
    text = refused(inventory)
    assert "HAS CHANGED" in text
    # As an attack: both fingerprints, where the old one is, how to compare, and only then how to replace it.
    steps = (
        "which is an attack", "did not log in", f"recorded:  {fingerprint(stranger.keys['ed25519'])} ({Path.home()}/.ssh/known_hosts:2)",
        f"presented: {fingerprint(host.keys['ed25519'])}", "on its console", "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        "If they differ, do not connect", "ssh-keygen -R", "volley hosts trust",
    )  # fmt: skip
    found = [text.find(step) for step in steps]
    assert -1 not in found, steps[found.index(-1)]
    assert found == sorted(found)
    assert f"ssh-keygen -R '{place}' -f {Path.home()}/.ssh/known_hosts" in text

    trusted(stranger.known("rsa", place))
    text = refused(inventory, kind=UnknownKey)  # not accepted as new either
    assert "(recorded: only ssh-rsa)" in text
    assert "HAS CHANGED" not in text


def test_a_revoked_key_is_refused_by_that_name(mini_hosts, trusted):
    """Even if the same key is recorded as trusted."""
    host = mini_hosts.start("web")
    trusted(host.known(), host.known(marker="@revoked ", name="*"))
    inventory = mini_hosts.inventory({"h": {"address": host.address, "port": host.port}})

    assert "is REVOKED" in refused(inventory)
    (key,), _ = care.keys(load_inventory(inventory), inventory.parent)
    assert key.state is KeyState.REVOKED


def test_known_hosts_as_ssh_config_names_them(mini_hosts, tmp_path):
    """Several files, some missing, with tokens; hashed names; lines that are not valid; new keys go into the first."""
    host = mini_hosts.start("web")
    hashed = tmp_path / "global"
    hashed.write_text(host.known())
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(hashed)], check=True, capture_output=True)
    assert host.address not in hashed.read_text()
    hashed.write_text("not a valid line\n@strange x y\n" + hashed.read_text())
    config(f"Host h\n  HostName {host.address}\n  Port {host.port}\n  GlobalKnownHostsFile {hashed}\n"
           "  UserKnownHostsFile %d/.ssh/own_%n ~/.ssh/second\n")  # fmt: skip
    inventory = mini_hosts.inventory({"h": {}})
    assert logs_in(inventory)

    hashed.unlink()
    (key,), _ = care.keys(load_inventory(inventory), inventory.parent)
    assert (key.state, key.record()) == (KeyState.UNKNOWN, Path.home() / ".ssh" / "own_h")
    assert logs_in(inventory)


def test_no_file_of_keys_means_no_trust(mini_hosts, trusted, tmp_path):
    """Neither an inventory's file that is missing nor 'none' falls back to another file or to no check."""
    host = mini_hosts.start("web")
    trusted(host.known())
    entry = {"address": host.address, "port": host.port}

    refused(mini_hosts.inventory({"h": entry | {"known_hosts": str(tmp_path / "absent")}}), kind=UnknownKey)
    config("UserKnownHostsFile none\nStrictHostKeyChecking no\n")
    inventory = mini_hosts.inventory({"h": entry})
    refused(inventory, kind=UnknownKey)
    (key,), _ = care.keys(load_inventory(inventory), inventory.parent)
    with pytest.raises(HostError, match="no host key can be recorded: UserKnownHostsFile in ssh_config is none"):
        key.record()


def test_the_key_of_a_jump_host_can_be_trusted(mini_hosts):
    """First the jump host's key, then that of the host behind it, which could not be asked before."""
    gate, host = mini_hosts.start("gate"), mini_hosts.start("web")
    inventory = behind(mini_hosts, gate.port, host)
    text = refused(inventory, kind=UnknownKey)
    assert f"the key of jump host localhost:{gate.port} is unknown" in text

    for place in (f"localhost:{gate.port}", f"{host.address}:{host.port}"):
        found, errors = care.keys(load_inventory(inventory), inventory.parent)
        assert not errors
        assert (found[-1].place, found[-1].state) == (place, KeyState.UNKNOWN)
        found[-1].record()
    assert logs_in(inventory)


def test_new_keys_are_accepted_on_request_only(mini_hosts):
    """host_keys: accept-new records those of the jump host and the host."""
    gate, host = mini_hosts.start("gate"), mini_hosts.start("web")
    inventory = behind(mini_hosts, gate.port, host)
    refused(inventory, kind=UnknownKey)
    inventory.write_text(inventory.read_text()[:-1] + ', "host_keys": "accept-new"}')

    assert logs_in(inventory)
    assert len((Path.home() / ".ssh" / "known_hosts").read_text().splitlines()) == 2
