"""Ctrl-C and SIGTERM at every moment of the program, from Volley's first line to its last."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.process

SIGNALS = [signal.SIGINT, signal.SIGTERM]
VALIDATE = [sys.executable, "-m", "orchestrator.cli", "validate", "configs/campaigns/database.yaml"]
MOMENTS = 20
# A program that says that it has come to one of its own functions, and waits there, once, for a signal.
HELD = """
import sys, time
from orchestrator.cli import __main__ as program, {module} as module
function = module.{function}
def hold(*arguments):
    module.{function} = function
    print("held", flush=True)
    time.sleep(60)
module.{function} = hold
sys.argv = ["volley", "validate", "--no-such-option"]
program.main()
"""


def held(module: str, function: str) -> subprocess.Popen[str]:
    """Start the program, and return it when it waits in a function of the command line."""
    return started(HELD.format(module=module, function=function))


def started(code: str) -> subprocess.Popen[str]:
    """Start a program, and return it when it says that it waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send a signal; return the exit code and what the program wrote to standard error."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize("number", SIGNALS)
def test_before_a_verb_a_signal_ends_the_program_without_a_word(number):
    """While it imports what it needs: nothing has to be cleaned up."""
    assert ended(held("streams", "prepare"), number) == (128 + number, "")


@pytest.mark.parametrize("number", SIGNALS)
def test_after_a_verb_a_signal_ends_the_program_without_another_word(number):
    """The verb has said what is wrong, and the program is about to exit."""
    code, errors = ended(held("__main__", "_leave"), number)

    assert code == 128 + number
    assert "no-such-option" in errors
    assert "interrupted" not in errors


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("moment", [("app", "spelled_out"), ("exit", "exit_code_of")], ids=["verb", "its_end"])
def test_a_verb_is_interrupted_in_an_orderly_way(number, moment):
    """Also while it is being said how the verb has ended."""
    code, errors = ended(held(*moment), number)

    assert code == 128 + number
    first, second, *_ = errors.strip().splitlines()
    assert first == "interrupted: cleaning up (press Ctrl-C again to quit immediately)"
    assert second == f"error: interrupted by signal {number:d}"
    assert "Traceback" not in errors


DROPPED = """
import time
from orchestrator.cli import __main__ as program, app
class Ending:
    def __del__(self):
        print("held", flush=True)
        time.sleep(60)
def verb(arguments):
    Ending()
    time.sleep(60)
app.spelled_out = verb
program.main()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interruption_that_python_drops_comes_again(number):
    """No exception leaves the end of an object: the verb would go on as if nothing had been asked."""
    process = started(DROPPED)
    code, errors = ended(process, number)

    assert code == 128 + number
    assert f"error: interrupted by signal {number:d}" in errors
    assert "Exception ignored" not in errors


@pytest.mark.parametrize("number", SIGNALS)
def test_at_no_moment_does_a_signal_bring_a_traceback(number):
    """Spread over the time that a verb takes. Until Volley's first line the signal is ignored, as Python leaves it."""
    begin = time.monotonic()
    subprocess.run(VALIDATE, capture_output=True, check=True)
    took_s = time.monotonic() - begin
    for moment in range(MOMENTS):
        process = subprocess.Popen(
            VALIDATE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
        )
        time.sleep(took_s * moment / MOMENTS)  # the moment itself; nothing is waited for
        code, errors = ended(process, number)

        assert code in (0, 128 + number), errors
        assert "Traceback" not in errors
        assert "Exception ignored" not in errors
