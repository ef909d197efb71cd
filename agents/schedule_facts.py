"""What an open loop's schedule adds to the facts of an agent: what was due, late, missing or bunched."""

from __future__ import annotations

from dataclasses import replace

from agents.generators.h2load_schedule import Scheduled
from agents.recorder import Recorder
from agents.records import AgentFacts


def with_rebuilt(facts: AgentFacts, rebuilt: Scheduled) -> AgentFacts:
    """Return the facts of an agent of h2load with what its rebuilt schedule says about arrivals."""
    return replace(
        facts,
        due=rebuilt.due,
        missing=rebuilt.missing,
        late=rebuilt.uneven,
        late_us=rebuilt.late_us,
        lower_bound=rebuilt.lower_bound,
        largest_burst=rebuilt.largest_burst,
        waited_for_slot=rebuilt.waited,
    )


def with_arrivals(facts: AgentFacts, recorder: Recorder) -> AgentFacts:
    """Return the facts of an agent whose rows hold due times, with what they say about arrivals."""
    if recorder.arrivals is None:
        return facts
    counts = recorder.arrivals.close()
    missing = 0 if recorder.unanswered is None else recorder.unanswered.n
    return replace(
        facts,
        due=counts.due,
        missing=missing,
        late=counts.late,
        late_us=recorder.arrivals.late_us,
        lower_bound=missing > 0,
        early=counts.early,
        off_schedule=counts.off_schedule,
        largest_burst=counts.largest_burst,
        largest_due=counts.largest_due,
    )
