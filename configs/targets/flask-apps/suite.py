"""The tests of the retired public framework suite in Flask: plaintext, JSON, and four over PostgreSQL.

psycopg 3 with its own pool, without an ORM: a driver for PostgreSQL that users of Flask choose. Each worker
process has a pool of POOL connections; a request holds one of them while it uses the database.
"""

from __future__ import annotations

import atexit
import os
from functools import cache
from random import randint, sample

from flask import Flask, Response, render_template, request
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

ROWS = 10_000
READ = 'SELECT id, randomnumber AS "randomNumber" FROM world WHERE id = %s'
WRITE = "UPDATE world SET randomnumber = %s WHERE id = %s"
ADDED = {"id": 0, "message": "Additional fortune added at request time."}

app = Flask(__name__)


@cache
def pool() -> ConnectionPool:
    """Return the pool of this process: made by the first request, because connections do not survive a fork."""
    size = int(os.environ.get("POOL", "8"))
    made = ConnectionPool(os.environ["DATABASE_URL"], min_size=size, max_size=size, kwargs={"row_factory": dict_row})
    # Else its threads outlive the interpreter by seconds when a worker stops.
    atexit.register(made.close)
    return made


def wanted(text: str | None) -> int:
    """Return how many queries a request asks for: 1 to 500, and 1 for what is not a whole number."""
    try:
        return min(max(int(text or ""), 1), 500)
    except ValueError:
        return 1


@app.get("/plaintext")
def plaintext() -> Response:
    return Response("Hello, World!", content_type="text/plain")


@app.get("/json")
def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


@app.get("/db")
def single_query() -> dict[str, int]:
    with pool().connection() as connection:
        return connection.execute(READ, (randint(1, ROWS),)).fetchone()


@app.get("/queries")
def multiple_queries() -> list[dict[str, int]]:
    ids = sample(range(1, ROWS + 1), wanted(request.args.get("queries")))
    with pool().connection() as connection:
        return [connection.execute(READ, (each,)).fetchone() for each in ids]


@app.get("/updates")
def updates() -> list[dict[str, int]]:
    # In the order of the ids, so that no two transactions wait for each other.
    ids = sorted(sample(range(1, ROWS + 1), wanted(request.args.get("queries"))))
    with pool().connection() as connection:
        worlds = [connection.execute(READ, (each,)).fetchone() for each in ids]
        for world in worlds:
            world["randomNumber"] = randint(1, ROWS)
        with connection.cursor() as cursor:
            cursor.executemany(WRITE, [(world["randomNumber"], world["id"]) for world in worlds])
    return worlds


@app.get("/fortunes")
def fortunes() -> str:
    with pool().connection() as connection:
        rows = connection.execute("SELECT id, message FROM fortune").fetchall()
    rows.append(ADDED)
    rows.sort(key=lambda row: row["message"])
    return render_template("fortunes.html", fortunes=rows)
