"""Commands where streams are closed or full, folders are gone, and variables are unset: the right exit code, no traceback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "fixtures" / "format1" / "bench-20261126T005555Z"
FAIR = ROOT / "configs" / "campaigns" / "flask-vs-fastapi-fair.yaml"
# Nobody listens on the discard port of this machine.
NOBODY = "http://127.0.0.1:9/"
CAMPAIGN = (
    f"campaign: odd\ndescription: größe\nvariables: {{x: größe}}\ntargets: {{a: {{url: '{NOBODY}'}}}}\n"
    "loads: {l: {clients: 1, requests: 1}}\nbefore: [{run: 'true', host: local}]\n"
)
OK, USAGE, UNREACHABLE = 0, 2, 4
# By name: the words, and the exit code. {tmp} is a folder of the test.
COMMANDS = {
    "help": (["--help"], OK),
    "validate": (["validate", str(FAIR)], OK),
    "wrong file": (["validate", "{tmp}/größe.yaml"], USAGE),
    "wrong option": (["bench", "--nonsense"], USAGE),
    "show": (["show", str(RUN)], OK),
    "runs": (["runs", str(RUN.parent)], OK),
    "report": (["report", "{tmp}/copy"], OK),
    "compare": (["compare", str(RUN), "{tmp}/copy"], OK),
    "dry run": (["run", "{tmp}/campaign.yaml", "--dry-run"], OK),
    "run": (["run", "{tmp}/campaign.yaml", "--out", "{tmp}/runs"], UNREACHABLE),
    "bench": (["bench", NOBODY, "--out", "{tmp}/runs"], UNREACHABLE),
}
# These write to both streams, and to one of them nothing.
EVERYWHERE = ("wrong file", "show")
# By name: what a shell does before the command, variables, and further commands.
ENVIRONMENTS = {
    "closed standard error": ('exec "$@" 2>&-', {}, ("bench", "compare")),
    "closed standard output": ('exec "$@" >&-', {}, ("run", "runs")),
    "closed standard input": ('exec "$@" <&-', {}, ("bench", "report")),
    "nothing is open": ('exec "$@" <&- >&- 2>&-', {}, ("run", "validate")),
    "full standard error": ('exec "$@" 2>/dev/full', {}, ("bench", "wrong option", "dry run")),
    "full standard output": ('exec "$@" >/dev/full', {}, ("help", "runs", "compare", "dry run", "run")),
    "output to head": ('"$@" | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}', {}, ("help", "report")),
    "deleted folder": ('mkdir "$GONE" && cd "$GONE" && rmdir "$GONE" && exec "$@"', {}, ("run", "bench", "validate")),
    "ASCII locale": ('exec "$@"', {"LC_ALL": "C", "PYTHONUTF8": "0"}, ("run", "compare")),
    "Latin locale": ('exec "$@"', {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONUTF8": "0"}, ("dry run",)),
    "dumb terminal": ('exec "$@"', {"TERM": "dumb"}, ("help",)),
    "without a home": ('unset HOME; exec "$@"', {}, ("run", "dry run")),
    "no columns": ('exec "$@"', {"COLUMNS": "0"}, ("help", "compare")),
    "one column": ('exec "$@"', {"COLUMNS": "1"}, ("help", "compare")),
    "no temporary folder": ('exec "$@"', {"TMPDIR": "/proc"}, ("bench",)),
    "no variables": ('exec env -i "$@"', {}, ("validate", "run")),
}
# A neighbour of the same kind is in every run of the tests; these are in 'make test-full'.
LONGER = ("closed standard input", "full standard error", "Latin locale", "dumb terminal", "without a home", "no columns",
          "no variables")  # fmt: skip
# Exit codes that differ there: what was asked for cannot be written, and a run needs a folder.
OTHERWISE = {
    ("full standard output", "help"): UNREACHABLE,
    ("full standard output", "show"): UNREACHABLE,
    ("full standard output", "runs"): UNREACHABLE,
    ("full standard output", "compare"): UNREACHABLE,
    ("full standard output", "dry run"): UNREACHABLE,
    ("deleted folder", "bench"): USAGE,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a run and a campaign."""
    made = tmp_path_factory.mktemp("odd")
    shutil.copytree(RUN, made / "copy")
    (made / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    return made


@pytest.mark.process
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in LONGER else []) for name in ENVIRONMENTS]
)
def test_every_environment(name, folder):
    """As in a service, in cron, in a container and in a pipe."""
    shell, variables, more = ENVIRONMENTS[name]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHONIO"))}
    environment = {**kept, "GONE": str(folder / f"gone-{os.getpid()}"), "PYTHONPATH": str(ROOT), **variables}
    found, expected, output = {}, {}, b""
    for command in (*EVERYWHERE, *more):
        words, code = COMMANDS[command]
        typed = [word.replace("{tmp}", str(folder)) for word in words]
        done = subprocess.run(
            ["bash", "-c", shell, "bash", str(Path(sys.executable).with_name("volley")), *typed],
            cwd=ROOT, env=environment, capture_output=True, timeout=60,
        )  # fmt: skip
        found[command], expected[command] = done.returncode, OTHERWISE.get((name, command), code)
        output += done.stdout + done.stderr

    assert found == expected, output.decode(errors="replace")
    assert b"Traceback" not in output
    assert b"Exception ignored" not in output
