"""The conformance check on a machine that stands still: what is repeated, and which outcome counts."""

import pytest

from agents.generators import conformance
from agents.generators.conformance import ATTEMPTS, _Runner
from agents.generators.conformance_closed import basic
from agents.generators.conformance_machine import Watch
from agents.generators.conformance_program import Limits, Outcome


def runner(monkeypatch, seen):
    """A runner whose runs leave (rules broken, whether the machine stood still), one after the other."""
    monkeypatch.setattr(conformance, "_broken", lambda run, outcome: int(outcome.not_ready))
    left = iter(seen)

    def once(self, run):
        broken, disturbed = next(left)
        return Outcome(run.task, not_ready=str(broken)), disturbed

    monkeypatch.setattr(_Runner, "_once", once)
    return _Runner(["true"], Limits(), None, Watch()), left


@pytest.mark.parametrize(
    ("seen", "broken", "runs"),
    [
        ([(0, True)], 0, 1),
        ([(1, False)], 1, 1),
        ([(1, True), (0, True)], 0, 2),
        ([(2, True), (1, False)], 1, 2),
        ([(2, True), (1, True), *[(3, True)] * (ATTEMPTS - 2)], 1, ATTEMPTS),
    ],
)
def test_a_run_is_repeated_while_the_machine_may_have_broken_a_rule(monkeypatch, seen, broken, runs):
    """Never where it stood still for nothing, or where the program alone can be to blame; and the fairest outcome counts."""
    one, left = runner(monkeypatch, [*seen, (9, True)])

    (outcome,) = one.all([basic()])

    assert int(outcome.not_ready) == broken
    assert len(list(left)) == len(seen) + 1 - runs


def test_a_standstill_counts_where_it_overlaps():
    """Before the run and after it, it does not."""
    watch = Watch()
    watch._late.append((100, 200))

    assert watch.stood_still(0, 101)
    assert watch.stood_still(150, 160)
    assert watch.stood_still(199, 300)
    assert not watch.stood_still(0, 100)
    assert not watch.stood_still(200, 300)
