"""A body of 10 MB in Flask, streamed in pieces of 64 KiB. A thread is busy until the last piece is sent."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask, Response

SIZE, PIECE = 10_000_000, b"x" * 65_536

app = Flask(__name__)


def pieces() -> Iterator[bytes]:
    """Yield the body piece by piece."""
    whole, rest = divmod(SIZE, len(PIECE))
    for _ in range(whole):
        yield PIECE
    yield PIECE[:rest]


@app.get("/stream")
def stream() -> Response:
    return Response(pieces(), content_type="application/octet-stream", headers={"Content-Length": str(SIZE)})


@app.get("/small")
def small() -> dict[str, str]:
    return {"message": "Hello, World!"}
