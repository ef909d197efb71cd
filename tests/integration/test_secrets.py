"""A secret planted in every place of a campaign is found nowhere: outputs, run folder, process lists, temporary files."""

import json
import os
import re
import sys

import pytest

from agents.printable import printable
from tests import planted
from tests.integration.machine import ROOT, TINY, only_run

VOLLEY = [sys.executable, "-m", "orchestrator.cli"]
PORT = 18_340
PLACES = (
    "header",
    "body",
    "query",
    "path",
    "environment",
    "named",
    "service",
    "variable",
    "argument",
    "typed",
    "marked",
)


def campaign(folder, port=PORT, **more):
    """Write a campaign with a secret in every place. Its targets echo all that they know."""
    container = {
        "build": {"context": str(TINY), "args": {"BUILD_TOKEN": "${PLANT_ARGUMENT}"}},
        "limits": {"cpus": 1, "memory": "64MiB"},
        "ready": {"timeout": "8s"},
        "path": "/${PLANT_PATH}?key=${PLANT_QUERY}",
    }
    environment = {"MODE": "echo", "OTHER": "${PLANT_ENVIRONMENT}", "DB_PASSWORD": "${PLANT_NAMED}"}
    targets = {
        "app": container | {"port": port, "environment": environment | {"PORT": str(port)}},
        "wrong": container | {"port": port + 1, "environment": environment | {"PORT": str(port + 1)}, "expect": {"body": "other"}},
        "ended": container | {"port": port + 2, "environment": environment | {"PORT": str(port + 2)},
                              "command": ["python3", "/server.py", "--fail"]},
    }  # fmt: skip
    targets["app"]["needs"] = ["side"]
    side = {"build": str(TINY), "port": port + 3,
            "environment": {"MODE": "echo", "PORT": str(port + 3), "X": "${PLANT_SERVICE}"}, "prepare": ['echo "$X"']}  # fmt: skip
    times = {"duration": "700ms", "warm_up": "100ms", "tail": "300ms", "clients": 4}
    document = {
        "campaign": "planted",
        "variables": {"token": "${PLANT_VARIABLE}"},
        "targets": targets,
        "services": {"side": side},
        "loads": {
            "sent": times | {"model": "open", "rate": "40/s", "body": "b=${PLANT_BODY}",
                             "headers": {"Authorization": "Bearer ${PLANT_HEADER}", "X-Marked": {"secret": "${PLANT_MARKED}"}}},
            "plain": times,
        },
        "exclude": ["ended/plain", "wrong/plain"],
        "repetitions": 1,
        "retries": 0,
        "before": [{"run": 'echo "it is ${token}"; printf "\\033]0;owned\\007\\033[31m"; ps -ef >/dev/null'}],
        **more,
    }  # fmt: skip
    path = folder / "planted.yaml"
    path.write_text(json.dumps(document))
    return str(path)


@pytest.fixture
def values():
    return {name: planted.planted(name) for name in PLACES}


def environment(values):
    return {**os.environ, **{f"PLANT_{name.upper()}": value for name, value in values.items()}, "COLUMNS": "120"}


def nothing_of(values, texts, out, watch):
    """Check every place where a secret could be, and that there were looks at all."""
    everywhere = [*values]
    assert watch.looks > 20
    assert not watch.seen, "\n".join(watch.seen)
    for name, text in texts.items():
        assert not planted.found_in(text.encode(), everywhere), (name, text)
        assert printable(re.sub(r"\x1b\[[0-9;]*m", "", text)) == re.sub(r"\x1b\[[0-9;]*m", "", text), name
    assert (held := planted.in_folder(out, everywhere)) == [], "\n".join(held)
    assert planted.left_in_files(everywhere) == []
    # While it lasts, h2load's URL is in a file, and nothing is in Ray's logs.
    assert {re.sub(r":.*", "", name).rpartition("/")[2] for name in watch.private} <= {"url", "body"}


@pytest.mark.provokes("response-mismatch", "server-exited")
def test_a_planted_secret_is_nowhere(tmp_path, values):
    """Containers, a service, commands, paced and h2load, a server that echoes everything, and one that fails with it."""
    out = tmp_path / "runs"
    typed = f"loads.sent.headers.X-Typed={json.dumps(values['typed'])}"
    argv = [*VOLLEY, "run", campaign(tmp_path), "--set", typed, "--out", str(out)]

    done, watch = planted.watched(argv, [*values.values()], environment(values) | {"PYTHONPATH": str(ROOT)})
    run = only_run(out)
    later = {}
    for verb in ("show", "report", "export"):
        more = {"show": ["--all"], "report": [], "export": ["--format", "openmetrics"]}[verb]
        again, _ = planted.watched([*VOLLEY, verb, str(run), *more], [*values.values()], dict(os.environ))
        later[f"{verb} out"], later[f"{verb} err"] = again.stdout, again.stderr
    summary = json.loads((run / "summary.json").read_text())
    verdicts = {case["case"]: case["verdict"] for case in summary["cases"]}
    trials = [json.loads(path.read_text())["facts"] for path in sorted(run.glob("trials/*/trial.json"))]
    logs = [path.read_text() for path in run.glob("trials/*/*.log")]

    # The load ran, with the secrets, by both generators; both failures were provoked.
    assert done.returncode == 3, done.stderr
    assert verdicts["wrong/sent"] == verdicts["ended/sent"] == "INVALID"
    statuses = {t["case"]["name"]: [a["statuses"] for a in t["agents"]] for t in trials}
    assert all("200" in each for name in ("app/sent", "app/plain") for each in statuses[name]), statuses
    assert {t["case"]["name"]: t["case"]["generator"] for t in trials}["app/sent"] == "paced"
    assert {t["case"]["name"]: t["case"]["generator"] for t in trials}["app/plain"] == "h2load"
    assert "h2load" in watch.commands
    # What was hidden was there before.
    assert any("(hidden)" in c["output"] for t in trials for c in t["commands"])
    assert len(logs) >= 4
    assert all("(hidden)" in log for log in logs)
    nothing_of(values.values(), {"out": done.stdout, "err": done.stderr, **later}, out, watch)


@pytest.mark.full
def test_a_planted_secret_is_not_in_rays_logs(tmp_path, values):
    """The same over a Ray node on this machine: its session folder is searched while it is up, and what it leaves."""
    out = tmp_path / "runs"
    argv = [*VOLLEY, "run", campaign(tmp_path, PORT + 10), "--ray", "--only", "*/sent", "--out", str(out)]

    done, watch = planted.watched(argv, [*values.values()], environment(values) | {"PYTHONPATH": str(ROOT)})

    assert done.returncode == 3, done.stderr
    assert "app/sent" in done.stdout
    assert {"raylet.out", "gcs_server.out"} <= watch.logs
    nothing_of(values.values(), {"out": done.stdout, "err": done.stderr}, out, watch)


@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_planted_secret_is_in_no_error(tmp_path, values, verb):
    """Wrong files and wrong options, with the real command."""
    path = tmp_path / "wrong.yaml"
    path.write_text(
        f"campaign: c\nloads:\n  x: {{headers: {{Authorization: '{values['header']}', Authorization: a}}}}\n"
    )
    bad_type = tmp_path / "type.yaml"
    bad_type.write_text(
        "campaign: c\ntargets: {a: {url: '${PLANT_HEADER}'}}\nloads: {x: {clients: '${PLANT_BODY}', rate: '${PLANT_PATH}'}}\n"
    )

    for arguments in ([str(path)], [str(bad_type)], [campaign(tmp_path), "--set", "loads.sent.body=[1"]):
        if verb == "run":
            arguments = [*arguments, "--out", str(tmp_path / "runs")]
        done, watch = planted.watched([*VOLLEY, verb, *arguments], [*values.values()], environment(values))

        assert done.returncode == 2, done.stderr
        assert "error: " in done.stderr
        assert not planted.found_in((done.stdout + done.stderr).encode(), values.values()), done.stderr
        assert not watch.seen
