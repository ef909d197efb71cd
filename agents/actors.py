"""The hosts as Ray actors. Imported only where Ray is."""

from __future__ import annotations

from typing import Any

import ray

from agents.shells import CommandShell, is_control, methods_of

CONTROL = "control"
# Never restarted: an agent that came back in mid-trial would be a corrupt measurement.
# Control calls are answered while a long call is under way.
OPTIONS: dict[str, Any] = {
    "max_restarts": 0,
    "max_task_retries": 0,
    "num_cpus": 0,
    "concurrency_groups": {CONTROL: 2},
}


def remote(shell: type[CommandShell]) -> Any:
    """Return the Ray actor class of a shell, its control methods in a concurrency group of their own."""
    for method in methods_of(shell).values():
        if is_control(method):
            ray.method(concurrency_group=CONTROL)(method)
    make: Any = ray.remote
    return make(**OPTIONS)(shell)
