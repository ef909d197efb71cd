"""A gateway in FastAPI: each request asks CALLS slow upstreams in parallel and adds their answers up.

aiohttp's client and asyncio.gather. The pool of connections has no limit: a coroutine that waits costs little. The cost
of the client is a part of what is measured.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from fastapi import FastAPI

CALLS = int(os.environ.get("CALLS", "3"))

client: aiohttp.ClientSession


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    """Hold the client of this process while it serves."""
    global client
    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(os.environ["UPSTREAM_URL"], connector=connections) as client:
        yield


app = FastAPI(lifespan=connected, openapi_url=None)


async def ask(number: int) -> int:
    """Return the answer of one upstream."""
    async with client.get(f"/{number}", raise_for_status=True) as answer:
        return (await answer.json())["value"]


@app.get("/fan-out")
async def fan_out() -> dict[str, int]:
    return {"calls": CALLS, "sum": sum(await asyncio.gather(*(ask(number) for number in range(1, CALLS + 1))))}
