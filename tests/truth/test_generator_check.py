"""The conformance check itself: right generators pass, and each wrong one fails exactly the check of its mistake."""

import json
import sys
from pathlib import Path

import pytest

from agents.generators.conformance import State, check
from agents.generators.conformance_program import Limits, NotStarted
from agents.generators.contract import Model
from orchestrator.cli.app import invoke
from orchestrator.cli.generator import WIDTH

# It holds beside other work: what the machine does to a run is told apart from what the program does.
pytestmark = pytest.mark.process
EXAMPLE = Path(__file__).parents[2] / "configs" / "generators" / "example.py"
BOTH = (Model.OPEN, Model.CLOSED)
# Each replaces one piece of the example by a mistake that people make.
MISTAKES = {
    "ignores T0": (
        Model.CLOSED,
        "starts-at-t0",
        "        self.t0_ns = t0_ns - self.wall_ns\n",
        "        self.t0_ns = time.monotonic_ns()\n",
    ),
    "loses rows": (
        Model.CLOSED,
        "complete",
        "        self.counts[status] += 1\n",
        "        self.counts[status] += 1\n        if self.counts.total() % 10 == 0: self.lines.pop()\n",
    ),
    "adds up rounded gaps": (
        Model.OPEN,
        "due-times-even",
        "int(k * 1e9 / rate)",
        "k * int(1e6 / rate) * 1000",
    ),
    "opens more connections than clients": (
        Model.OPEN,
        "slots",
        'len(self.running) < self.task["clients"]',
        'len(self.running) < self.task["clients"] + 1',
    ),
    "waits for an answer before it sends what is due": (
        Model.OPEN,
        "sends-when-due",
        'len(self.running) < self.task["clients"]',
        'len(self.running) < min(3, self.task["clients"])',
    ),
    "loses what is under way on SIGTERM": (
        Model.CLOSED,
        "sigterm-rows",
        "loop.add_signal_handler(signal.SIGTERM, ended.cancel)",
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
    ),
    "ignores SIGTERM": (
        Model.CLOSED,
        "sigterm",
        "loop.add_signal_handler(signal.SIGTERM, ended.cancel)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    ),
    "prints no summary": (
        Model.CLOSED,
        "summary",
        "        print(json.dumps(load.summary()), flush=True)\n",
        "",
    ),
    "is ready too late": (
        Model.CLOSED,
        "ready",
        '    print("ready", flush=True)\n',
        '    time.sleep(60)\n    print("ready", flush=True)\n',
    ),
    "sends a request before go": (
        Model.CLOSED,
        "nothing-before-go",
        '    print("ready", flush=True)\n',
        "    import socket\n"
        "    with socket.socket() as warm:\n"
        "        if warm.connect_ex((load.url.hostname, load.url.port)) == 0: warm.send(load.data[0])\n"
        '    print("ready", flush=True)\n',
    ),
}


def failed(checks):
    return {each.name for each in checks if each.state is State.FAILED}


def shown(checks):
    return "\n".join(f"{c.model} {c.name} {c.state}: {c.seen} [{c.run}]" for c in checks if c.state is not State.PASSED)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails_exactly_its_check(tmp_path, mistake):
    """The example with one mistake: the check of that mistake fails, and no other."""
    model, name, right, wrong = MISTAKES[mistake]
    source = EXAMPLE.read_text()
    assert source.count(right) == 1, "the example has changed: adapt the mistake"
    program = tmp_path / "wrong.py"
    program.write_text(source.replace(right, wrong))
    limits = Limits(ready_s=1.0) if name == "ready" else Limits()
    checks = check([sys.executable, str(program)], (model,), limits)
    assert failed(checks) == {name}, shown(checks)
    broken = next(each for each in checks if each.state is State.FAILED)
    assert broken.seen
    assert broken.fix


def test_a_model_that_is_refused_is_not_a_failure(tmp_path):
    """A program that exits non-zero before `ready` does not support a model; where it supports none, it did not start."""
    program = tmp_path / "refuses.py"
    program.write_text("import sys; sys.exit('only the moon')\n")
    with pytest.raises(NotStarted, match="only the moon"):
        check([sys.executable, str(program)], BOTH)


def test_the_command_reports_one_line_per_check(tmp_path, capsys):
    """Exit code 99 and at most 80 columns for a wrong program; its own options reach it, and --json is one document."""
    program = tmp_path / "wrong.py"
    program.write_text("import sys, time\nassert sys.argv[1:] == ['--model', 'x']\nprint('hello', flush=True)\n")
    command = [sys.executable, str(program), "--model", "x"]
    assert invoke(["generator", "check", "--model", "closed", *command]) == 99
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "closed loop"
    assert lines[1] == "FAIL ready               prints the line 'ready' within 10 s"
    assert max(len(line) for line in lines) <= WIDTH
    assert invoke(["generator", "check", "--json", "--model", "closed", *command]) == 99
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == command
    assert [each["state"] for each in document["checks"]] == ["failed"]


def test_a_program_that_does_not_start(tmp_path, capsys, monkeypatch):
    """Exit code 4 and what to do: a relative path leads nowhere in the empty folder in which the program starts."""
    (tmp_path / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert invoke(["generator", "check", "./missing"]) == 4
    assert "'./missing' could not be started: No such file or directory" in capsys.readouterr().err
    assert invoke(["generator", "check", sys.executable, "mine.py"]) == 4
    assert f"write {tmp_path}/mine.py instead of mine.py" in capsys.readouterr().err
