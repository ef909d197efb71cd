"""A WebSocket that answers each message with the same message, in FastAPI."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket

app = FastAPI(openapi_url=None)


@app.websocket("/ws")
async def echo(connection: WebSocket) -> None:
    await connection.accept()
    async for message in connection.iter_text():
        await connection.send_text(message)


@app.get("/")
async def up() -> dict[str, str]:
    return {"message": "up"}
