"""The work of the overload campaign: check a signed token, and refuse what exceeds a rate. The same file on both sides.

The token is a JSON Web Token signed with HS256. Its check is made expensive, as with a slow password hash: HASHES rounds of
PBKDF2 derive the key of the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time

SECRET, SALT = os.environ.get("SECRET", "secret").encode(), b"volley"
HASHES = int(os.environ.get("HASHES", "8000"))


class Bucket:
    """Allow `per_s` requests a second in this process, and up to a tenth of a second of them at once. 0: no limit."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self.most = max(1.0, per_s / 10)
        self.left, self.at = self.most, time.monotonic()
        self.lock = threading.Lock()

    def admits(self, now: float | None = None) -> bool:
        """Return whether one more request may be served now, and count it if so."""
        if not self.per_s:
            return True
        with self.lock:
            now = time.monotonic() if now is None else now
            self.left = min(self.most, self.left + (now - self.at) * self.per_s)
            self.at = now
            if self.left < 1:
                return False
            self.left -= 1
            return True


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
