"""The work of the overload campaign: check a signed token, and refuse what exceeds a rate. The same file on both sides.

The token is a JSON Web Token signed with HS256. Its check is made expensive, as with a slow password hash: HASHES rounds of
PBKDF2 derive the key of the signature.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import json
import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path

SECRET, SALT = os.environ.get("SECRET", "secret").encode(), b"volley"
HASHES = int(os.environ.get("HASHES", "20000"))
NUMBERS = struct.Struct("dd")


class Bucket:
    """Allow `per_s` requests a second, and up to a tenth of a second of them at once. 0: no limit.

    All workers of a server share one bucket: its two numbers (what is left, and when that was) are in a file in memory.
    """

    def __init__(self, per_s: float, file: str = "/dev/shm/bucket") -> None:
        self.per_s, self.most = per_s, max(1.0, per_s / 10)
        self.file = Path(file).open("a+b")  # noqa: SIM115
        self.file.truncate(NUMBERS.size)
        self.memory = mmap.mmap(self.file.fileno(), NUMBERS.size)
        self.lock = threading.Lock()

    def admits(self, now: float | None = None) -> bool:
        """Return whether one more request may be served now, and count it if so."""
        if not self.per_s:
            return True
        # The file's lock is between processes, the other between the threads of this one.
        with self.lock:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            try:
                return self._takes(time.monotonic() if now is None else now)
            finally:
                fcntl.flock(self.file, fcntl.LOCK_UN)

    def _takes(self, now: float) -> bool:
        left, at = NUMBERS.unpack_from(self.memory)
        left = min(self.most, left + (now - at) * self.per_s)
        admitted = left >= 1
        NUMBERS.pack_into(self.memory, 0, left - admitted, now)
        return admitted


def user_of(authorization: str) -> str | None:
    """Return whom an Authorization header names; None where its token is missing, forged or has expired."""
    kind, _, token = authorization.partition(" ")
    if kind != "Bearer" or token.count(".") != 2:
        return None
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature, _signature(signed)):
        return None
    claims = json.loads(_decoded(signed.partition(".")[2]))
    return claims["sub"] if claims["exp"] > time.time() else None


def token_for(user: str, expires: int) -> str:
    """Return a signed token."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": user, "exp": expires})
    signed = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{signed}.{_signature(signed)}"


def _signature(signed: str) -> str:
    key = hashlib.pbkdf2_hmac("sha256", SECRET, SALT, HASHES)
    return _encoded(hmac.digest(key, signed.encode(), "sha256"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    sys.stdout.write(token_for("reader", 4_102_444_800) + "\n")  # until 2100
