"""The command line: words, streams, exit codes, imports."""

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from orchestrator.cli.app import app, invoke
from orchestrator.cli.exit import exit_code_of
from orchestrator.cli.run import can_be_read_again, text_of
from orchestrator.spec.load import load
from tests.conftest import FAKE_H2LOAD

ROOT = Path(__file__).parents[2]
FAIR = str(ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml")
EXAMPLE = str(ROOT / "configs" / "inventories" / "example.yaml")
URL = "http://127.0.0.1:1/"


@pytest.fixture(autouse=True)
def _no_host_ahead(monkeypatch):
    """Verbs that would run start no process here."""
    monkeypatch.setattr("orchestrator.fleet.spawn.start_ahead", lambda: None)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def volley(capsys):
    """Run a verb in this process; the command line that users type does no more than that."""

    def run(*arguments):
        code = invoke(list(arguments))
        return Done(code, *capsys.readouterr())

    return run


@pytest.mark.process
@pytest.mark.parametrize("arguments", [["--help"], ["validate", FAIR]])
def test_light_verbs_import_nothing_heavy(arguments):
    """Neither ray nor pandas nor docker, numpy or scipy."""
    code = (
        "import sys\n"
        "from orchestrator.cli import app as cli\n"
        "assert cli.main(sys.argv[1:]) == 0\n"
        "heavy = {'ray', 'pandas', 'docker', 'numpy', 'scipy', 'asyncssh', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_a_run_on_one_machine_imports_neither_ray_nor_ssh(tmp_path):
    """Nor what only containers and pages need, before its load. A port that refuses ends it: 4, one sentence, no table."""
    code = (
        "import sys\n"
        "from orchestrator.cli import app as cli\n"
        "assert cli.main(sys.argv[1:]) == 4\n"
        "slow = {'ray', 'asyncssh', 'asyncio', 'docker', 'httpx', 'pandas', 'scipy', 'ruamel.yaml'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "h2load").symlink_to(FAKE_H2LOAD)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "FAKE_H2LOAD": "{}"}
    bench = ["bench", "http://127.0.0.1:9/", "--out", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, "-c", code, *bench], capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "error: http://127.0.0.1:9/ does not answer: Connection refused\n  -> start the server" in done.stderr
    # There is nothing to keep, and nothing to resume.
    assert list((tmp_path / "runs").iterdir()) == []
    assert "volley resume" not in done.stderr


@pytest.mark.process
def test_the_program_is_a_process_with_an_exit_code():
    """What `python -m orchestrator.cli` prints and returns is what the verb does."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", "run", "no-such.yaml"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no-such.yaml: cannot be read: No such file or directory\n  -> check the path\n"


def test_validate_says_ok_and_what_would_run(volley):
    """One line on stdout."""
    done = volley("validate", FAIR)

    assert done.returncode == 0
    assert " is valid: 4 cases, 24 trials, plan " in done.stdout


def test_wrong_files_are_2_with_every_problem_and_no_traceback(tmp_path, volley):
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
        (["nonsense"], "error: unknown command 'nonsense'\n  -> 'volley --help' lists the commands"),
        (["run"], "error: CAMPAIGN is missing\n  -> write it as: volley run [OPTIONS] {CAMPAIGN}"),
        (["run", "no-such.yaml"], "No such file"),
        (["run", FAIR, "--only", "z*", "--dry-run"], "matches no case"),
        (["run", FAIR, "--set", "agents=99", "--set", "loads.burst.clients=200", "--set", "loads.steady.clients=99", "--dry-run"], "99 agents"),
        (["rnu"], "error: unknown command 'rnu'\n  -> did you mean run?"),
        (["bench", URL, "--cleints", "5"], "error: unknown option '--cleints'\n  -> did you mean --clients?"),
        (["bench", URL, "-c", "5s"], "error: --clients: '5s' is not a whole number\n  -> write digits only, e.g. 40"),
        (["saturate", URL, "--budget", "25s"], "error: --budget: '25s' is not a whole number\n  -> write digits only"),
        (["runs", "--last", "0"], "error: --last: 0 is out of range\n  -> write a number of at least 1"),
        (["compare", "/a", "/b", "--allow", "x"], "error: --allow: 'x' is not one of the choices\n  -> write one of: image, "),
        (["bench", URL, "--arrivals", "x"], "error: --arrivals: 'x' is not one of the choices\n  -> write one of: even, poisson"),
        (["bench", URL, "-c"], "error: option '-c' requires an argument\n  -> see 'volley --help'"),
        (["validate", FAIR, "x"], "error: unexpected argument: x\n  -> see 'volley validate --help'"),
        (["hosts", "check"], "error: --hosts is missing\n  -> add --hosts INVENTORY"),
        (["hosts", "check", "--hosts", FAIR], "is a campaign, not an inventory\n  -> name a file with 'hosts'"),
        (["run", EXAMPLE, "--dry-run"], "is an inventory, not a campaign\n  -> name a campaign file"),
        (["compare", "/nowhere", "/nowhere"], "error: /nowhere does not exist"),
        (["validate", EXAMPLE, "--set", "a=1"], "is an inventory\n  -> edit the file"),
        (["bench", URL, "-n", "5", "-d", "5s"], "error: -n: cannot be combined with -d"),
        (["bench", URL, "-n", "5", "--rate", "5"], "error: -n: cannot be combined with --rate"),
        (["bench", URL, "-d", "5"], "error: -d: '5' has no unit\n  -> write a duration as '5s', '500ms' or '1m30s'"),
        (["bench", URL, "--rate", "5/h"], "error: --rate: '5/h' is not a rate"),
        (["bench", URL, "--rate", "9" * 400], "error: --rate: '99999999999...99999' (402 characters) is out of range"),
        (["bench", URL, "-m", "5"], "error: -m: HTTP/1.1 has one request at a time on a connection\n  -> add --http2"),
        (["bench", URL, "-H", "secret"], "error: -H: is not a header\n  -> write it as -H 'NAME: VALUE'"),
        (["bench", URL, "-c", "0"], "error: -c: 0 is out of range"),
        (["bench", "not a url", "-n", "50"], "error: URL: 'not a url' is not a URL"),
        (["saturate", URL], "error: --slo: no objective given\n  -> add --slo"),
        (["saturate", URL, "--slo", "p99 < 5", "--precision", "3"], "error: --precision: '3' is not a percentage"),
        (["saturate", FAIR], "no objective given\n  -> add --slo 'p99<50ms', or a section 'saturation' to the file"),
        (["saturate", FAIR, "--slo", "p99<50ms", "--window", "5"], "error: --window: '5' has no unit"),
        (["saturate", FAIR, "--slo", "p99<50ms # x"], "error: --slo: '50ms # x' is not a duration"),
        (["sweep", URL, "--clients", "1,x"], "error: --clients: '1,x' is not a list of client counts"),
        (["sweep", FAIR, "-d", "5"], "error: -d: '5' has no unit"),
        (["sweep", FAIR, "--repeat", "0"], "error: --repeat: 0 is out of range"),
        (["doctor", "--calibrate", "--up-to", "9/s"], "error: --up-to: 9/s is too low"),
        (["compare", "/a", "--allow", "image"], "--allow applies to two runs"),
        (["compare", "/a", "/b", "--baseline", "t"], "--baseline applies to a single run"),
        (["compare", "/a", "/b", "--smallest-effect", "3"], "--smallest-effect: '3' is not a percentage"),
        (["bench", "http://127.0.0.1:1/", "-c", "40", "-n", "5"], "40 clients are more than 5 requests"),
        (["report", "/nowhere"], "does not exist"),
        (["report", str(ROOT)], "is not a run folder"),
    ],
)  # fmt: skip
def test_wrong_usage(arguments, words, volley):
    """2 for what the user typed (4 for what this machine cannot place), in words, without a traceback."""
    done = volley(*arguments)

    assert done.returncode == (4 if "99 agents" in words else 2), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def piped():
    """Return a function that puts text into a pipe, and returns what a shell writes for <(program)."""
    opened = []

    def pipe(text):
        reading, writing = os.pipe()
        opened.append(reading)
        with open(writing, "w") as file:
            file.write(text)
        return f"/dev/fd/{reading}"

    yield pipe
    for each in opened:
        os.close(each)


CAMPAIGN = f"campaign: c\ntargets: {{a: {{url: '{URL}'}}}}\nloads: {{l: {{clients: 1, requests: 1}}}}\n"


@pytest.mark.parametrize("arguments", [["validate"], ["run", "--dry-run"]])
def test_a_campaign_comes_through_a_pipe(arguments, piped, volley):
    """As in 'volley validate <(program)'. A pipe can be read once."""
    done = volley(*arguments, piped(CAMPAIGN))

    assert done.returncode == 0, done.stderr


def test_an_inventory_comes_through_a_pipe(piped, volley):
    assert "is valid: 3 hosts" in volley("validate", piped(Path(EXAMPLE).read_text())).stdout


def test_what_came_through_a_pipe_cannot_be_read_again(piped, tmp_path, monkeypatch):
    """So such a run is not resumed. Its paths are those of the current folder, and its text is kept."""
    monkeypatch.chdir(tmp_path)
    loaded = load(Path(piped(CAMPAIGN)))
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN)
    of_file = load(tmp_path / "campaign.yaml")

    assert loaded.folder == of_file.folder == tmp_path
    assert (can_be_read_again(loaded, None), can_be_read_again(of_file, None)) == (False, True)
    assert text_of(loaded) == CAMPAIGN


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/.local"), 4, "cannot use /.local: Permission denied\n  -> check"),
        (OSError(errno.EROFS, "Read-only file system", b"/x"), 4, "cannot use /x: Read-only file system"),
        (OSError(errno.EIO, "Input/output error"), 4, "cannot write to the output or the run's folder"),
        (FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"), 4, "set TMPDIR"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), 1, "this is a bug in Volley"),
    ],
)  # fmt: skip
def test_what_the_system_refuses(error, code, words, capsys, monkeypatch):
    """An unwritable home is reported as an error of the set-up; a missing file of ours is reported as a bug."""
    monkeypatch.setattr("os.dup2", lambda *numbers: None)
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1, raising=False)

    assert exit_code_of(error) == code
    assert words in capsys.readouterr().err


def test_in_a_folder_that_was_deleted(tmp_path, monkeypatch, volley):
    """The command line names files below it."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = volley("bench", URL)

    assert (done.returncode, done.stderr[:42]) == (2, "error: the current folder was deleted\n  ->")


def test_an_error_controls_no_terminal(tmp_path, volley):
    """Names of files, and what is in them."""
    path = tmp_path / "bad\x1b[2J.yaml"
    path.write_text("campaign: x\n'\u202ekey': 1\n")
    done = volley("validate", str(path))

    assert done.returncode == 2
    assert all(each.isprintable() or each == "\n" for each in done.stderr)


def test_dry_run_shows_the_plan_and_starts_nothing(volley):
    """Cases, order, placement, time; as JSON too."""
    done = volley("run", FAIR, "--dry-run")
    document, again = (json.loads(volley("run", FAIR, "--dry-run", "--json").stdout) for _ in range(2))

    assert "flask/burst: closed, http1, 40 clients over 2 agents, 1,000 requests" in done.stdout
    assert "server on local; agents on local 2" in done.stdout
    assert "nothing was started" in done.stdout
    assert "requests: 12,000 and as many as are answered in the time of 12 trials" in done.stdout
    assert len(document["trials"]) == 24
    # The same file: the same order, the same digest.
    assert (document["trials"], document["digest"]) == (again["trials"], again["digest"])


@pytest.mark.parametrize(("kind", "file"), [("campaign", "volley"), ("inventory", "volley-inventory")])
def test_the_shipped_schemas_are_the_real_ones(kind, file, volley):
    """configs/*.schema.json is what 'volley schema' prints."""
    shipped = (ROOT / "configs" / f"{file}.schema.json").read_text()

    assert json.loads(volley("schema", kind).stdout) == json.loads(shipped)


def test_validate_knows_an_inventory(volley):
    """The example that is shipped."""
    done = volley("validate", EXAMPLE)

    assert done.returncode == 0, done.stderr
    assert "is valid: 3 hosts" in done.stdout


def test_an_impossible_placement_is_reported_in_numbers_before_anything_starts(tmp_path, volley, monkeypatch):
    """Shortage: how many, where; exit code 4; --dry-run and run alike, and no run folder is made."""
    monkeypatch.setattr("orchestrator.cli.progress.commit_of", lambda file: None)
    for more in (["--dry-run"], ["--out", str(tmp_path / "runs")]):
        done = volley("run", FAIR, "--hosts", EXAMPLE, "--set", "agents=9", *more)

        assert done.returncode == 4
        assert "9 agents" in done.stderr
        assert "take 4 (gen1 2, gen2 2)" in done.stderr
        assert "\n  -> use fewer agents" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_dry_run_shows_the_placement_on_hosts(volley):
    """Which host runs what, without reaching any."""
    done = volley("run", FAIR, "--hosts", EXAMPLE, "--dry-run")

    assert done.returncode == 0
    assert "server on web1; agents on gen1 1, gen2 1" in done.stdout


def _help_pages(command, words=()):
    """Yield the words before --help of every verb."""
    yield words
    for name, verb in getattr(command, "commands", {}).items():
        yield from _help_pages(verb, (*words, name))


def test_help_is_the_documented_one(volley, golden, monkeypatch):
    """Every verb and option, under the name that users type, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", None)
    pages = [volley(*words, "--help").stdout for words in _help_pages(typer.main.get_command(app))]

    text = "\n".join(line.rstrip() for line in "".join(pages).splitlines()) + "\n"

    assert len(pages) == 26
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"(?i)python|root|orchestrator", text)
    golden("help.txt", text)
