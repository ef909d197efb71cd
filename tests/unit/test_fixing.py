"""volley doctor --fix: what it can do on which machine, and what it reports. Nothing is installed."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from agents.records import HostRole
from orchestrator.cli.app import app
from orchestrator.cli.check import doctor_lines
from orchestrator.errors import UsageError
from orchestrator.fleet import doctor, fixing
from orchestrator.fleet.doctor import Examination, fitting
from orchestrator.fleet.fixing import BOOTSTRAP, ENGINE, Fixes, Tools, carry_out, fixes_for
from orchestrator.fleet.survey import CheckState, judge, read_survey
from tests.unit.test_survey import GOOD

LOAD, SERVER = HostRole.LOAD, HostRole.SERVER
EVERYTHING = Tools(apt=True, systemd=True, dockerd=True)
NO_ENGINE = replace(EVERYTHING, dockerd=False)
PACKAGES = {LOAD: ["nghttp2-client"], SERVER: ["docker.io", "iptables"]}
STOPPED = {"docker": {"error": "Cannot connect to the Docker daemon"}}
FORBIDDEN = {"docker": {"error": "dial unix /var/run/docker.sock: connect: permission denied"}}
ELSEWHERE = {"docker_endpoint": "ssh://me@far", "docker": None}


def fixes(changes, tools=EVERYTHING):
    def missing(roles):
        return [name for role in roles if role is LOAD or not tools.dockerd for name in PACKAGES[role]]

    return fixes_for(read_survey(GOOD | changes), tools, missing)


@pytest.mark.parametrize(
    ("changes", "tools", "wanted"),
    [
        ({}, EVERYTHING, Fixes()),
        ({"h2load": None}, EVERYTHING, Fixes((LOAD,), ("nghttp2-client",))),
        ({"docker": None, "docker_command": None}, NO_ENGINE, Fixes((SERVER,), ("docker.io", "iptables"), engine=True)),
        (STOPPED, EVERYTHING, Fixes((SERVER,), (), engine=True)),
        ({"h2load": None, **STOPPED}, EVERYTHING, Fixes((LOAD, SERVER), ("nghttp2-client",), engine=True)),
        (FORBIDDEN, EVERYTHING, Fixes()),
        (ELSEWHERE, EVERYTHING, Fixes()),
        ({"h2load": None}, replace(EVERYTHING, apt=False), Fixes((LOAD,), (), lacks_apt=True)),
        ({"docker": None}, replace(NO_ENGINE, apt=False), Fixes((SERVER,), (), lacks_apt=True)),
        (STOPPED, replace(EVERYTHING, apt=False), Fixes((SERVER,), (), engine=True)),
    ],
)
def test_what_can_be_done(changes, tools, wanted):
    """Neither an engine on another machine nor the group of a user is changed, and what is there is left alone."""
    assert fixes(changes, tools) == wanted


@pytest.mark.parametrize(
    ("made", "codes", "calls", "worked"),
    [
        (Fixes((LOAD,), ("nghttp2-client",)), [0], [(BOOTSTRAP, ["load"])], True),
        (Fixes((LOAD,), ("nghttp2-client",)), [1], [(BOOTSTRAP, ["load"])], False),
        (Fixes((SERVER,), (), engine=True), [0], [(ENGINE, ["up"])], True),
        (Fixes((SERVER,), ("docker.io",), engine=True), [0, 1], [(BOOTSTRAP, ["server"]), (ENGINE, ["up"])], False),
        # Without its packages, an engine cannot be started.
        (Fixes((SERVER,), ("docker.io",), engine=True), [1], [(BOOTSTRAP, ["server"])], False),
        # One that is installed is started, whatever became of h2load.
        (
            Fixes((LOAD, SERVER), ("nghttp2-client",), engine=True),
            [1, 0],
            [(BOOTSTRAP, ["load", "server"]), (ENGINE, ["up"])],
            False,
        ),
    ],
)
def test_what_is_run(made, codes, calls, worked):
    """Packages first, and only what is missing."""
    seen, left = [], list(codes)

    def run(script, arguments):
        seen.append((script, list(arguments)))
        return left.pop(0)

    assert carry_out(made, run) is worked
    assert (seen, left) == (calls, [])


def found(changes, tools=EVERYTHING):
    """What doctor finds on such a machine."""
    checks = [fitting(check, tools) for check in judge(read_survey(GOOD | changes), [LOAD, SERVER])]
    return Examination(checks, fixes(changes, tools))


@pytest.fixture
def machines(monkeypatch):
    """Let doctor find these machines, one after the other; return the calls of scripts, which exit with `code`."""
    calls = []

    def prepare(*examined, code=0):
        left = list(examined)
        monkeypatch.setattr(doctor, "examine", lambda notify: left.pop(0))
        monkeypatch.setattr(fixing, "run_script", lambda script, arguments: calls.append(script.name) or code)
        return calls

    return prepare


def run(*arguments):
    return CliRunner().invoke(app, ["doctor", *arguments], env={"COLUMNS": "120"})


def test_it_says_what_it_does_and_checks_again(machines):
    """The page is that of the machine afterwards."""
    calls = machines(found({"h2load": None}), found({}))

    done = run("--fix")

    assert (done.exit_code, calls) == (0, ["bootstrap-host.sh"])
    assert done.stderr == "--fix: install nghttp2-client\n"
    assert done.stdout.startswith("This machine is ready: ")


def test_a_fix_that_fails_ends_with_4(machines):
    """Also where the machine can be used without it."""
    machines(found({"h2load": None}), found({"h2load": None}), code=1)

    done = run("--fix")

    assert done.exit_code == 4
    assert "'volley doctor --fix' can do this here: install nghttp2-client" in done.stdout


def test_nothing_to_do(machines):
    """Nothing is run. What only the user can decide stays a problem."""
    calls = machines(found({}), found({}), found(FORBIDDEN), found(FORBIDDEN))

    well, forbidden = run("--fix"), run("--fix")

    assert (well.exit_code, forbidden.exit_code, calls) == (0, 4, [])
    assert well.stderr == forbidden.stderr == "--fix: nothing to install or start\n"
    assert "-> sudo usermod -aG docker $USER, then log in again" in forbidden.stdout


def test_a_machine_without_apt(machines):
    """It says so, and no fix is a command of apt's."""
    tools = Tools(apt=False, systemd=False, dockerd=False)
    bare = found({"h2load": None, "docker": None, "docker_command": None}, tools)
    calls = machines(bare, bare)

    done = run("--fix")

    assert (done.exit_code, calls) == (4, [])
    assert "this machine has no apt-get" in done.stderr
    assert "with the package manager of this machine" in done.stdout
    assert "apt-get" not in done.stdout


def test_the_json_document_is_all_of_the_output(machines):
    """Before and after a fix."""
    machines(found({"h2load": None, **STOPPED}), found({"h2load": None, **STOPPED}), found({}))

    before, after = run("--json"), run("--fix", "--json")

    documents = [json.loads(done.stdout) for done in (before, after)]
    assert [document["ready"] for document in documents] == [False, True]
    assert [before.exit_code, after.exit_code] == [4, 0]
    assert documents[0]["fixes"] == {"packages": ["nghttp2-client"], "engine": True}
    assert {check["name"] for check in documents[0]["checks"] if check["state"] != CheckState.OK} == {
        "h2load", "docker engine",
    }  # fmt: skip


def test_two_steps_are_not_one():
    """A calibration needs what --fix installs."""
    done = run("--fix", "--calibrate")

    assert isinstance(done.exception, UsageError)
    assert "volley doctor --fix, then" in done.exception.hint


def test_a_limit_of_a_calibration_that_was_not_asked_for():
    """It would have no effect, so it is refused."""
    done = run("--up-to", "1000/s")

    assert isinstance(done.exception, UsageError)
    assert "add --calibrate" in done.exception.hint


def test_the_page_names_what_the_fix_would_do():
    """Only where there is something."""
    bare = found({"h2load": None, **STOPPED})
    without = doctor_lines(bare.checks, 120)

    assert "'volley doctor --fix' can do this here: install nghttp2-client, start the Docker engine" in doctor_lines(
        bare.checks, 120, fixes=bare.fixes
    )
    assert not any("--fix" in line for line in without)
    assert doctor_lines(bare.checks, 120, fixes=Fixes()) == without


def test_an_engine_without_systemd_is_started_by_the_fix():
    """systemctl would fail there."""
    (engine,) = (c for c in found(STOPPED, replace(EVERYTHING, systemd=False)).checks if c.name == "docker engine")

    assert engine.fix == "volley doctor --fix"
