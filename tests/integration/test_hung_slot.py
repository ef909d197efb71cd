"""A connection that is never answered again, through the command."""

import json

from orchestrator.result import Verdict
from tests.integration.machine import volley
from tests.truth.zoo import serve


def test_a_slot_that_hangs_is_counted(tmp_path):
    """bench -c 8 with one connection that is never answered again: 1 of 8 slots hung, failed, SUSPECT."""
    # The first connection is that of the check before the load.
    with serve("hang", hang_connection=5, hang_after=10, service_us=1_000) as zoo:
        done = volley("bench", zoo.url, "-c", "8", "-d", "3s", "--repeat", "1", "--json", "--out", str(tmp_path))
        assert done.returncode in (0, 3), done.stderr
        hung = zoo.record().counts()[-2]
    case = json.loads(done.stdout)["cases"][0]
    assert case["requests"]["failed"] == hung == 1, case
    assert case["verdict"] == Verdict.SUSPECT.value
    finding = next(f for f in case["findings"] if f["code"] == "hung-slots")
    assert (finding["facts"]["hung"], finding["facts"]["slots"]) == (1, 8)
