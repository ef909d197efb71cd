"""A CPU-bound endpoint in FastAPI behind a rate limit: it checks a token for about 3 ms, and refuses early with 429.

LIMIT is what all workers together serve in a second; 0 serves everything that comes. The check is a plain function, which
FastAPI runs on a thread, so that the event loop stays free: PBKDF2 releases the interpreter's lock.
"""

from __future__ import annotations

import os
from typing import Annotated

from fastapi import FastAPI, Header, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from work import Bucket, user_of

app = FastAPI(openapi_url=None)
bucket = Bucket(float(os.environ.get("LIMIT", "0")))


@app.get("/whoami", response_model=None)
async def whoami(authorization: Annotated[str, Header()] = "") -> Response | dict[str, str]:
    if not bucket.admits():
        return Response(status_code=429, headers={"Retry-After": "1"})
    user = await run_in_threadpool(user_of, authorization)
    return JSONResponse({"error": "invalid token"}, 401) if user is None else {"user": user}
