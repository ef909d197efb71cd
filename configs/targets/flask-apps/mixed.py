"""One request that does a bit of everything in Flask: a row of PostgreSQL, a value of Redis, and JSON.

psycopg 3 and redis-py, each with a pool of POOL connections for each worker process.
"""

from __future__ import annotations

import os
from functools import cache
from random import randint

import redis
from flask import Flask
from suite import READ, ROWS, pool

app = Flask(__name__)


@cache
def cached() -> redis.Redis:
    """Return the client of this process. Its pool lets a request wait for a free connection."""
    size = int(os.environ.get("POOL", "8"))
    waits = redis.BlockingConnectionPool.from_url(os.environ["REDIS_URL"], max_connections=size, decode_responses=True)
    return redis.Redis(connection_pool=waits)


@app.get("/mixed")
def mixed() -> dict[str, object]:
    with pool().connection() as connection:
        world = connection.execute(READ, (randint(1, ROWS),)).fetchone()
    return {"world": world, "greeting": cached().get("greeting")}
