"""The command line, as a process: words, streams, exit codes, imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAIR = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml")


def volley(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.app", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        **options,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["validate", FAIR]])
def test_light_verbs_import_nothing_heavy(arguments):
    """Neither ray nor pandas nor docker, numpy or scipy."""
    code = (
        "import sys; sys.argv = ['volley', *sys.argv[1:]]\n"
        "from orchestrator.cli import app as cli\n"
        "try:\n    cli.main()\nexcept SystemExit as left:\n    assert left.code == 0, left.code\n"
        "heavy = {'ray', 'pandas', 'docker', 'numpy', 'scipy', 'asyncssh', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr


def test_validate_says_ok_and_what_would_run():
    """One line on stdout."""
    done = volley("validate", FAIR)

    assert done.returncode == 0
    assert "ok, 4 cases, 24 trials, plan " in done.stdout


def test_wrong_files_are_2_with_every_problem_and_no_traceback(tmp_path):
    """All problems on stderr, each with what to do."""
    path = tmp_path / "bad.yaml"
    path.write_text("campaign: a\ntargets: {t: {url: 'http://h/', pot: 1}}\nloads: {l: {clients: 4, duration: 5}}\n")

    done = volley("run", str(path))

    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 2
    assert done.stderr.count("\n  -> ") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command"),
        (["run"], "Missing argument"),
        (["run", "no-such.yaml"], "No such file"),
        (["run", FAIR, "--only", "z*", "--dry-run"], "matches no case"),
        (["run", FAIR, "--set", "agents=99", "--set", "loads.burst.clients=200", "--set", "loads.steady.clients=99", "--dry-run"], "99 agents"),
        (["bench", "http://127.0.0.1:1/", "-n", "5", "-d", "5s"], "both bound the load"),
        (["bench", "not a url", "-n", "50"], "is not an http:// or https:// URL"),
        (["bench", "http://127.0.0.1:1/", "-c", "40", "-n", "5"], "40 clients are more than 5 requests"),
        (["report", "/nowhere"], "cannot be read"),
    ],
)  # fmt: skip
def test_wrong_usage(arguments, words):
    """2 for what the user typed (4 for what this machine cannot place), in words, without a traceback."""
    done = volley(*arguments)

    assert done.returncode == (4 if "99 agents" in words else 2), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_dry_run_shows_the_plan_and_starts_nothing():
    """Cases, order, placement, time; as JSON too."""
    done = volley("run", FAIR, "--dry-run")
    document, again = (json.loads(volley("run", FAIR, "--dry-run", "--json").stdout) for _ in range(2))

    assert "flask/burst: closed, http1, 40 clients over 2 agents, 1000 requests" in done.stdout
    assert "server on local; agents on local 2" in done.stdout
    assert "nothing was started" in done.stdout
    assert "requests: 12,000 and as many as are answered in the time of 12 trials" in done.stdout
    assert len(document["trials"]) == 24
    # The same file: the same order, the same digest.
    assert (document["trials"], document["digest"]) == (again["trials"], again["digest"])


@pytest.mark.parametrize(("kind", "file"), [("campaign", "volley"), ("inventory", "volley-inventory")])
def test_the_shipped_schemas_are_the_real_ones(kind, file):
    """configs/*.schema.json is what 'volley schema' prints."""
    shipped = (ROOT / "configs" / f"{file}.schema.json").read_text()

    assert json.loads(volley("schema", kind).stdout) == json.loads(shipped)


def test_validate_knows_an_inventory():
    """The example that is shipped."""
    done = volley("validate", str(ROOT / "configs" / "inventories" / "example.yaml"))

    assert done.returncode == 0, done.stderr
    assert "ok, 3 hosts" in done.stdout


def test_a_placement_that_cannot_be_is_told_in_numbers_before_anything_starts(tmp_path):
    """Shortage: how many, where; exit code 4; --dry-run and run alike, and no run folder is made."""
    inventory = str(ROOT / "configs" / "inventories" / "example.yaml")

    for more in (["--dry-run"], ["--out", str(tmp_path / "runs")]):
        done = volley("run", FAIR, "--hosts", inventory, "--set", "agents=9", *more)

        assert done.returncode == 4
        assert (
            "9 agents are wanted at once; the load hosts, beside the server on web1, take 4 (gen1 2, gen2 2)"
            in done.stderr
        )
        assert "\n  -> use fewer agents" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_dry_run_shows_the_placement_on_hosts():
    """Which host runs what, without reaching any."""
    done = volley("run", FAIR, "--hosts", str(ROOT / "configs" / "inventories" / "example.yaml"), "--dry-run")

    assert done.returncode == 0
    assert "server on web1; agents on gen1 1, gen2 1" in done.stdout


def test_help_is_the_documented_one(golden):
    """Every verb and option."""
    import os

    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    text = "".join(
        volley(*verb, "--help", env=environment).stdout for verb in ([], ["run"], ["bench"], ["validate"], ["report"])
    ) + "".join(volley("hosts", *verb, "--help", env=environment).stdout for verb in ([], ["up"], ["clean"], ["trust"]))

    golden("help.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")
