"""The Flask side of the comparison: one JSON answer, no work."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> dict[str, str]:
    return {"message": "Hello, World!"}
