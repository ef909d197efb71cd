"""One request that does a bit of everything in FastAPI: a row of PostgreSQL, a value of Redis, and JSON.

asyncpg and redis.asyncio, each with a pool of POOL connections for each worker process.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import randint

import redis.asyncio as redis
import suite
from fastapi import FastAPI

cached: redis.Redis


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """Hold both pools of this process while it serves. That of Redis lets a request wait for a free connection."""
    global cached
    size = int(os.environ.get("POOL", "8"))
    waits = redis.BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=size, decode_responses=True)
    async with suite.connected(app), redis.Redis(connection_pool=waits) as cached:
        yield


app = FastAPI(lifespan=connected, openapi_url=None)


@app.get("/mixed")
async def mixed() -> dict[str, object]:
    async with suite.pool.acquire() as connection:
        world = await suite.read(connection, randint(1, suite.ROWS))
    return {"world": world, "greeting": await cached.get("greeting")}
