"""The real driver process (orchestrator/fleet/driver.py) around a fleet without Ray: its one host is the process itself.

What it does is named by the folder of the order, which has a file for each: 'hang' (up never ends), 'broken' (it cannot
be cleaned up), 'lost' (the node has died; may appear later). It writes 'left' when it is left in an orderly way.
"""

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from agents.shells import CommandShell
from orchestrator.errors import HostError, Shortage
from orchestrator.fleet import driver
from orchestrator.fleet.actors import Actors
from orchestrator.fleet.hosts import HostLost, failed
from orchestrator.fleet.remote import RemoteCommand


class Running:
    """A call in a thread."""

    def __init__(self, host, function, *arguments):
        self.host, self.function, self.arguments = host, function, arguments

    def then(self, settle):
        threading.Thread(target=self._work, args=[settle], daemon=True).start()

    def _work(self, settle):
        try:
            value = self.function(*self.arguments)
        except Exception as error:
            settle(None, failed(self.host, self.function.__name__, [type(error).__name__], str(error)))
        else:
            settle(value, None)


class Transport:
    """Calls the methods of a shell in this process."""

    def __init__(self, machine, run):
        self.host, self.address, self.load_address = machine.name, machine.address, machine.address
        self._shell = CommandShell(machine.name, run, machine.address, 0)

    def begin(self, method, *arguments):
        return Running(self.host, method, self._shell, *arguments)


class FakeFleet:
    """See the module."""

    def __init__(self, order, inventory):
        self._order, self._folder = order, Path(order.folder)
        self.hosts, self.actors, self.accepted_keys = order.others, Actors(), ["new-key"]

    @property
    def machines(self):
        return self._order.machines

    def lost(self):
        return "lost this machine's Ray node: it died" if (self._folder / "lost").exists() else ""

    def up(self, notify):
        notify("first")
        notify("second")
        while (self._folder / "hang").exists():
            time.sleep(60)  # a wait that only an interruption ends
        run = self._order.claim.mark
        self.actors.others = {each.name: RemoteCommand(Transport(each, run)) for each in self.machines}

    @contextmanager
    def reserve(self, placement):
        if placement.server == "small":
            raise Shortage("host small has 1 core, and 2 are needed", "use fewer agents")
        if placement.server == "gone":
            raise HostLost("lost contact with gone", "check it", "gone")
        if placement.server == "bug":
            raise KeyError("no such thing")
        yield None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        (self._folder / "left").write_text("")
        if (self._folder / "broken").exists():
            raise HostError("db could not be cleaned up in time", "clean it up")


if __name__ == "__main__":
    driver.fleet_of = FakeFleet
    os._exit(driver.main())
