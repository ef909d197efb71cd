"""A run in which every text that a file, a server or a log can supply is an attack, and its page."""

from __future__ import annotations

from dataclasses import replace

from agents.records import HostDescription, HostRole
from orchestrator.analyse.cases import judge, summarise
from orchestrator.facts import Environment
from orchestrator.merge import merge
from orchestrator.report.html.run import Stored, page
from orchestrator.result import Conclusion, Finding, FindingCode, Severity, Summary, Trial
from tests.unit.facts import agent_facts, case, result, trial_facts

# Leaves an element, a script, an attribute and a template; runs where it is taken for HTML, by a browser or by plotly.
EVIL = (
    "</script><script>window.ran=1</script><img src=x onerror=window.ran=1>{{7*7}}<a href=http://198.18.0.9/>%{x}</a>"
)
# Clears the screen, sets the title and the clipboard, links, writes over the line; in one character, too; turns text around.
ESCAPES = (
    "\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://198.18.0.9/\x1b\\link\x1b]8;;\x1b\\"
    "\x9b31m\x9d0;owned\x9cold\rnew\u202e\u2066\u200b\ufeff\x85\U000e0041"
)
MARKDOWN = "](http://198.18.0.9/)![x](http://198.18.0.9/x.png)`|*_@volley\n\n# heading"


def hostile_page() -> str:
    """Return the page of a run of two hostile targets."""
    return page(*hostile_run(EVIL + ESCAPES))


def hostile_run(text: str) -> tuple[Summary, list[Trial], Stored]:
    """Return a run of two targets in which every text that can be supplied is this one."""
    cases = [case(name=f"{text}{i}/burst", target=f"{text}{i}", load=text) for i in range(2)]
    trials, counters = [], {}
    for number in range(1, 9):
        own = cases[number % 2]
        agents = [agent_facts(agent=f"{text}/{i}", url=f"http://127.0.0.1/{text}", output=text) for i in range(2)]
        hosts = [replace(use, host=text) for use in trial_facts().hosts]
        facts = trial_facts(number=number, block=number // 2, case=own, agents=agents, hosts=hosts, error=None)
        results = [result(agent, [900 + number + i for i in range(500)]) for agent in agents]
        trial = judge(facts, results)
        doubt = Finding(FindingCode.RESPONSE_MISMATCH, Severity.SUSPECT, {"answer_body": text}, text, text)
        trials.append(replace(trial, findings=[*trial.findings, doubt]))
        counters[number] = merge(results)
    summary = summarise(text, cases, trials, 1, cases[0].target, 0.03)
    comparisons = [replace(c, reason=text, conclusion=Conclusion.FASTER) for c in summary.comparisons]
    host = HostDescription(text, HostRole.SERVER, text, [0], 1, docker=text, cgroup=text)
    environment = Environment(text, text, text, text, 1, text, [host], {text: text})
    stored = Stored(text, environment, f"campaign: {text}\n", counters.__getitem__)
    return replace(summary, comparisons=comparisons), trials, stored
