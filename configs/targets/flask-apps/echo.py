"""A WebSocket that answers each message with the same message, in Flask: flask-sock, the extension of its users.

A connection occupies a thread as long as it is open: workers × threads is the most connections.
"""

from __future__ import annotations

from flask import Flask
from flask_sock import Sock
from simple_websocket import Server

app = Flask(__name__)
socket = Sock(app)


@socket.route("/ws")
def echo(connection: Server) -> None:
    while True:
        connection.send(connection.receive())


@app.get("/")
def up() -> dict[str, str]:
    return {"message": "up"}
