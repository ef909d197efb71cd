"""A CPU-bound endpoint in Flask behind a rate limit: it checks a token for about 3 ms, and refuses early with 429.

LIMIT is what all workers together serve in a second; 0 serves everything that comes.
"""

from __future__ import annotations

import os

from flask import Flask, Response, request
from work import Bucket, user_of

app = Flask(__name__)
bucket = Bucket(float(os.environ.get("LIMIT", "0")))


@app.get("/whoami")
def whoami() -> Response | dict[str, str] | tuple[dict[str, str], int]:
    if not bucket.admits():
        return Response(status=429, headers={"Retry-After": "1"})
    user = user_of(request.headers.get("Authorization", ""))
    return ({"error": "invalid token"}, 401) if user is None else {"user": user}
