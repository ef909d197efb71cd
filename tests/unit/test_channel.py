"""Messages over pipes: whole or not at all."""

import io

import pytest

from agents.channel import Answer, BrokenChannel, Call, Channel


def framed(body):
    return len(body).to_bytes(4, "big") + body


def reading(data):
    return Channel(io.BytesIO(data), io.BytesIO())


def test_messages_arrive_as_they_were_sent():
    """Bytes, text, whole-number keys; then the end."""
    out = io.BytesIO()
    calls = [Call(1, "feed", [b"\xff\x00"]), Call(2, "arm", [[{"agent": "ä", "counts": {200: 3}}], None])]
    for call in calls:
        Channel(io.BytesIO(), out).send(call)
    channel = reading(out.getvalue())

    assert [channel.receive(Call) for _ in calls] == calls
    assert channel.receive(Call) is None


def test_an_answer_has_a_value_or_says_how_it_failed():
    """Neither is taken for a call."""
    out = io.BytesIO()
    answers = [Answer(1, b"log"), Answer(2, failed=["PortInUse", "RuntimeError"], text="port 80")]
    for answer in answers:
        Channel(io.BytesIO(), out).send(answer)
    channel = reading(out.getvalue())

    assert [channel.receive(Answer) for _ in answers] == answers
    with pytest.raises(BrokenChannel, match="not of kind Call"):
        reading(out.getvalue()).receive(Call)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00\x00", "inside a message"),
        (framed(b"\x94\x01\xc0\x90\xa0")[:-1], "inside a message"),
        (b"\xff\xff\xff\xff", "exceeds the limit"),
        (framed(b"\xc1"), "not msgpack"),
        (framed(b"\x01"), "not of kind Answer"),
    ],
)
def test_what_is_not_a_message_is_refused(data, words):
    """Cut, too long, or something else."""
    with pytest.raises(BrokenChannel, match=words):
        reading(data).receive(Answer)


def test_nobody_reads():
    """A closed pipe is the other side's end."""
    closed = io.BytesIO()
    closed.close()

    with pytest.raises(BrokenChannel, match="the other side is gone"):
        Channel(io.BytesIO(), closed).send(Call(1, "wait", []))
