"""Carry out a run: execute what is left of it, then evaluate its folder.

New and resumed runs, campaigns and searches take the same way through carry_out().
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.analyse.precision import Progress
from orchestrator.campaign.ahead import importing_ahead
from orchestrator.campaign.hosts import Hosts
from orchestrator.campaign.retry import RunRetryPolicy
from orchestrator.campaign.session import Session, Show, journalled
from orchestrator.campaign.trials import CampaignTrials
from orchestrator.errors import NothingToMeasure, NotStored
from orchestrator.fleet.generators import require_generators_here
from orchestrator.fleet.limits import require_room_here
from orchestrator.fleet.place import Placement
from orchestrator.plan import TrialPlan
from orchestrator.result import Summary, Trial
from orchestrator.run.events import Event, Say
from orchestrator.run.loop import RunContext
from orchestrator.spec.checks import Loaded
from orchestrator.spec.reach import notes
from orchestrator.stored.disk import needed_bytes, require_disk
from orchestrator.stored.documents import Origin, PlanDocument, to_document
from orchestrator.stored.evaluate import Finished, Judgements, evaluate_run
from orchestrator.stored.folder import RunStore
from orchestrator.stored.layout import CAMPAIGN_FILE, PLAN_FILE


class Work(Protocol):
    """What a run executes: the trials of a campaign, or searches for capacity."""

    @property
    def loaded(self) -> Loaded:
        """Return the campaign."""

    @property
    def hosts(self) -> Hosts:
        """Return the hosts of the run."""

    @property
    def placements(self) -> dict[str, Placement]:
        """Return the placement of each case."""

    @property
    def targets(self) -> list[str]:
        """Return the names of the targets."""

    @property
    def trials(self) -> Sequence[TrialPlan]:
        """Return the planned trials; none when each trial depends on those before it."""

    def progress(self) -> Progress | None:
        """Return a new count that decides when an adaptive campaign ends; None for other work."""

    def document(self, origin: Origin | None) -> PlanDocument:
        """Return the content of plan.json."""

    def summary_line(self) -> str:
        """Return what a new run will do, in a few words."""

    def progress_line(self, done: int) -> str:
        """Return how much of a resumed run is done, in a few words."""

    def resume_from(self, trials: list[Trial]) -> None:
        """Take over the trials that an earlier process finished."""

    def is_finished(self, policy: RunRetryPolicy) -> bool:
        """Return whether nothing is left to execute."""

    def execute(self, context: RunContext, policy: RunRetryPolicy, say: Say) -> None:
        """Execute what is left, and store each trial. After a HostLost it is called again."""

    def conclusions(self, summary: Summary) -> Iterator[Event]:
        """Yield the last events of the run."""


def run_campaign(
    loaded: Loaded, source: str, out: Path, only: str | None, show: Show, hosts: Hosts, origin: Origin | None = None
) -> Finished:
    """Run a campaign and store it. source: the campaign as it was written, without secrets filled in.

    origin: the command that was typed; a run without it cannot be resumed. Raises VolleyError. Whatever happens, nothing
    is left on the hosts, and finished trials are kept in the run folder.
    """
    work = CampaignTrials.planned(loaded, only, hosts)
    if hosts.inventory is None:
        # This machine is known: what it cannot hold is refused before there is a folder.
        require_room_here([(case, work.placements[case.name]) for case in work.plan.cases])
        require_generators_here(work.plan.cases, loaded.campaign.loads, work.placements)
    return start(work, RunStore.create(out, loaded.campaign.campaign), source, origin, show)


def start(work: Work, store: RunStore, source: str, origin: Origin | None, show: Show) -> Finished:
    """Carry out a new run in a new folder, and close the folder. A run without anything to measure leaves none."""
    with store:
        store.resumable = origin is not None
        try:
            require_disk(store.path, needed_bytes(trial.case for trial in work.trials))
            store.write_text(CAMPAIGN_FILE, source)
            store.write_json(PLAN_FILE, to_document(work.document(origin)))
        except NotStored as error:
            store.discard()
            raise NotStored(error.message, "free some space there, or choose another folder with --out") from error
        what = f"run {store.name}: {work.summary_line()}, in {store.path}"
        try:
            return carry_out(work, _session(work, store), what, [], Judgements(), show, origin is not None)
        except NothingToMeasure:
            store.discard()
            raise


def resume(work: Work, store: RunStore, show: Show) -> Finished:
    """Carry out what is left of an interrupted run, and close its folder. Finished trials are not repeated."""
    with store:
        judgements = Judgements()
        for name in store.take_in():
            taken = Event("kept", f"trial {name} was kept elsewhere and is now in {store.path}", {"folder": name})
            journalled(store, show)(taken)
        done = judgements.of_run(store.path)
        what = f"run {store.name} resumed: {work.progress_line(len(done))}, in {store.path}"
        return carry_out(work, _session(work, store), what, done, judgements, show, resumable=True)


def carry_out(
    work: Work, session: Session, what: str, done: list[Trial], judgements: Judgements, show: Show, resumable: bool
) -> Finished:
    """Execute what is left of a run, then evaluate and write its results from what the folder holds.

    what: the first event; done: trials of an earlier process; judgements: those already made, which are not repeated.
    """
    store = session.store
    say = importing_ahead(journalled(store, show))
    policy = RunRetryPolicy(work.trials, store, work.loaded.campaign.retries, say, judgements, work.progress())
    try:
        say(Event("run", what, {"campaign": work.loaded.campaign.campaign, "run": store.name}))
        for note in notes(work.loaded.plain):
            say(Event("note", note))
        policy.resume_from(done)
        work.resume_from(done)
        if not work.is_finished(policy):
            session.run(policy, say, lambda context: work.execute(context, policy, say))
        from orchestrator.report.files import write_results  # once the load is over

        finished = evaluate_run(store.path, judgements)
        try:
            write_results(store.path, finished.summary, finished.trials)
        except (OSError, NotStored) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            raise (store.not_stored("the results", cause) if isinstance(cause, OSError) else error) from error
        for event in work.conclusions(finished.summary):
            say(event)
    except BaseException as error:
        # What cannot be stored says itself how to continue.
        if resumable and not isinstance(error, (NothingToMeasure, NotStored)):
            show(Event("unfinished", f"interrupted; continue with: volley resume {store.path}"))
        raise
    return finished


def _session(work: Work, store: RunStore) -> Session:
    cases = list({trial.case.name: trial.case for trial in work.trials}.values())
    claim = work.hosts.claim(store.name)
    return Session(work.loaded, work.targets, work.placements, store, work.hosts, claim, cases)
