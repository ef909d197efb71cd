"""Commands around a trial: what they are told, what is kept of them, how they are ended."""

import os
import time
from types import SimpleNamespace

import pytest

from agents.shells import CommandShell
from orchestrator.errors import UsageError
from orchestrator.facts import When
from orchestrator.fleet.place import LOCAL, Placement, commanded
from orchestrator.fleet.remote import RemoteCommand
from orchestrator.plan import make_plan
from orchestrator.run.commands import around, carry_out
from orchestrator.spec.models import Campaign
from tests.fakes.handles import InProcess


def campaign(**changes):
    plain = {
        "campaign": "c",
        "targets": {"a": {"image": "i", "port": 1}, "b": {"image": "i", "port": 2}},
        "loads": {"burst": {"clients": 4, "requests": 100}},
    }
    return Campaign.model_validate(plain | changes)


WEB = RemoteCommand(InProcess("web", "198.18.0.1", CommandShell("web", "run-1", "198.18.0.1")))
PLACED = SimpleNamespace(server=WEB, helpers={"web": WEB})


def run(when, *commands):
    spec = campaign(variables={"table": "users"}, **{when: list(commands)})
    trial = make_plan(spec).trials[0]
    return trial, carry_out(When(when), around(spec, trial.case.name), trial, "run-1", PLACED)


@pytest.mark.process
def test_a_command_knows_its_trial_and_its_run():
    """Variables for scripts; the run's mark, so that the guard ends what it leaves running."""
    trial, (done,) = run("before", {"run": 'echo "$VOLLEY_CASE $VOLLEY_TRIAL $VOLLEY_SERVER $VOLLEY_RUN ${table}"'})

    assert done.output == f"{trial.case.name} 1 198.18.0.1 run-1 users\n"
    assert (done.when, done.host, done.status) == ("before", "web", 0)
    assert done.lasted_us > 0


def test_only_around_the_cases_that_match():
    """By glob."""
    spec = campaign(before=[{"run": "true", "cases": "b/*"}])

    assert around(spec, "a/burst").before == []
    assert len(around(spec, "b/burst").before) == 1


@pytest.mark.process
def test_the_first_that_fails_before_is_the_last_and_after_all_are_run():
    """Before a trial the rest would build on what is not there; after it, each puts something else in order."""
    _, before = run("before", {"run": "echo no >&2; exit 3"}, {"run": "true"})
    _, after = run("after", {"run": "exit 3"}, {"run": "true"})

    assert [(d.status, d.output) for d in before] == [(3, "no\n")]
    assert [d.status for d in after] == [3, 0]


@pytest.mark.process
def test_a_command_that_does_not_end_is_ended_with_its_children():
    """TERM would be for shells that listen."""
    began = time.monotonic()
    _, (done,) = run("before", {"run": "trap '' TERM; echo $$; sleep 60", "timeout": "300ms"})

    assert time.monotonic() - began < 30
    assert done.status is None
    assert not os.path.exists(f"/proc/{done.output.strip()}")


@pytest.mark.process
def test_a_child_in_the_background_holds_nothing_up():
    """Its output may go on; the command is over when the shell is."""
    began = time.monotonic()
    _, (done,) = run("before", {"run": "sleep 30 & echo $!"})

    assert time.monotonic() - began < 20
    assert done.status == 0
    os.kill(int(done.output), 9)


def test_a_host_that_is_in_no_inventory_is_refused_before_anything_starts():
    """And one that is only there for commands is brought up as well."""
    spec = campaign(before=[{"run": "true", "host": "db"}, {"run": "true"}])
    placements = {"a/burst": Placement("web", {"gen": 2})}

    assert commanded(spec, placements, ["web", "gen", "db"]) == ["db"]
    with pytest.raises(UsageError, match="'db'"):
        commanded(spec, placements, [LOCAL])


@pytest.mark.process
def test_a_script_is_in_no_command_line_and_no_environment():
    """Every user sees the one, and what it starts inherits the other. Its status and its shell are as before."""
    look = "tr '\\0' ' ' </proc/$$/cmdline; printenv VOLLEY_SCRIPT; echo \"$0 pl4nted\" >/dev/null; (exit 3)"
    _, (done,) = run("before", {"run": look})

    assert done.output.startswith("sh -c ")
    assert "pl4nted" not in done.output
    assert "printenv" not in done.output
    assert done.status == 3
