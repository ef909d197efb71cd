"""Too few requests for a percentile is said before anything runs: which load, how many, what would suffice."""

import json

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.errors import ConfigurationError
from orchestrator.spec.enough import too_few
from orchestrator.spec.load import load


def campaign(tmp_path, loads, slo):
    file = tmp_path / "c.yaml"
    targets = {"a": {"url": "http://127.0.0.1:9/"}}
    file.write_text(json.dumps({"campaign": "c", "targets": targets, "loads": loads, "slo": slo}))
    return file


OPEN = {"model": "open", "rate": "100/s", "duration": "5s"}


@pytest.mark.parametrize(
    ("one", "slo", "warnings"),
    [
        (OPEN, "p99<1s, p95<1s", [
            "loads.one: p99 needs 1,000 requests in each trial, and 100/s for 5 s is 500. "
            "Use duration: 10s, rate: 200/s, or an objective for p95."]),
        (OPEN, "p95<1s, max<1s, mean<1s, errors<1%, throughput>1/s", []),
        (OPEN | {"duration": "10s"}, "p99<1s", []),
        ({"clients": 4, "requests": 9999}, "p99.9<1s", [
            "loads.one: p99.9 needs 10,000 requests in each trial, and it sends 9,999. "
            "Use requests: 10000, or an objective for p99."]),
        ({"clients": 4, "requests": 10000}, "p99.9<1s", []),
        ({"clients": 2, "requests": 19}, "p50<1s", [
            "loads.one: p50 needs 20 requests in each trial, and it sends 19. Use requests: 20."]),
        ({"clients": 4, "duration": "1s"}, "p99.9<1s", []),
    ],
)  # fmt: skip
def test_what_a_load_sends_and_what_its_objective_needs(tmp_path, one, slo, warnings):
    """To the request. A closed load with a duration sends what the server answers: nothing is said of it."""
    assert list(too_few(load(campaign(tmp_path, {"one": one}, {"a/*": slo})).campaign)) == warnings


def test_validate_and_the_dry_run_warn(tmp_path):
    """On stderr beside the ok, among the lines of the plan, and in its document; 80 columns; the exit code stays 0."""
    file = str(campaign(tmp_path, {"one": OPEN, "two": OPEN}, {"a/one": "p99<1s"}))
    validated = CliRunner().invoke(app, ["validate", file])
    planned = CliRunner().invoke(app, ["run", file, "--dry-run"])
    document = json.loads(CliRunner().invoke(app, ["run", file, "--dry-run", "--json"]).stdout)

    assert (validated.exit_code, planned.exit_code) == (0, 0)
    assert "warning: loads.one: p99 needs 1,000 requests" in validated.stderr
    assert max(map(len, validated.stderr.splitlines())) <= 80
    assert "is valid: 2 cases" in validated.stdout
    assert "warning: loads.one: p99 needs 1,000 requests" in planned.stdout
    assert [warning.partition(":")[0] for warning in document["warnings"]] == ["loads.one"]


@pytest.mark.parametrize(
    ("loads", "more", "message"),
    [
        ({"one": {"clients": 4, "requests": 100}}, {}, "matches a/one, a closed loop, which has no response time"),
        ({"one": OPEN}, {"saturation": {"slo": "service p99<1s"}}, "a search judges response time"),
    ],
)
def test_a_time_that_does_not_exist_is_refused(tmp_path, loads, more, message):
    """Before anything runs, with what to write."""
    file = campaign(tmp_path, loads, {"a/*": "response p99<1s"} if not more else {})
    file.write_text(json.dumps(json.loads(file.read_text()) | more))

    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert message in caught.value.problems[0].what
    assert caught.value.problems[0].hint
