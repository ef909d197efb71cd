"""Readers of the files that a user writes. What is accepted must also be one that can be run."""

from __future__ import annotations

import json
from pathlib import Path

# Looks for libraries with a process when it is imported, which no test without one may do.
import asyncssh.config  # noqa: F401

from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.fleet.ssh_config import route
from orchestrator.plan import make_plan
from orchestrator.run.containers import prepare_argv, service_spec
from orchestrator.run.targets import answer_s, expect_of, request_to, server_spec, traffic_of
from orchestrator.spec import inline
from orchestrator.spec.checks import Loaded
from orchestrator.spec.document import read_document
from orchestrator.spec.load import from_plain, load, load_inventory
from orchestrator.spec.rows import BadData
from orchestrator.stored.documents import Origin, to_document
from tests.fuzz import corpus

# A file name has at most so many bytes; drafts of trials are hidden, retries are numbered.
LONGEST_FILE_NAME = 255 - len(".-try99.part")
ENVIRONMENT = {"HOME": "/root"}


class Files:
    """Readers of files, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        box = folder / "box"
        box.mkdir(exist_ok=True)
        (box / "Dockerfile").write_text("FROM scratch\n")
        (folder / "body.bin").write_bytes(b"\xff\x00")
        (folder / "rows.csv").write_bytes(corpus.CSV_ROWS)
        (folder / "rows.jsonl").write_bytes(corpus.JSON_ROWS)
        # Read once, because that takes longer than to read what is fuzzed.
        self._plain = read_document(self._written("plain.yaml", corpus.CAMPAIGN.encode()))
        self._planned = load(self._plain, environment=ENVIRONMENT).campaign
        self._with_files = read_document(self._written("files.yaml", corpus.WITH_FILES.encode()))
        self._written("requests.txt", corpus.REQUESTS)
        self._listed = read_document(self._written("listed.yaml", corpus.LISTED.encode()))
        self._inventory = load_inventory(
            self._written("hosts.yaml", corpus.INVENTORY.encode()), environment=ENVIRONMENT
        )

    def _written(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def campaign(self, data: bytes) -> None:
        """Read a campaign."""
        runnable(load(self._written("campaign.yaml", data), environment=ENVIRONMENT))

    def override(self, data: bytes) -> None:
        """Read the value of --set."""
        text = data.decode(errors="surrogateescape")
        runnable(load(self._plain, [text], environment=ENVIRONMENT, parts=("slo", "saturation")))

    def only(self, data: bytes) -> None:
        """Read the value of --only."""
        make_plan(self._planned, data.decode(errors="replace"))

    def expect(self, data: bytes) -> None:
        """Read what a target's answers must be."""
        text = corpus.EXPECTING.encode().replace(b"EXPECT", data.replace(b"\n", b"\n "))
        runnable(load(self._written("expecting.yaml", text), environment=ENVIRONMENT))

    def csv_rows(self, data: bytes) -> None:
        """Read a data file of comma-separated values."""
        self._rows("rows.csv", data, corpus.CSV_ROWS)

    def json_rows(self, data: bytes) -> None:
        """Read a data file of JSON lines."""
        self._rows("rows.jsonl", data, corpus.JSON_ROWS)

    def _rows(self, name: str, data: bytes, usual: bytes) -> None:
        self._written(name, data)
        try:
            runnable(load(self._with_files, environment=ENVIRONMENT))
        finally:
            self._written(name, usual)

    def requests(self, data: bytes) -> None:
        """Read a file of requests."""
        self._written("requests.txt", data)
        runnable(load(self._listed, environment=ENVIRONMENT))

    def inventory(self, data: bytes) -> None:
        """Read an inventory, and the way to each of its hosts."""
        inventory = load_inventory(self._written("inventory.yaml", data), environment=ENVIRONMENT)
        for name in inventory.hosts:
            route(name, inventory, self.folder)

    def ssh_config(self, data: bytes) -> None:
        """Read an OpenSSH configuration, for the hosts of an inventory. Commands in it are not run."""
        self._written("ssh_config", data.replace(b"exec", b"host").replace(b"EXEC", b"host"))
        inventory = self._inventory.model_copy(update={"ssh_config": "ssh_config"})
        for name in inventory.hosts:
            route(name, inventory, self.folder)


def runnable(loaded: Loaded) -> None:
    """Make of an accepted campaign everything that its run needs, short of hosts. Raise for what cannot be."""
    campaign, folder = loaded.campaign, loaded.folder
    planned = CampaignTrials(loaded, Hosts(), make_plan(campaign), {})
    _stored(to_document(planned.document(Origin("campaign.yaml"))))
    planned.summary_line()
    assert _read_back(loaded, folder) == campaign
    for trial in planned.plan.trials:
        assert len(trial.name.encode()) <= LONGEST_FILE_NAME
    for target in campaign.targets.values():
        for one in campaign.loads.values():
            try:
                traffic = traffic_of(target, one, "127.0.0.1", folder)
            except BadData as error:
                raise AssertionError("accepted, and cannot be read") from error
            for index in range(min(3, len(traffic.requests))):
                request_to(traffic, index)
            if target.url is None:
                expect = expect_of(target, one)
                server_spec("t", target, "image", request_to(traffic), expect, folder, answer_s(target, one))
    for name, service in campaign.services.items():
        service_spec(name, service, "image", folder)
        for command in service.prepare:
            prepare_argv(command)


def _read_back(loaded: Loaded, folder: Path) -> object:
    """Return the campaign that its own document reads back to."""
    return from_plain(json.loads(json.dumps(inline.document(loaded.campaign))), folder).campaign


def _stored(document: object) -> None:
    """Check that a document can be written to a file of a run. Raise UnicodeError where it cannot."""
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
