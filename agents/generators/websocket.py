"""websocket, a generator of messages over WebSocket: python -m agents.generators.websocket.

It follows the generator contract (contract.py) over its standard input and output, and can do both models. Its schedule
and its connections are those of paced; what is on the wire is made and parsed by the library websockets (ADR 36).
"""

from __future__ import annotations

import sys

from agents.generators.contract import GeneratorTask, Model, Protocol
from agents.generators.paced import OTHER_FILES, Unable, allow_files, main
from agents.generators.paced_load import Load
from agents.generators.rowlog import RowLog
from agents.generators.template import Rows
from agents.generators.websocket_load import ClosedMessages, OpenMessages
from agents.generators.websocket_message import origin_of_messages, prepare_message


def make_load(task: GeneratorTask) -> Load:
    """Return the load of a task. Raise Unable, BadRequest or OSError when it cannot be done."""
    if task.protocol is not Protocol.WEBSOCKET:
        raise Unable("this generator speaks WebSocket only: use protocol: websocket")
    allow_files(task.clients + OTHER_FILES)
    origin = origin_of_messages(task.requests)
    rows = None if task.data is None else Rows(task.data, task.seed)
    messages = [prepare_message(request, rows) for request in task.requests]
    kind = OpenMessages if task.model is Model.OPEN else ClosedMessages
    return kind(task, origin, list(messages), RowLog(task.log, task.columns), rows)


if __name__ == "__main__":
    sys.exit(main("websocket", make_load))
