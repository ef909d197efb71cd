"""Right generators pass the check of generators. On a quiet machine: any rule that is broken counts here."""

import sys

import pytest

from agents.generators.conformance import State, check
from tests.truth.test_generator_check import BOTH, EXAMPLE, MISTAKES, shown


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param([sys.executable, "-m", "agents.generators.paced"], id="paced"),
        pytest.param([sys.executable, str(EXAMPLE)], id="example"),
    ],
)
def test_right_generators_pass(argv):
    """paced and the example keep every rule of both models, and every rule was judged."""
    checks = check(argv, BOTH)
    assert {each.state for each in checks} == {State.PASSED}, shown(checks)
    assert {each.model for each in checks} == set(BOTH)
    assert {name for _, name, _, _ in MISTAKES.values()} <= {each.name for each in checks}
