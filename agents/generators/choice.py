"""From an assignment to the generator that carries it out."""

from __future__ import annotations

from pathlib import Path

from agents.generators.adapter import Generator
from agents.generators.contract import LONG_COLUMNS, GeneratorTask, Model, Protocol, TaskData, TaskRequest
from agents.generators.h2load_version import Capabilities, H2loadMissing
from agents.generators.held_h2load import HeldH2load
from agents.generators.program import OWN, Program
from agents.records import AssignedData, AssignedRequest, Assignment, GeneratorKind


def make(
    task: Assignment, can: Capabilities | None, program: str, log: Path, folder: Path, environment: dict[str, str]
) -> Generator:
    """Return the generator of an assignment, not started yet.

    can, program: this host's h2load. log: where rows go; folder: the agent's own. Raises H2loadMissing where it is needed
    and can is None.
    """
    if task.generator is GeneratorKind.H2LOAD:
        if can is None:
            raise H2loadMissing(f"'{program}' is needed for this load and was not looked up")
        return HeldH2load(task, can, program, log, folder, environment)
    argv = list(OWN[task.generator]) if task.generator in OWN else task.program
    return Program(
        argv[0] if task.program else str(task.generator), argv, contract_task(task, log), folder, environment
    )


def contract_task(task: Assignment, log: Path) -> GeneratorTask:
    """Return an assignment in the words of the contract."""
    assigned = task.requests or [AssignedRequest("", task.url, task.method, task.headers, task.body)]
    return GeneratorTask(
        log=str(log),
        requests=tuple(map(_task_request, assigned)),
        model=Model.CLOSED if task.rate_per_s is None else Model.OPEN,
        protocol=_protocol(task),
        streams=task.streams,
        clients=task.clients,
        count=task.count,
        duration_us=task.duration_us,
        window_start_us=task.window_start_us,
        window_end_us=task.window_end_us,
        rate_per_s=task.rate_per_s,
        first_due_ns=task.first_due_ns,
        arrivals=task.arrivals,
        seed=task.seed,
        timeout_us=task.timeout_us,
        verify=task.verify,
        columns=LONG_COLUMNS,
        data=None if task.data is None else _task_data(task.data),
        tls=task.tls,
        socket=task.socket,
        addresses=tuple(task.addresses),
    )


def _protocol(task: Assignment) -> Protocol:
    if task.websocket:
        return Protocol.WEBSOCKET
    return Protocol.HTTP2 if task.http2 else Protocol.HTTP1


def _task_request(request: AssignedRequest) -> TaskRequest:
    return TaskRequest(
        url=request.url,
        method=request.method,
        headers=tuple((name, value) for name, value in request.headers),
        body=request.body or None,
        weight=request.weight,
        timeout_us=request.timeout_us,
        allowed=tuple(request.allowed),
        wanted=request.wanted,
        binary=request.binary,
    )


def _task_data(data: AssignedData) -> TaskData:
    return TaskData(tuple(data.columns), tuple(map(tuple, data.rows)), data.order)
