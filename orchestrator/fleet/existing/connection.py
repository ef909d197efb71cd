"""This process as a driver of an existing Ray cluster, and the code that travels with it."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.fleet.cluster import require_no_stranger
from orchestrator.fleet.environment import project
from orchestrator.fleet.existing.nodes import ENVIRONMENT, Node, refused

# Ray's defaults would falsify a load test: workers and their children run at nice 15, and are the first to be killed.
WORKERS = {"RAY_worker_niceness": "0", "RAY_worker_oom_score_adjustment": "0"}


def connect(address: str, here: Node, namespace: str) -> None:
    """Become a driver of the cluster, with Volley's own modules as its runtime environment. Raises HostError.

    here: the node of this machine; namespace: of the run's actors.
    """
    require_no_stranger()
    os.environ.update(ENVIRONMENT)
    import ray

    # Errors of raylets, those of other jobs too, would go to stdout, which is for the result.
    internals: Any = importlib.import_module("ray._private.worker")
    internals._worker_logs_enabled = False
    previous = signal.getsignal(signal.SIGTERM)
    try:
        with _code() as folder:
            ray.init(
                address=address,
                _node_ip_address=here.address,
                namespace=namespace,
                log_to_driver=False,
                configure_logging=False,
                runtime_env={"py_modules": [str(folder)], "env_vars": WORKERS},
            )
    except (ConnectionError, RuntimeError) as error:
        raise refused(address, error) from error
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, previous)  # ray.init() puts its own in place


def disconnect() -> None:
    """End the driver's job. The cluster, its nodes and other jobs stay as they are."""
    import ray

    with contextlib.suppress(Exception):
        ray.shutdown()


@contextmanager
def _code() -> Iterator[Path]:
    """Yield a copy of the package `agents`: what hosts need of it, and nothing that was put beside it."""
    folder = Path(tempfile.mkdtemp(prefix="volley-code-"))
    try:
        for inside, source in project().files:
            path = folder / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
        yield folder / "agents"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
