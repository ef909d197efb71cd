"""A body of 10 MB in FastAPI, streamed in pieces of 64 KiB. A coroutine waits while the reader is slow."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

SIZE, PIECE = 10_000_000, b"x" * 65_536

app = FastAPI(openapi_url=None)


async def pieces() -> AsyncIterator[bytes]:
    """Yield the body piece by piece."""
    whole, rest = divmod(SIZE, len(PIECE))
    for _ in range(whole):
        yield PIECE
    yield PIECE[:rest]


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(pieces(), media_type="application/octet-stream", headers={"Content-Length": str(SIZE)})


@app.get("/small")
async def small() -> dict[str, str]:
    return {"message": "Hello, World!"}
