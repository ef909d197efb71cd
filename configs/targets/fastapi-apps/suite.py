"""The tests of the retired public framework suite in FastAPI: plaintext, JSON, and four over PostgreSQL.

asyncpg with its own pool, without an ORM: an asynchronous driver for PostgreSQL that users of FastAPI choose.
Each worker process has a pool of POOL connections; a request holds one of them while it uses the database.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import randint, sample

import asyncpg
import jinja2
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse

ROWS = 10_000
READ = "SELECT id, randomnumber FROM world WHERE id = $1"
WRITE = "UPDATE world SET randomnumber = $1 WHERE id = $2"
ADDED = (0, "Additional fortune added at request time.")
PAGES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True)

pool: asyncpg.Pool


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    """Hold the pool of this process while it serves; without DATABASE_URL there is none, for plaintext and JSON."""
    global pool
    if "DATABASE_URL" not in os.environ:
        yield
        return
    size = int(os.environ.get("POOL", "8"))
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=size, max_size=size) as pool:
        yield


app = FastAPI(lifespan=connected, openapi_url=None)


def wanted(text: str | None) -> int:
    """Return how many queries a request asks for: 1 to 500, and 1 for what is not a whole number."""
    try:
        return min(max(int(text or ""), 1), 500)
    except ValueError:
        return 1


async def read(connection: asyncpg.Connection, number: int) -> dict[str, int]:
    """Return one row of World."""
    row = await connection.fetchrow(READ, number)
    return {"id": row[0], "randomNumber": row[1]}


@app.get("/plaintext")
async def plaintext() -> PlainTextResponse:
    return PlainTextResponse("Hello, World!")


@app.get("/json")
async def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


@app.get("/db")
async def single_query() -> dict[str, int]:
    async with pool.acquire() as connection:
        return await read(connection, randint(1, ROWS))


@app.get("/queries")
async def multiple_queries(queries: str | None = None) -> list[dict[str, int]]:
    ids = sample(range(1, ROWS + 1), wanted(queries))
    async with pool.acquire() as connection:
        return [await read(connection, each) for each in ids]


@app.get("/updates")
async def updates(queries: str | None = None) -> list[dict[str, int]]:
    # In the order of the ids, so that no two transactions wait for each other.
    ids = sorted(sample(range(1, ROWS + 1), wanted(queries)))
    async with pool.acquire() as connection, connection.transaction():
        worlds = [await read(connection, each) for each in ids]
        for world in worlds:
            world["randomNumber"] = randint(1, ROWS)
        await connection.executemany(WRITE, [(world["randomNumber"], world["id"]) for world in worlds])
    return worlds


@app.get("/fortunes")
async def fortunes() -> HTMLResponse:
    async with pool.acquire() as connection:
        rows = [tuple(row) for row in await connection.fetch("SELECT id, message FROM fortune")]
    rows.append(ADDED)
    rows.sort(key=lambda row: row[1])
    page = PAGES.get_template("fortunes.html")
    return HTMLResponse(page.render(fortunes=[{"id": number, "message": message} for number, message in rows]))
