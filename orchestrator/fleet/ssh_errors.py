"""What can go wrong with SSH, in words: each failure of a login becomes a HostError with the fix."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import HostError
from orchestrator.fleet.host_keys import KeyState, Recorded, fingerprint, line_of
from orchestrator.fleet.ssh_config import Hop

if TYPE_CHECKING:
    import asyncssh

TRUST = "volley hosts trust --hosts INVENTORY"
_USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


class UnknownKey(HostError):
    """No key of this host has been recorded as trusted yet, or only keys of other types."""


def unreachable(hop: Hop, error: Exception, via: Hop | None) -> HostError:
    """Return the error of a host that cannot be connected to. via: the jump host before it."""
    if via is not None:
        return HostError(
            f"{hop.label}: jump host {via.address} cannot connect to {hop.place}: {reason(error)}",
            f"check on {via.address} that it reaches {hop.place}, and that its sshd allows AllowTcpForwarding",
        )
    what = "the jump host" if hop.is_jump else "the host"
    return HostError(
        f"{hop.label}: cannot connect to {hop.place} with SSH: {reason(error)}",
        f"check that {what} is up, sshd runs and the address is right; try: ssh -v {login(hop)}",
    )


def dropped(hop: Hop, error: Exception) -> HostError:
    """Return the error of a host whose sshd closes every connection before the login."""
    return HostError(
        f"{hop.label}: {hop.place} closed the connection before the login: {reason(error)}",
        "read the log of its sshd: MaxStartups may be too low, or a ban (fail2ban, PerSourcePenalties) may be active",
    )


def refused(hop: Hop, error: asyncssh.PermissionDenied, second_factor: bool) -> HostError:
    """Return the error of a refused login. second_factor: the key was accepted and something more is wanted."""
    if second_factor:
        return HostError(
            f"{hop.label}: {hop.place} accepted the key of {hop.user} but also wants a second factor",
            f"Volley cannot answer one: in sshd_config on {hop.address}, add 'Match User {hop.user}' with "
            "'AuthenticationMethods publickey', or use another account in the inventory: user: NAME",
        )
    message = f"{hop.label}: {hop.place} refused the login of {hop.user}: {error.reason}"
    locked = _encrypted(hop)
    if locked:
        agent = "" if os.environ.get("SSH_AUTH_SOCK") else 'eval "$(ssh-agent)"; '
        return HostError(
            f"{message}; {locked} is encrypted, so it was not offered", f"unlock it: {agent}ssh-add {locked}"
        )
    absent = [] if hop.identities is None or hop.agent_identities or hop.identities else ["found none of its key files"]
    why = f" (ssh_config: {absent[0]})" if absent else ""
    port = "" if hop.port == 22 else f"-p {hop.port} "
    return HostError(
        message + why,
        f"install your public key: ssh-copy-id {port}{hop.user}@{hop.address}; or set 'key:' or 'user:' in the inventory",
    )


def unusable_key(hop: Hop, error: Exception) -> HostError:
    """Return the error of a private key that cannot be read."""
    names = ", ".join(hop.identities or ()) or "a key in ~/.ssh"
    return HostError(
        f"{hop.label}: cannot use the private key {names}: {reason(error)}",
        "check the file: ssh-keygen -y -f FILE; or name another key in the inventory: key: FILE",
    )


def untrusted(hop: Hop, key: asyncssh.SSHKey, recorded: Recorded, state: KeyState, why: str) -> HostError:
    """Return the error of a host key that is not trusted. why: the reason that a certificate was refused."""
    what = f"the key of {'jump host ' if hop.is_jump else ''}{hop.place}"
    if state is KeyState.REVOKED:
        return HostError(
            f"{hop.label}: {what} is REVOKED: {fingerprint(key)}",
            "do not connect: ask who revoked it. Then give the host a new key: ssh-keygen -A",
        )
    if state is KeyState.CHANGED:
        return _changed(hop, what, key, recorded)
    note = ""
    if state is KeyState.OTHER_TYPE:
        note = f" (recorded: only {recorded.types()})"
    elif recorded.authorities:
        note = f" (a certificate authority is recorded, but it did not certify this key: {why or 'no certificate'})"
    return UnknownKey(
        f"{hop.label}: {what} is unknown: {fingerprint(key)}{note}",
        f"compare it with the output of 'ssh-keygen -lf /etc/ssh/ssh_host_{_kind(key)}_key.pub' on the host, "
        f"then run: {TRUST}",
    )


def _changed(hop: Hop, what: str, key: asyncssh.SSHKey, recorded: Recorded) -> HostError:
    """Return the error of a host that presents another key than before: another machine may be answering for it."""
    known, file = next(each for each in recorded.keys if each[0].get_algorithm() == key.get_algorithm())
    line = line_of(file, known)
    where = f"{file}:{line}" if line else str(file)
    remove = f"ssh-keygen -R {shlex.quote(hop.key_name)} -f {shlex.quote(str(file))}"
    return HostError(
        f"{hop.label}: {what} HAS CHANGED. Another machine may be answering in its place, which is an "
        "attack, or the host has a new key. Volley did not log in.\n"
        f"     recorded:  {fingerprint(known)} ({where})\n"
        f"     presented: {fingerprint(key)}",
        f"compare the presented fingerprint with the host's own, on its console or from its administrator, not over "
        f"this network:\n     ssh-keygen -lf /etc/ssh/ssh_host_{_kind(key)}_key.pub\n"
        "     If they differ, do not connect, and report it. If they are the same, remove the old key and record the new "
        f"one:\n     {remove}\n     {TRUST}",
    )


def reason(error: Exception) -> str:
    """Return what an error says, in one line."""
    import asyncssh

    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, asyncssh.Error):
        return str(error.reason).splitlines()[0] if error.reason else type(error).__name__
    # asyncio's own text ("Connect call failed ('10.0.0.5', 22)") has a number instead of a reason.
    number = getattr(error, "errno", None) or next(iter(re.findall(r"\[Errno (\d+)\]", str(error))), 0)
    if isinstance(error, OSError) and int(number) > 0:
        return os.strerror(int(number))
    return str(getattr(error, "strerror", None) or error).splitlines()[0] if str(error) else type(error).__name__


def login(hop: Hop) -> str:
    """Return what ssh needs to log in at a hop, for hints."""
    return f"{'' if hop.port == 22 else f'-p {hop.port} '}{hop.user}@{hop.address}"


def _kind(key: asyncssh.SSHKey) -> str:
    algorithm = key.get_algorithm()
    return "rsa" if "rsa" in algorithm else "ecdsa" if "ecdsa" in algorithm else "ed25519"


def _encrypted(hop: Hop) -> str:
    """Return the first private key that could not be offered because it is encrypted; '' if there is none."""
    import asyncssh

    usual = [str(Path.home() / ".ssh" / name) for name in _USUAL_KEYS]
    for name in hop.identities if hop.identities is not None else usual:
        try:
            asyncssh.read_private_key(name)
        except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
            if isinstance(error, asyncssh.KeyEncryptionError) or "assphrase" in str(error):
                return name
        except OSError:
            continue
    return ""
