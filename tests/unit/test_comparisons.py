"""The published comparisons: their campaigns, how they are run, and the page that is made of stored runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from agents.records import HostDescription, HostRole
from benchmarks.comparisons import __main__ as comparisons
from benchmarks.comparisons.claims import CAMPAIGNS as FOLDER
from benchmarks.comparisons.claims import Step, read_claims
from benchmarks.comparisons.page import Run, campaigns_of, render
from orchestrator.cli.app import invoke
from orchestrator.facts import CommandDone, Environment, When
from orchestrator.result import CaseFinding, Finding, FindingCode, Interval, Severity, Verdict
from orchestrator.slo import Metric
from orchestrator.spec.load import load
from orchestrator.stored.evaluate import evaluate_run
from tests.made_runs import shop_run
from tests.unit import page_runs

ROOT = Path(__file__).parents[2]
CAMPAIGNS = sorted((ROOT / FOLDER).glob("*.yaml"))
CLAIMS = read_claims()
STEPS = [step for comparison in CLAIMS for step in comparison.steps]
FAIR = "flask-vs-fastapi-fair"
ENVIRONMENT = Environment("0.1.0", "3.11.7", "6.1", "x86_64", 4, None, [], {})


def run_of(made, campaign=FAIR):
    summary, trials = made
    return Run(f"{campaign}-20261126T172352Z", replace(summary, campaign=campaign), trials, ENVIRONMENT)


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Campaigns are run from the folder of the repository, and start nothing here."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PWD", str(ROOT))
    monkeypatch.setattr("orchestrator.fleet.spawn.start_ahead", lambda: None)


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_a_campaign_is_valid_and_says_what_it_is_for(path, capsys):
    """Its dry run plans it; its file begins with what it tests; every target says what an answer must be."""
    loaded = load(path)

    assert invoke(["run", str(path), "--dry-run"]) == 0
    assert loaded.campaign.campaign == path.stem
    assert loaded.campaign.compare is not None
    assert loaded.campaign.description
    assert path.read_text().splitlines()[1].startswith(("# Claim: ", "# The "))
    assert "volley run " in path.read_text() or path.stem.startswith("flask-vs-fastapi")
    if not path.stem.startswith("websocket"):
        assert all(target.expect.status == 200 for target in loaded.campaign.targets.values())


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.verb}-{step.file}")
def test_the_short_form_of_a_step_is_accepted(step, capsys):
    """Its values exist in the campaign and are valid, and its cases are there."""
    verb, *rest = step.arguments(True, throughput_per_s=300.4)
    if verb == "saturate":
        verb, rest = "validate", rest

    assert invoke([verb, *rest] if verb == "validate" else [verb, *rest, "--dry-run"]) == 0


def test_every_campaign_belongs_to_a_comparison():
    """And none is named that does not exist."""
    assert set().union(*map(campaigns_of, CLAIMS)) == {path.stem for path in CAMPAIGNS}


def test_a_load_at_twice_the_capacity_has_twice_the_throughput_before():
    """Otherwise the campaign's own rate."""
    step = Step("overload.yaml", only="*/overload", quick={"repetitions": "2"}, twice="variables.rate")

    assert step.arguments(False, 300.4) == [
        "run", "configs/campaigns/overload.yaml", "--only", "*/overload", "--set", "variables.rate=601/s",
    ]  # fmt: skip
    assert step.arguments(True)[-2:] == ["--set", "repetitions=2"]


def test_the_page_without_runs_names_every_claim_and_its_command():
    """It promises nothing."""
    page = render(CLAIMS, [])

    assert page.count("Not run yet.") == len(CLAIMS)
    for step in STEPS:
        assert f"volley {step.verb} {step.path}" in page
    assert not [line for line in page.splitlines() if len(line) > 100 and not line.startswith("<!--")]
    assert "machine:" not in page


def test_the_page_has_what_came_out():
    """The answer, each case with its interval and verdict, the machine; nothing of it is typed."""
    page = render(CLAIMS, [run_of(page_runs.settled())])

    assert "All runs below are from one machine: x86_64, 4 cores," in page
    assert f": {FAIR}-20261126T172352Z" in page
    assert re.search(r"- fastapi answers 1\.69× the requests of flask under the steady load", page)
    assert re.search(r"\| `fastapi/steady` \| VALID \| 1,7\d\d \(1,6\d\d–1,7\d\d\) \|", page)
    assert page.count("Not run yet.") == len(CLAIMS) - 1
    assert "These runs are short" not in page


def test_an_invalid_case_has_its_reason_and_no_numbers():
    """Where numbers would stand."""
    page = render(CLAIMS, [run_of(page_runs.invalid())])

    assert re.search(r"\| `fastapi/steady` \| INVALID \|  \|  \|  \| 0 \|  \|", page)
    assert "- INVALID fastapi/steady: The server container exceeded its memory limit" in page
    assert "[server-oom-kill]" in page


def test_a_doubt_has_the_severity_that_it_has_for_each_case():
    """What makes one case INVALID may make another SUSPECT: two lines, as the table says."""
    summary, trials = page_runs.settled()
    found = CaseFinding(
        FindingCode.GENERATOR_CPU, Severity.INVALID, [1], {}, "Add cores.", "It waited 40 % of the time."
    )
    less = replace(found, severity=Severity.SUSPECT, sentence="It waited 12 % of the time.")
    cases = [
        replace(case, findings=[each]) for case, each in zip(summary.cases, (found, less, less, less), strict=True)
    ]
    page = render(CLAIMS, [run_of((replace(summary, cases=cases), trials))])

    assert f"- INVALID {cases[0].case}: It waited 40 % of the time." in page
    assert f"- SUSPECT {', '.join(case.case for case in cases[1:])}: It waited 12 % of the time." in page


def test_large_bodies_have_their_first_byte_and_their_bytes_per_second():
    """In columns of their own, which other runs do not have; empty for a case without numbers."""
    summary, trials = page_runs.one_closed()
    large = replace(
        summary.cases[0], received_bytes_per_s=Interval(1.5e8, None, None), body_bytes=1e7,
        first_byte_us={Metric.P50: Interval(700.0, None, None)},
    )  # fmt: skip
    page = render(CLAIMS, [run_of((replace(summary, cases=[large, replace(large, verdict=Verdict.INVALID)]), trials))])

    assert "| first byte p50, ms | MB/s | errors |" in page
    assert re.search(r"\| VALID \| .* \| 0.7 \| 150 \| 0 \|", page)
    assert re.search(r"\| INVALID \|(  \|){5} 0 \|  \|", page)
    assert "MB/s" not in render(CLAIMS, [run_of((summary, trials))])


def test_what_services_used_is_beside_the_length_of_the_window():
    """CPU time says nothing without it. A run without services has no such list."""
    summary, trials = page_runs.one_closed()
    case = replace(summary.cases[0], services={"db": replace(summary.cases[0].server, cpu_s=1.23)})
    page = render(CLAIMS, [run_of((replace(summary, cases=[case]), trials))])

    assert "Services, in the window of a trial (5 s):" in page
    assert f"- {case.case}: db: CPU time 1.23 s" in page
    assert "Services" not in render(CLAIMS, [run_of((summary, trials))])


def test_a_search_lists_what_makes_it_suspect():
    """The doubts about the probes that carry its answer."""
    summary, trials = page_runs.confirmed()
    (search,) = summary.saturation
    passed = {probe.trial for probe in search.curve if probe.passed}
    found = Finding(FindingCode.SEND_LAG, Severity.SUSPECT, {}, "Use more agents.", "It sent late.")
    doubted = [replace(t, findings=[found]) if t.facts.number in passed else t for t in trials]

    assert "- SUSPECT t: It sent late. [send-lag]" in render(CLAIMS, [run_of((summary, doubted), "mixed")])


def test_a_run_over_hosts_names_them():
    """With their roles; the page says what hosts of the lab are. A run on one machine has no such line."""
    hosts = [
        HostDescription(name, role, "6.1", [0], 1)
        for name, role in (("web1", HostRole.SERVER), ("gen1", HostRole.LOAD), ("gen2", HostRole.SERVICE))
    ]
    run = replace(run_of(page_runs.settled()), environment=replace(ENVIRONMENT, hosts=hosts))
    page = render(CLAIMS, [run])

    assert "Over 3 hosts: web1 (server), gen1 (load), gen2 (service)." in page
    assert "those of [the lab](../how-to/use-several-hosts.md#the-lab)" in page
    assert "the lab" not in render(CLAIMS, [run_of(page_runs.settled())])


def test_short_runs_carry_no_claim():
    """The page says so before any number."""
    summary, trials = page_runs.one_closed()
    short = replace(summary, cases=[replace(case, trials=2) for case in summary.cases])
    page = render(CLAIMS, [run_of((short, trials))])

    assert page.index("**These runs are short.** Some cases have 2 trials only") < page.index("## One JSON answer")


def test_a_search_has_its_capacity_and_its_limit():
    """As its own table."""
    page = render(CLAIMS, [run_of(page_runs.confirmed(), "mixed")])

    assert "| target | verdict | capacity, req/s (95 % interval) | objective | bottleneck | probes |" in page
    assert "p99 &lt; 50 ms and errors" in page.split("| probes |")[1].splitlines()[2]
    assert not [line for line in page.splitlines() if len(line) > 100 and not line.startswith(("<!--", "|"))]


def test_what_a_command_found_after_the_load_is_on_the_page():
    """Its last line, for the case; equal lines once, and nothing that HTML would read."""
    summary, trials = page_runs.one_closed()
    done = CommandDone(When.AFTER, "local", 0, 1000, "first\n<b>answers again, 0.3 s after the load\n")
    facts = [replace(trial, facts=replace(trial.facts, commands=[done])) for trial in trials]
    page = render(CLAIMS, [run_of((summary, facts), "overload")])

    assert page.count("- url/load: &lt;b>answers again, 0.3 s after the load") == 1


def test_stored_runs_become_the_page(tmp_path, monkeypatch, capsys):
    """Given as runs or as their folder; a run of another campaign is refused with what to do."""
    run = shop_run(tmp_path, monkeypatch)
    campaign = evaluate_run(run).summary.campaign

    assert comparisons.main(["page", str(run)]) == 2
    said = capsys.readouterr().err
    assert "which is not compared" in said
    assert f"-> leave {run} out" in said
    monkeypatch.setattr(comparisons, "campaigns_of", lambda _: {campaign})
    (found,) = comparisons.stored([run.parent], CLAIMS)
    assert (found.name, found.environment) == (run.name, ENVIRONMENT)


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    """In words, not with an empty page."""
    assert comparisons.main(["page", str(tmp_path)]) == 2
    assert "error: " in capsys.readouterr().err
