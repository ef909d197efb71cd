"""Two stored runs against each other: what is found, what makes them incomparable, what a gate says. Folders are real."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from agents.records import GeneratorKind, HostDescription, HostRole, to_plain
from orchestrator.analyse import regression
from orchestrator.analyse.cases import judge
from orchestrator.cli.app import app
from orchestrator.errors import UsageError
from orchestrator.facts import Environment
from orchestrator.report import comparison, comparison_ci
from orchestrator.report.differences import unlike
from orchestrator.report.files import write_results
from orchestrator.result import Compared
from orchestrator.stored.compare import compare_stored, compare_targets
from orchestrator.stored.documents import CampaignPlan, to_document
from orchestrator.stored.evaluate import evaluate_run
from orchestrator.stored.folder import RunStore
from tests.unit.facts import case, host_use, result, server_facts, trial_facts

NOW = datetime(2026, 11, 26, 17, 30, tzinfo=UTC)
WEB1 = HostDescription("web1", HostRole.SERVER, "6.1", [0, 1], 1, docker="20.10", memory_bytes=1 << 30)
GEN1 = HostDescription("gen1", HostRole.LOAD, "6.1", [0, 1], 1, h2load="1.52")
IMAGES = {"flask": "volley/flask:1", "fastapi": "volley/fastapi:1"}
ENVIRONMENT = Environment("0.1.0", "3.11", "6.1", "x86_64", 2, None, [WEB1, GEN1], IMAGES)
PARTS = {"targets.flask.port": "a", "targets.flask.limits": "b", "loads.burst.clients": "c", "repetitions": "d"}


def run(folder, name, scale=1.0, errors=0, trials=6, cases=None, environment=None, parts=None, seed=3):
    """Store a run: service times of a millisecond times `scale`, 3 % from trial to trial."""
    store = RunStore.create(folder / name, "c")
    draw = np.random.default_rng(seed)
    planned = cases or [case()]
    plan = CampaignPlan(
        campaign="c", cases=planned, digest="d", seed=1, trials=[], required_trials=2, parts=PARTS | (parts or {})
    )
    store.write_json("plan.json", to_document(plan))
    store.write_json("environment.json", to_document(replace(ENVIRONMENT, **(environment or {}))))
    number = 0
    for block in range(trials):
        for one in planned:
            number += 1
            times = scale * math.exp(draw.normal(0, 0.03))
            agents = [replace(a, last_end_us=round(a.first_start_us + times * 1_000_000)) for a in trial_facts().agents]
            facts = trial_facts(number=number, block=block, case=one, agents=agents)
            service = [round(1_000 * times * (1 + i / 500)) for i in range(500 - errors)]
            results = [result(a, service, [500] * errors) for a in agents]
            store.add(f"{number:04d}-x", judge(facts, results), results, b"")
    store.close()
    finished = evaluate_run(store.path)
    write_results(store.path, finished.summary, finished.trials)
    return store.path


def compared(base, new, allowed=(), fail_on=None, effect=None):
    asked = regression.limits(fail_on) if fail_on else []
    return compare_stored(base, new, effect, frozenset(allowed), asked)


def conclusions(found):
    return {c.metric: c.conclusion for c in found.comparisons}


def test_a_slower_run_is_slower_in_everything_and_fails_its_gate(tmp_path):
    """Three times the time: more than two runs of one server differ by; no errors, nothing to say of them."""
    base, new = run(tmp_path, "a"), run(tmp_path, "b", scale=3, seed=4)

    found = compared(base, new, fail_on="throughput<-5%, p50>10%, errors>0.1%")
    ratios = {c.metric: c.ratio for c in found.comparisons}

    assert conclusions(found) == {
        "throughput_per_s": "slower", "service_time_p50_us": "slower", "service_time_p99_us": "slower",
        "error_share": "equivalent",
    }  # fmt: skip
    assert ratios["throughput_per_s"].low < 1 / 3 < ratios["throughput_per_s"].high
    assert ratios["service_time_p50_us"].estimate == pytest.approx(3, abs=0.2)
    assert [g.state for g in found.gates] == ["failed", "failed", "passed"]
    assert found.outcome == "FAIL"


def test_the_same_again_is_equivalent_or_not_settled_and_passes(tmp_path):
    """Another 3 % of noise: nothing is concluded against it."""
    found = compared(run(tmp_path, "a"), run(tmp_path, "b", seed=5), fail_on="throughput<-5%")

    assert set(conclusions(found).values()) <= {"equivalent", "inconclusive", "incomparable"}
    assert found.outcome == "PASS"


def test_a_half_between_two_runs_is_not_claimed_until_a_history_proves_it(tmp_path):
    """Certain in these trials, but two runs of one server can differ as much. Six quiet runs beside them settle it."""
    base, new = run(tmp_path, "a"), run(tmp_path, "a", scale=1.3, seed=4)

    found = compared(base, new, fail_on="throughput<-5%, p99>10%")
    page = " ".join(" ".join(str(piece) for piece in comparison.render(found)).split())
    for seed in range(6):
        run(tmp_path, "a", seed=50 + seed)
    run(tmp_path, "a", seed=60, scale=3, environment={"images": {"flask": "other"}})  # not the same: no variation
    known = compared(base, new, fail_on="throughput<-5%, p99>10%")

    assert conclusions(found) == {
        "throughput_per_s": "differs in this sample", "service_time_p50_us": "differs in this sample",
        "service_time_p99_us": "differs in this sample", "error_share": "equivalent",
    }  # fmt: skip
    assert [g.state for g in found.gates] == ["undecided", "undecided"]
    assert found.outcome is None
    assert "interleave both in one campaign to claim it" in page
    assert "10 % (throughput" in page
    assert "assumed" in page
    assert CliRunner().invoke(app, ["compare", str(base), str(new), "--fail-on", "p99>10%"]).exit_code == 99
    assert (conclusions(known)["throughput_per_s"], known.outcome) == ("slower", "FAIL")
    assert known.comparisons[0].between_runs.runs == 6
    assert "measured on 6 other runs" in comparison_ci.markdown(known, NOW)


@pytest.mark.parametrize("disturbed", [1, 2])
def test_a_run_that_was_disturbed_proves_nothing(tmp_path, disturbed):
    """Three times slower, but other VMs took half of the CPU time: of that run alone, or of both without a history."""
    base, new = run(tmp_path, "a"), run(tmp_path, "b", scale=3, seed=4)
    for path in [path for each in (new, base)[:disturbed] for path in (each / "trials").glob("*/trial.json")]:
        document = json.loads(path.read_text())
        document["facts"]["hosts"] = [to_plain(host_use(steal_share=0.5))]
        path.write_text(json.dumps(document))
        (path.parent / "checksums.json").unlink()

    found = compared(base, new, fail_on="throughput<-5%")

    assert conclusions(found)["throughput_per_s"] == "differs in this sample"
    assert "the machine was disturbed [host-steal]" in found.comparisons[0].reason
    assert [g.state for g in found.gates] == ["undecided"]
    assert CliRunner().invoke(app, ["compare", str(base), str(new), "--fail-on", "p99>10%"]).exit_code == 0


def test_more_errors_are_a_difference_in_points(tmp_path):
    """From none to 2 %: a ratio does not exist."""
    found = compared(run(tmp_path, "a"), run(tmp_path, "b", errors=10), fail_on="errors>0.5%")
    (errors,) = [c for c in found.comparisons if c.metric == "error_share"]

    assert errors.ratio is None
    assert errors.difference.estimate == pytest.approx(0.02)
    assert errors.conclusion == "slower"
    assert found.outcome == "FAIL"


def test_a_change_that_may_be_noise_is_undecided_and_says_how_much_more(tmp_path):
    """Two trials a side, 6 % apart: beyond the limit, but that may be noise."""
    found = compared(run(tmp_path, "a", trials=2), run(tmp_path, "b", 1.06, trials=2, seed=9), fail_on="throughput<-3%")

    assert [g.state for g in found.gates] == ["undecided"]
    assert "would settle it" in found.gates[0].reason
    assert found.outcome is None


CHANGES = {
    "image": ({"environment": {"images": {"flask": "volley/flask:2"}}}, ("image of flask", "volley/flask:1", "volley/flask:2")),
    "limits": ({"cases": [case(memory_bytes=200 << 20)]}, ("memory_bytes", str(100 << 20), str(200 << 20))),
    "load": ({"cases": [case(clients=80)]}, ("clients", "40", "80")),
    "target": ({"parts": {"targets.flask.port": "z"}}, ("targets.flask.port", "(not kept, it can hold secrets)")),
    "hosts": (
        {"environment": {"hosts": [WEB1, replace(GEN1, cores=[0])]}},
        ("cores of gen1 (load)", "2", "1"),
    ),
    "versions": (
        {"environment": {"hosts": [WEB1, replace(GEN1, h2load="1.53")]}},
        ("h2load of gen1 (load)", "1.52", "1.53"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_what_differs_is_told_with_both_values_and_nothing_is_compared(tmp_path, kind):
    """Unless it is said to be what is compared: then the rest still has to be the same."""
    changes, (key, *values) = CHANGES[kind]
    base, new = run(tmp_path, "a"), run(tmp_path, "b", **changes)

    found = compared(base, new)
    (difference,) = found.comparisons[0].differences
    page = " ".join(" ".join(str(piece) for piece in comparison.render(found)).split())

    assert set(conclusions(found).values()) == {"incomparable"}
    assert (difference.kind, difference.key) == (kind, key)
    assert [difference.baseline, difference.candidate] == values * (2 // len(values))
    assert " ".join(unlike([difference])) in page
    assert f"--allow {kind}" in page
    assert not found.comparable
    assert "throughput_per_s" in {c.metric for c in compared(base, new, [kind]).comparisons if c.ratio is not None}


def test_another_generator_than_planned_is_a_difference_of_the_load(tmp_path):
    """paced takes the place of h2load where that is missing; the plan names h2load all the same."""
    paced = case(generator=GeneratorKind.PACED)
    base, new = run(tmp_path, "a"), run(tmp_path, "b", cases=[paced])
    for each in (base, new):
        plan = json.loads((each / "plan.json").read_text())
        plan["cases"][0]["generator"] = "h2load"
        (each / "plan.json").write_text(json.dumps(plan))

    found = compared(base, new)

    (difference,) = found.comparisons[0].differences
    assert (difference.kind, difference.key, difference.baseline, difference.candidate) == (
        "load", "generator", "h2load", "paced",
    )  # fmt: skip
    assert unlike([difference]) == ["generator: h2load → paced"]
    assert not found.comparable
    assert compared(base, base).comparisons[0].differences == []
    # The run's own pages name what sent it, too.
    (summarised,) = evaluate_run(new).summary.cases
    assert summarised.planned.generator == "paced"


def test_every_difference_is_told_not_the_first(tmp_path):
    """All of it at once."""
    new = run(tmp_path, "b", cases=[case(clients=80, memory_bytes=None)], environment={"images": {"flask": "other"}})

    found = compared(run(tmp_path, "a"), new)

    assert {d.key for d in found.comparisons[0].differences} == {"image of flask", "clients", "memory_bytes"}
    assert [d.candidate for d in found.comparisons[0].differences if d.key == "memory_bytes"] == ["(none)"]


def test_an_invalid_side_is_not_compared(tmp_path):
    """The verdict comes first; which run it was is in the reason."""
    killed = replace(server_facts().last, oom_kills=1)
    bad = run(tmp_path, "b")
    for path in (bad / "trials").glob("*/trial.json"):
        document = json.loads(path.read_text())
        document["facts"]["server"]["last"] = to_plain(killed)
        path.write_text(json.dumps(document))
        (path.parent / "checksums.json").unlink()

    found = compared(run(tmp_path, "a"), bad, fail_on="throughput<-5%")

    assert set(conclusions(found).values()) == {"incomparable"}
    assert f"flask/burst of {bad.name} is INVALID" in found.comparisons[0].reason
    assert found.outcome is None


def test_targets_of_one_run_are_paired_and_any_can_be_the_baseline(tmp_path):
    """Without a second run."""
    both = [case(), case(name="fastapi/burst", target="fastapi")]
    one = run(tmp_path, "a", cases=both)

    found = compare_targets(one, "fastapi", None, [])

    assert {(c.baseline, c.candidate) for c in found.comparisons} == {("fastapi", "flask")}
    assert "6 pairs" in found.comparisons[0].reason
    with pytest.raises(UsageError, match="has no target 'nope'"):
        compare_targets(one, "nope", None, [])
    with pytest.raises(UsageError, match="one target only"):
        compare_targets(run(tmp_path, "b"), None, None, [])


def test_runs_without_a_common_case(tmp_path):
    """Both are named with what they have."""
    other = run(tmp_path, "b", cases=[case(name="flask/steady", load="steady")])

    with pytest.raises(UsageError, match="no case in common"):
        compared(run(tmp_path, "a"), other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("throughput", "is not a limit"),
        ("p98>5%", "unknown metric 'p98'"),
        ("throughput<5%", "would fail without any change"),
        ("service errors>1%", "errors has no service time"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(text, message):
    """What was written, and how to write it."""
    with pytest.raises(ValueError, match=message):
        regression.limits(text)


def test_the_command_line(tmp_path):
    """Exit codes, JSON, JUnit and Markdown; errors in the user's words."""
    base, slow = str(run(tmp_path, "a")), str(run(tmp_path, "b", scale=3, seed=4))
    other = str(run(tmp_path, "c", environment={"images": {"flask": "other"}}))
    xml, page = tmp_path / "j.xml", tmp_path / "p.md"

    def volley(*arguments):
        return CliRunner().invoke(app, ["compare", *arguments])

    failed = volley(base, slow, "--fail-on", "throughput<-5%", "--junit", str(xml), "--markdown", str(page), "--json")
    document = json.loads(failed.stdout)
    suite = ElementTree.fromstring(xml.read_text())

    assert failed.exit_code == 99
    assert (document["outcome"], document["gates"][0]["state"]) == ("FAIL", "failed")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    assert "**FAIL**" in page.read_text()
    assert volley(base, base, "--fail-on", "throughput<-5%").exit_code == 0
    assert volley(base, other).exit_code == 3
    assert volley(base, other, "--allow", "image").exit_code == 0
    assert "two runs" in str(volley(base, "--allow", "image").exception)
    assert "--fail-on" in str(volley(base, slow, "--fail-on", "x").exception)
    assert "cannot be written" in str(volley(base, slow, "--junit", str(tmp_path / "no" / "j.xml")).exception)


def test_a_page_says_what_would_settle_it():
    """An empty comparison has a page."""
    empty = Compared("a", "b", [], [], [])

    assert empty.outcome is None
    assert not empty.comparable
    assert "Baseline `a`, candidate `b`; compared 2026-11-26 17:30 UTC." in comparison_ci.markdown(empty, NOW)


def test_every_percentile_can_be_gated_and_only_then_is_compared(tmp_path):
    """Each further metric makes the others harder to prove (Holm), so it is in the family only where it is asked for."""
    base, new = run(tmp_path, "a"), run(tmp_path, "b", scale=3, seed=4)

    usual = conclusions(compared(base, new))
    found = compared(
        base, new, fail_on="p50>10%, p90>10%, service p95>10%, p99>10%, p99.9>10%, max>10%, response p50>10%"
    )

    assert not {"service_time_p90_us", "service_time_max_us"} & set(usual)
    assert {"service_time_p90_us", "service_time_p95_us", "service_time_max_us"} <= set(conclusions(found))
    assert [gate.state for gate in found.gates] == [
        "failed", "failed", "failed", "failed",
        "not judged",  # 1,000 requests are too few for p99.9
        "undecided",  # a maximum may vary by this much from run to run
        "not judged",  # a closed loop
    ]  # fmt: skip
    assert "is known in none of their trials" in found.gates[4].reason
    assert found.gates[6].reason == "a closed loop has no response time"
    assert found.gates[1].interval.low > 0.1


def test_a_run_with_itself_is_the_same_run(tmp_path):
    """Also by another path to it. Its gates pass, and no advice is given."""
    base = run(tmp_path, "a")
    (tmp_path / "link").symlink_to(base)

    found = compared(base, tmp_path / "link", fail_on="p99>10%")

    assert found.same_run
    assert (found.outcome, found.gates[0].reason) == ("PASS", "both sides are the same run")
    assert "nothing to compare" in comparison.document(found)["answer"][-1]


def test_strict_fails_what_is_not_passed(tmp_path):
    """Undecided: 0, with --strict 99; not judged: 3, with --strict 99. JUnit and Markdown agree."""
    base, new = str(run(tmp_path, "a", trials=2)), str(run(tmp_path, "b", 1.06, trials=2, seed=9))
    xml, page = tmp_path / "j.xml", tmp_path / "p.md"

    def volley(limit, *more):
        files = ("--junit", str(xml), "--markdown", str(page))
        done = CliRunner().invoke(app, ["compare", base, new, "--fail-if", limit, *files, *more])
        root = ElementTree.fromstring(xml.read_text())
        return (
            done.exit_code,
            root.get("failures"),
            root.get("errors"),
            root.get("skipped"),
            "**FAIL**" in page.read_text(),
        )

    assert volley("throughput<-3%") == (0, "0", "0", "1", False)
    assert volley("throughput<-3%", "--strict") == (99, "1", "0", "0", True)
    assert volley("p99.9>3%") == (3, "0", "1", "0", False)
    assert volley("p99.9>3%", "--strict") == (99, "1", "0", "0", True)
    assert volley("throughput<-50%", "--strict") == (0, "0", "0", "0", False)


def test_a_report_writes_what_ci_shows_and_is_strict_where_it_is_asked_to_be(tmp_path):
    """The link is an option, or a variable of the environment. Without --strict a report only shows."""
    folder = run(tmp_path, "a")
    plan = json.loads((folder / "plan.json").read_text())
    term = {"text": "p99.9<1us", "metric": "p999", "at_most": True, "limit": 1.0}
    known = evaluate_run(folder).summary.cases[0].objective_time_us
    between = (known["p99"].estimate + known["max"].estimate) / 2  # neither p99 nor the maximum decides p99.9
    open_ = {"text": "p99.9<2ms", "metric": "p999", "at_most": True, "limit": between}
    page, xml = tmp_path / "p.md", tmp_path / "j.xml"

    def report(terms, *more, env=None):
        (folder / "plan.json").write_text(json.dumps(plan | {"slo": {"flask/burst": terms}}))
        files = ("--markdown", str(page), "--junit", str(xml))
        return CliRunner().invoke(app, ["report", str(folder), *files, *more], env=env).exit_code

    assert report([term]) == 0
    assert report([term], "--strict") == 99
    assert ElementTree.fromstring(xml.read_text()).get("failures") == "1"
    assert report([open_], env={"VOLLEY_REPORT_URL": "https://ci.example/7"}) == 0
    assert "⚠️ not judged" in page.read_text()
    assert "[Full report](https://ci.example/7)" in page.read_text()
    assert ElementTree.fromstring(xml.read_text()).get("errors") == "1"
    assert report([open_], "--strict") == 99
    assert report([], "--strict") == 0
