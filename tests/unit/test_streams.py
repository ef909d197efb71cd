"""Standard output and error in any locale, in a pipe that is closed, and where they were never open."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import redact
from orchestrator.cli import account, streams

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "fixtures" / "format1" / "bench-20261126T005555Z"
VOLLEY = [sys.executable, "-m", "orchestrator.cli"]


def volley(*arguments, prefix=(), **environment):
    """Run a command line as a shell would; every stream is bytes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    return subprocess.run(
        [*prefix, *VOLLEY, *map(str, arguments)], cwd=ROOT, capture_output=True, timeout=60,
        env={**kept, "COLUMNS": "80", **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "plain"),
    [
        ({}, False),
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "de_DE.utf8@euro"}, False),
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, False),
        ({"LC_ALL": "POSIX"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, True),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, False),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, False),
    ],
)
def test_the_locale_decides(environment, plain):
    """What was asked for, by the variables' order; nothing asked for means UTF-8, as in a container."""
    assert streams.is_plain(environment) is plain


def test_every_character_of_a_page_has_a_plain_one():
    """None becomes a question mark."""
    pages = "".join(path.read_text() for path in (ROOT / "tests" / "golden").rglob("*.txt"))
    other = sorted({character for character in pages if not character.isascii()})

    assert other
    assert all(streams.PLAIN[ord(character)].isascii() for character in other if ord(character) in streams.PLAIN)
    assert [character for character in other if ord(character) not in streams.PLAIN] == []


def test_a_plain_stream_writes_ascii_alone():
    """Whatever comes: names of targets and messages of servers as well."""
    raw = io.BytesIO()
    old = io.TextIOWrapper(raw, encoding="utf-8")
    made = streams.stream(old, plain=True)
    made.write("1.69× of 12 µs ▁█ größe 你\n")
    made.flush()

    assert raw.getvalue() == b"1.69x of 12 us .# gr??e ?\n"
    assert not made.encoding.startswith("utf")
    assert not old.closed


@pytest.mark.parametrize(
    ("environment", "user", "completed"),
    [
        ({}, 4_000_000_000, {"HOME": "/", "USER": "user-4000000000"}),
        ({"HOME": "/home/x", "LOGNAME": "x"}, 4_000_000_000, {"HOME": "/home/x", "LOGNAME": "x"}),
        ({}, 0, {}),
    ],
)
def test_a_user_that_the_system_does_not_know(environment, user, completed):
    """As in a container that is started under any number."""
    account.complete(environment, user)

    assert environment == completed


@pytest.mark.process
@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "latin-1"}],
)
def test_an_ascii_locale_shows_every_page(environment):
    """The page, its details, help and an error; the document for programs keeps every character, escaped."""
    done = [
        volley(*arguments, **environment)
        for arguments in (
            ["show", RUN],
            ["show", RUN, "--all"],
            ["--help"],
            ["report", "größe"],
            ["run", "größe.yaml"],
        )
    ]
    document = volley("show", RUN, "--json", **environment)

    assert [each.returncode for each in done] == [0, 0, 0, 2, 2]
    assert all((each.stdout + each.stderr).isascii() for each in done)
    assert b"Traceback" not in b"".join(each.stderr for each in done)
    assert b"service time" in done[0].stdout
    assert b"->" in done[3].stderr
    assert json.loads(document.stdout) == json.loads(volley("show", RUN, "--json").stdout)


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["show", RUN], ["show", RUN, "--all"], ["show", RUN, "--json"], ["--help"]])
def test_a_reader_that_has_gone_changes_nothing(arguments):
    """As `| head` does: no message, and the exit code of the result. The pipe is closed before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as gone:
        done = subprocess.run(
            [*VOLLEY, *map(str, arguments)], cwd=ROOT, stdout=gone, stderr=subprocess.PIPE, timeout=60
        )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.process
@pytest.mark.parametrize(("redirection", "code"), [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_streams_that_are_closed_are_no_bug(redirection, code):
    """A service manager may start a command without them."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *VOLLEY, "show", str(RUN)],
        cwd=ROOT, capture_output=True, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.process
def test_no_colour_where_none_is_wanted():
    """In a pipe, with NO_COLOR, and on a dumb terminal."""
    pages = [volley("show", RUN, **env).stdout for env in ({}, {"NO_COLOR": "1"}, {"TERM": "dumb"})]

    assert pages[0] == pages[1] == pages[2]
    assert b"\x1b" not in pages[0]


@pytest.mark.process
def test_a_name_that_does_not_exist_lists_the_runs_nearby():
    """And a run of the folder `runs` can be given by its name alone."""
    done = volley("show", RUN.parent / "bench-nothing")

    assert done.returncode == 2
    assert b"does not exist" in done.stderr
    assert f"     {RUN}".encode() in done.stderr


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["show", RUN], ["--version"]])
def test_an_output_on_a_full_disk_is_not_a_bug(arguments):
    """The file that standard output was redirected to cannot grow."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*VOLLEY, *map(str, arguments)], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )

    assert done.returncode == 4
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "->" in done.stderr


def test_what_is_printed_is_cleaned(monkeypatch):
    """Secrets and a terminal's sequences do not get through, colours and what Volley draws itself do."""
    monkeypatch.setattr(streams, "_clean", [])
    buffer = io.BytesIO()
    old = io.TextIOWrapper(buffer, encoding="utf-8", write_through=True)
    made = streams.stream(old, plain=False)
    redact.keep_secret(["pl4nted-secret"])
    streams.clean_with(redact.clean_output)

    made.write("\x1b[31mred\x1b[0m \x1b]0;owned\x07pl4nted\x1b[2J-secret\u202e\n")
    made.control("\x1b[2K")
    made.flush()

    assert buffer.getvalue().decode() == "\x1b[31mred\x1b[0m (hidden)\ufffd\n\x1b[2K"
    # Click writes bytes to find out what a stream takes.
    with pytest.raises(TypeError):
        made.write(b"")
