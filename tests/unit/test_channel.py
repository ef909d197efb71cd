"""Messages over pipes: whole or not at all."""

import io

import pytest

from agents.channel import BrokenChannel, Channel


def framed(body):
    return len(body).to_bytes(4, "big") + body


def reading(data):
    return Channel(io.BytesIO(data), io.BytesIO())


def test_messages_arrive_as_they_were_sent():
    """Bytes, text, whole-number keys; then the end."""
    out = io.BytesIO()
    messages = [{"id": 1, "value": b"\xff\x00"}, {"error": [["A", "B"], "ä"]}, {"value": {200: 3}}]
    for message in messages:
        Channel(io.BytesIO(), out).send(message)
    channel = reading(out.getvalue())

    assert [channel.receive() for _ in messages] == messages
    assert channel.receive() is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00\x00", "inside a message"),
        (framed(b"\x81\xa2id\x01")[:-1], "inside a message"),
        (b"\xff\xff\xff\xff", "exceeds the limit"),
        (framed(b"\xc1"), "not msgpack"),
        (framed(b"\x01"), "not a map"),
    ],
)
def test_what_is_not_a_message_is_refused(data, words):
    """Cut, too long, or something else."""
    with pytest.raises(BrokenChannel, match=words):
        reading(data).receive()


def test_nobody_reads():
    """A closed pipe is the other side's end."""
    closed = io.BytesIO()
    closed.close()

    with pytest.raises(BrokenChannel, match="the other side is gone"):
        Channel(io.BytesIO(), closed).send({"id": 1})
