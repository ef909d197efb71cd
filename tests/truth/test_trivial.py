"""The server of calibration: what it answers, byte by byte and to the generators themselves."""

import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest

from agents.trivial import ANSWER, MESSAGE_ANSWER, answers, messages
from tests.truth import paced_world, websocket_world
from tests.truth.paced_world import ROOT

pytestmark = pytest.mark.process
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
# The handshake of RFC 6455, section 1.3.
UPGRADE = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
ACCEPTED = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
FRAME = b"\x81\x85maskhello"
GOOD_BYE = b"\x88\x80mask"


@contextmanager
def trivial():
    """Run the server; yield its host and port."""
    command = [sys.executable, "-m", "agents.trivial", "127.0.0.1", "0", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.parametrize("cut", range(1, len(HEAD)))
def test_a_head_in_two_parts_is_one_request(cut):
    """Wherever it is cut."""
    begun = {}
    assert answers(HEAD[:cut], begun, set(), 5) == b""
    assert answers(HEAD[cut:], begun, set(), 5) == ANSWER
    assert begun == {}


def test_each_request_of_several_is_answered():
    """What is left of the next one waits."""
    begun = {}
    assert answers(HEAD * 3 + HEAD[:7], begun, set(), 5) == ANSWER * 3
    assert answers(HEAD[7:], begun, set(), 5) == ANSWER


def test_the_handshake_is_that_of_the_standard():
    """From then on the connection carries messages."""
    talks = set()
    assert ACCEPTED in answers(UPGRADE, {}, talks, 5)
    assert talks == {5}


@pytest.mark.parametrize("cut", range(1, len(FRAME)))
def test_a_message_in_two_parts_is_one_message(cut):
    """Wherever it is cut; others on the same connection count as well."""
    begun = {}
    assert answers(FRAME + FRAME[:cut], begun, {5}, 5) == MESSAGE_ANSWER
    assert answers(FRAME[cut:], begun, {5}, 5) == MESSAGE_ANSWER
    assert begun == {}


def test_a_client_that_says_good_bye_is_closed():
    """Also behind a message."""
    assert messages(FRAME + GOOD_BYE) == (-1, b"")
    assert answers(GOOD_BYE, {}, {5}, 5) is None


@pytest.mark.parametrize(("world", "scheme"), [(paced_world, "http"), (websocket_world, "ws")])
def test_the_generators_get_an_answer_to_everything(tmp_path, world, scheme):
    """Open and closed, over several connections."""
    with trivial() as place:
        url = f"{scheme}://{place}/"
        closed = world.carry_out(world.closed_task(url, 7, count=499), tmp_path / "closed")
        opened = world.carry_out(world.open_task(url, 499, 0, duration_us=None, count=249), tmp_path / "open")
    assert Counter(closed.rows.status.tolist()) == {200: 499}
    assert Counter(opened.rows.status.tolist()) == {200: 249}
