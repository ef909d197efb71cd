"""The registry of findings: every code is complete, documented and provoked, and every sentence is for a person."""

import copy
import pickle
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from string import Formatter
from typing import Any

import pytest

from agents.generators.handshakes import Handshakes
from agents.plain import BadRecord, from_plain
from agents.probe import SPEAKS
from agents.room import FolderRoom
from agents.tls import NEEDS_CERTIFICATE, NO_TLS, OTHER_NAME, UNTRUSTED
from deploy.docs.markdown import blocks
from orchestrator.analyse import people
from orchestrator.analyse.cases import case_result, judge, summarise
from orchestrator.analyse.findings import RULES, registry
from orchestrator.analyse.findings.single import singles
from orchestrator.analyse.findings.template import FORMATS, Wording
from orchestrator.facts import CommandDone, Degraded, PlannedRequest
from orchestrator.result import FindingCode, Severity
from tests.conftest import ROOT
from tests.unit import page_runs
from tests.unit.facts import (
    agent_facts,
    case,
    host_use,
    result,
    server_facts,
    service_facts,
    steady_case,
    trial_facts,
)
from tests.unit.judged_trials import FULL, OPEN, STEADY, open_agents, steady_agents, trial
from tests.unit.test_findings import PROVOKED
from tests.unit.test_findings_in_numbers import FULL_RATE, NUMBERS, over_seconds, unequal_agents
from tests.unit.test_precision import WANTED

pytestmark = pytest.mark.table
NO_LOAD = {"error": "x", "agents": [], "t0_ns": None}
SECOND = agent_facts(agent="local/1")
WORDINGS = [(code, name) for code, entry in registry.REGISTRY.items() for name in entry.wordings]


def commands(when, output):
    return [CommandDone(when, "db", 1, 5, output)]


def further():
    """Trials that show the wordings that the other tests do not."""
    yield trial(server=server_facts(state="not-ready", detail="no answer"), **NO_LOAD)
    spoken = (f"{SPEAKS} HTTP/1.1", f"{OTHER_NAME} 'a'", NO_TLS, NEEDS_CERTIFICATE, f"{UNTRUSTED}: self-signed")
    for detail in ("no answer within 4 s", "Connection refused", *spoken):
        yield trial(server=server_facts(state="not-ready", detail=detail), case=case(external=True), **NO_LOAD)
    for exit_code in (None, 1):
        yield trial(server=server_facts(running=False, exit_code=exit_code, last_line="no such table: users"))
    yield from about_answers()
    for status in (401, 404, 405):
        yield trial(server=server_facts(state="mismatch", status=status, asked="POST /x"), **NO_LOAD)
    yield trial(case=case(clients=8, requests=2, agents_asked=4))
    for connects in (100, 490):
        agents = [agent_facts(agent=f"local/{n}", connects=connects) for n in range(2)]
        yield trial(agents=agents, server=server_facts(asked_to_close=True))
    yield trial(server=server_facts(running=False))
    yield trial(server=server_facts(last=replace(FULL, major_faults=23_000)))
    yield trial(server=server_facts(afterwards="not-ready", afterwards_detail="no answer"))
    yield trial(server=server_facts(afterwards="mismatch", afterwards_detail="status 500"))
    yield trial(server=server_facts(body_bytes=13), agents=[agent_facts(body_bytes=500 * 9), SECOND])
    wrong = agent_facts(checked=50, unexpected={0: 2}, unexpected_example={0: "status 200, 2 bytes: body 'no'"})
    yield trial(agents=[wrong, SECOND])
    yield trial(case=case(mix=[PlannedRequest("cart", "GET", "/cart", 1.0)]), agents=[wrong, SECOND])
    for status in (101, 403):
        no_answer = server_facts(
            state="mismatch", status=status, detail="it refused the handshake", asked="WebSocket /ws"
        )
        yield trial(case=case(protocol="websocket"), server=no_answer, **NO_LOAD)
    yield trial(agents=[agent_facts(handshakes=Handshakes({900: 400}, {403: 1, 0: 1})), SECOND])
    yield trial(case=case(cpus=None))
    yield trial(services=[service_facts(running=False)])
    yield trial(services=[service_facts(state="not-started", detail="prepare command 1 failed")], **NO_LOAD)
    yield trial(services=[service_facts(oom_killed=True, memory_bytes=None, last=None)])
    yield trial(services=[service_facts(cpus=None, closing=server_facts().closing)])
    yield trial(services=[service_facts(closing=replace(server_facts().closing, throttled_periods=2))])
    yield trial(
        case=steady_case(protocol="http2"),
        window_start_us=STEADY["window_start_us"],
        window_end_us=STEADY["window_end_us"],
        agents=steady_agents(sockets_fewest=3),
        server=server_facts(afterwards="ready"),
    )
    yield trial(agents=[agent_facts(connects=25), agent_facts(agent="local/1", connects=25)], case=case(clients=20))
    for errors in (1, 50, 500):
        yield trial(http_errors=errors)
    for agent in ({"cpu_busiest": 0.9, "waiting_share": 0.05}, {"cpu_busiest": 0.3, "waiting_share": 0.5}):
        yield trial(agents=[agent_facts(**agent), SECOND])
    yield trial(ceilings_per_s={"local": 520.0})
    yield trial(hosts=[host_use(ports=42, held=41)], agents=[agent_facts(failed_connects=3), SECOND])
    yield trial(hosts=[host_use(ports=42, held=41)], shared_host=False)
    yield trial(hosts=[host_use(free_share=0.01)])
    yield trial(hosts=[], agents=[agent_facts(waiting_share=0.2), SECOND])
    yield trial(hosts=[host_use(dropped_packets=100)])
    yield trial(hosts=[host_use(steal_share=0.05)])
    yield trial(**STEADY, agents=[replace(steady_agents()[0], crossing=19, started=501), steady_agents()[1]])
    for agents in ({"early": 3}, {"off_schedule": 3}, {"late": 300, "generator": "h2load"}):
        yield trial(**{**OPEN, "agents": open_agents(**agents)})
    yield trial(**OPEN, lag_us=300_000)
    many = steady_case(model="open", rate_per_s=200.0, protocol="http2", streams=5)
    yield trial(**{**OPEN, "case": many, "agents": open_agents(waited_for_slot=9)})
    yield trial(**OPEN | {"agents": open_agents(waited_for_slot=9, generator="h2load", sockets_most=3)})
    yield trial(**STEADY, agents=steady_agents(hung=30))
    yield trial(agents=[agent_facts(drain_us=150_000), SECOND])
    for ended in ("died", "watchdog", "rate-breaker", "cancelled", "malformed-log"):
        yield trial(agents=[agent_facts(ended=ended), SECOND])
    yield trial(agents=[agent_facts(stopped_us=5_000_000), SECOND])
    yield trial(agents=[agent_facts(moved_log=FolderRoom("/dev/shm", 3 << 20, 8 << 20)), SECOND])
    stopped = "Stopped all clients for thread #0"
    yield trial(agents=[agent_facts(ended="watchdog", output=stopped, done=None, started=None), SECOND])
    yield trial(error="host gone", agents=[], t0_ns=None)
    yield trial(error="host gone", lost=["host gone"], agents=[], t0_ns=None)
    yield trial(case=case(agents=1), agents=[agent_facts()], degraded=Degraded(case(), ["a/1"], 0.5, None, ["gone"]))
    yield trial(agents=[agent_facts(errors=["torn line"]), agent_facts(agent="local/1", boundary=2)])
    yield over_seconds([FULL_RATE * 3 // 4] * 6 + [FULL_RATE] * 4)
    yield over_seconds([FULL_RATE * 6 // 5] * 5)
    yield over_seconds([FULL_RATE] * 7 + [0] * 3)
    yield unequal_agents(6_000, round_trip_ns=5_040_000)
    yield trial(agents=[agent_facts(agent="far/0", clock_moved_ns=2_000_000), SECOND])
    for when in ("before", "after"):
        for output in ("", "no such table"):
            yield trial(**STEADY, agents=steady_agents(), commands=commands(when, output))


def about_answers():
    """Redirects, a limiter, streams and slow answers."""
    elsewhere = {"agents": [agent_facts(statuses={302: 500}), SECOND]}
    yield trial(server=server_facts(status=302, location="/login"), **elsewhere)
    yield trial(server=server_facts(status=200), **elsewhere)
    for answered, to in product(({1: 302}, {0: 302, 1: 302}), ({}, {"/a": "/x", "/b": "/x"})):
        yield page_runs.mixed(
            mix=[PlannedRequest(name, "GET", name, 1.0) for name in ("/a", "/b", "/c")],
            answered=answered,
            locations=to,
        )
    limited = [agent_facts(statuses={200: 250, 429: 250}), agent_facts(agent="local/1", statuses={200: 250, 429: 250})]
    after = server_facts(afterwards="mismatch", afterwards_status=429, afterwards_detail="status 429")
    yield trial(agents=limited, server=after, http_errors=250)
    yield trial(**STEADY, agents=steady_agents(hung=20, sockets_fewest=0))
    unsent = [agent_facts(agent=f"local/{n}", total=500, started=24, done=20, rows=20, errored=480) for n in range(2)]
    yield judge(trial_facts(agents=unsent), [result(agent, [1_000] * 20) for agent in unsent])
    for fact in ({"endless": True}, {"answer_us": 60_000_000}):
        yield trial(server=server_facts(**fact), agents=[agent_facts(ended="watchdog"), SECOND])
    crossed = [replace(agent, crossing=0) for agent in steady_agents()]
    yield trial(**STEADY, agents=crossed, server=server_facts(answer_us=60_000_000))
    for fact in ({"endless": True}, {"answer_us": 30_000_000}):
        agents = [replace(agent, rows=0, done=0, started=20, statuses={}) for agent in steady_agents()]
        yield judge(
            trial_facts(**STEADY, agents=agents, server=server_facts(**fact)), [result(agent, []) for agent in agents]
        )


def every_finding() -> Iterator:
    """Every finding that a test can provoke, of trials and of cases."""
    trials = [trial(**changes) for _, changes in PROVOKED.values()]
    for one in [*trials, *(make() for make in NUMBERS.values()), *further()]:
        yield from one.findings
    unlike = [trial(**STEADY, agents=steady_agents(), number=n, hosts=[host_use(kernel=str(n))]) for n in (1, 2)]
    yield from case_result(unlike[0].facts.case, unlike, required=1).findings
    wide = [
        trial(**STEADY, agents=[replace(a, last_end_us=a.last_end_us + k) for a in steady_agents()]) for k in (0, 1)
    ]
    for trials, precision in ((wide[:1], WANTED), (wide, replace(WANTED, narrower_than=-1.0))):
        yield from summarise("c", [wide[0].facts.case], trials, 1, None, 0.0, precision=precision).cases[0].findings


@pytest.fixture(scope="module")
def shown():
    """Every finding, and the wordings that made them."""
    used: set[int] = set()

    def spy(wording, facts):
        used.add(id(wording))
        return wording.render(facts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_render", spy)
        return list(every_finding()), used


def test_every_code_is_in_the_registry_under_its_own_name():
    """Neither a code without words nor words without a code."""
    assert set(registry.REGISTRY) >= set(FindingCode)
    assert all(code is entry.code for code, entry in registry.REGISTRY.items())


def test_a_code_that_is_no_member_is_one_object_as_members_are():
    """Wherever it is made, copied, or read from a stored run; other text is refused."""
    code = FindingCode("retried")

    assert code not in list(FindingCode)
    assert all(each is code for each in (FindingCode("retried"), copy.deepcopy(code), pickle.loads(pickle.dumps(code))))
    assert from_plain(FindingCode, "retried") is code
    assert (code, str(code), f"{code}", code.value) == ("retried",) * 4
    assert FindingCode("errors") is FindingCode.ERRORS
    for wrong in ("", "Errors", "a b", "a_b", "-a", "a-", "a\n"):
        with pytest.raises(ValueError, match="is not a valid FindingCode"):
            FindingCode(wrong)
        with pytest.raises(BadRecord, match="is not one of 'server-oom-kill', "):
            from_plain(FindingCode, wrong)
    with pytest.raises(KeyError):
        registry.finding(FindingCode("of-a-newer-volley"), Severity.SUSPECT)


def test_findings_with_a_module_of_their_own_have_their_place():
    """Behind the rule that they name, and each once."""
    found = {single.entry.code: single for single in singles()}

    assert {"retried", "no-warmup", "host-key-accepted"} <= set(found)
    for single in found.values():
        assert RULES.count(single.rule) == 1
        assert RULES.index(single.after) < RULES.index(single.rule)


def test_the_finding_of_contributing_works(monkeypatch):
    """Its module is executed as printed; code, words and rule fit each other."""
    (text,) = [b.text for b in blocks(ROOT / "CONTRIBUTING.md") if "ENTRY = Entry(" in b.text]
    module: dict[str, Any] = {}
    exec(compile(text, "CONTRIBUTING.md", "exec"), module)
    monkeypatch.setitem(registry.REGISTRY, module["CODE"], module["ENTRY"])
    slow, fast, none = (trial_facts(hosts=[host_use(governor=name)]) for name in ("powersave", "performance", None))

    (found,) = module["rule"](slow, None)

    assert found.code == "cpu-governor"
    assert found.sentence == "The CPU of host local changes its clock rate with the load (governor powersave)."
    assert [*module["rule"](fast, None), *module["rule"](none, None)] == []
    assert module["AFTER"] in RULES


def test_every_code_has_a_section_in_the_documentation():
    """At the anchor that the registry names, with the severities that the code can have."""
    path, _ = next(iter(registry.REGISTRY.values())).anchor.split("#")
    sections = dict(re.findall(r"^### (\S+)\n\n(.+?)(?=\n#|\Z)", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL))

    assert set(sections) == {entry.anchor.split("#")[1] for entry in registry.REGISTRY.values()}
    for code, entry in registry.REGISTRY.items():
        named = {s for s in Severity if re.search(s, sections[code], re.IGNORECASE)}
        assert named == set(entry.severities), code


@pytest.mark.parametrize(("code", "name"), WORDINGS)
def test_every_wording_is_made_by_some_trial(code, name, shown):
    """So that every place in every sentence has its fact."""
    assert id(registry.REGISTRY[code].wordings[name]) in shown[1]


def test_findings_have_the_severities_that_the_registry_lists(shown):
    """No more and no fewer."""
    seen = {code: {f.severity for f in shown[0] if f.code is code} for code in registry.REGISTRY}

    assert seen == {code: set(entry.severities) for code, entry in registry.REGISTRY.items()}


def test_sentences_and_fixes_are_for_a_person(shown):
    """Whole sentences; no names of fields, no Python, no counters of microseconds, no long fractions."""
    for finding in shown[0]:
        for text in (finding.sentence, finding.hint):
            words = re.sub(
                r"keepalive_requests|worker_connections|ip_local_port_range|at_most|give_up|on_agent_loss", "", text
            )
            assert not text[0].islower(), text
            assert not re.search(r"[a-z]_[a-z]|\bNone\b|[{}]|µs|\d\.\d{4}|nan", words), text
        assert finding.sentence.endswith("."), finding.sentence


def test_formats_that_a_template_names_exist():
    """An unknown format is found before a trial needs it."""
    for code, name in WORDINGS:
        wording = registry.REGISTRY[code].wordings[name]
        for text in (wording.sentence, wording.fix):
            specs = [] if callable(text) else [spec for _, fact, spec, _ in Formatter().parse(text) if fact is not None]
            assert all("|" in spec or spec in FORMATS for spec in specs), (code, name)


def test_a_sentence_has_its_facts_in_words():
    """Singular and plural, units, and three digits."""
    wording = Wording("{n:client|clients} waited {late:us} ({share:percent}) for {size:bytes}.", "Use {n:count}.")

    assert wording.render({"n": 1, "late": 12_345, "share": 0.24, "size": 5 << 20}) == (
        "1 client waited 12.3 ms (24 %) for 5 MiB.",
        "Use 1.",
    )
    assert wording.render({"n": 1234, "late": 12_300_000, "share": 0.00153, "size": 1}) == (
        "1,234 clients waited 12.3 s (0.153 %) for 0.000000954 MiB.",
        "Use 1,234.",
    )
    with pytest.raises(KeyError):
        wording.render({"n": 1})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1234, "0.123"),
        (9.996, "10"),
        (99.96, "100"),
        (1320.4, "1,320"),
        (-27.34, "-27.3"),
        (None, "unknown"),
    ],
)
def test_numbers_have_three_digits(value, text):
    """As a person reads them."""
    assert people.digits(value) == text
