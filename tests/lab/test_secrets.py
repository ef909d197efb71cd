"""A planted secret over several hosts: in no process list, no file of a host, and nothing that the run shows or stores."""

import os
import sys

import pytest

from tests import planted
from tests.integration.machine import ROOT, only_run
from tests.integration.test_secrets import PLACES, campaign, environment, nothing_of
from tests.lab import world

VOLLEY = [sys.executable, "-m", "orchestrator.cli"]
# Where a host keeps what belongs to runs, and the logs of Ray while there are any.
SEARCHED = "/tmp/volley-* /dev/shm/volley-* /root/.volley* /var/lib/volley-environment*"


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_planted_secret_is_on_no_host(tmp_path):
    """Server, service and agents on hosts of their own; the process list of the machine shows those of all of them."""
    values = {name: planted.planted(name) for name in PLACES}
    out = tmp_path / "runs"
    argv = [*VOLLEY, "run", campaign(tmp_path, 18_540, campaign="lab-planted"), "--only", "*/sent"]
    argv += ["--hosts", str(world.INVENTORY), "--out", str(out)]

    done, watch = planted.watched(
        argv, [*values.values()], {**os.environ, **environment(values), "PYTHONPATH": str(ROOT)}, 240
    )

    assert done.returncode == 3, done.stderr
    assert "app answered" in done.stdout
    assert len(list(only_run(out).glob("trials/*/trial.json"))) == 3
    nothing_of(values.values(), {"out": done.stdout, "err": done.stderr}, out, watch)
    patterns = "".join(f"{value[:10]}\n" for value in values.values())
    for host in world.ADDRESSES:
        found = world.on(host, f"printf '%s' '{patterns}' | grep -rlF -f - {SEARCHED} 2>/dev/null", check=False)
        assert found == "", (host, found)
