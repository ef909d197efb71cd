"""From the frames of 10 to 10,000 agents to one verdict: CPU time (one thread does it) and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.figures import Figure, rounds_of
from benchmarks.fresh import measured, peak_mb

SIZES = (10, 100, 1000, 10_000)
ROUNDS = 5
# Different agents' frames; the rest are these again.
DISTINCT = 20
THOUSAND_S = 1.0
# Ten times the agents may take this many times as long: linear, and room for noise.
LINEAR = 13.0
# Beside the sum, an agent may keep its facts and its own service times.
KEPT_KB = 20.0


def measure() -> list[Figure]:
    """Measure all sizes, by turns."""
    found = {size: rounds_of(ROUNDS, lambda size=size: measured(__name__, "judged", str(size))) for size in SIZES}  # type: ignore[misc]
    figures = []
    for size in SIZES:
        limit = THOUSAND_S if size == 1000 else None
        figures += [
            Figure(f"{size:,} agents: frames to verdict, CPU", "s", found[size]["seconds"], at_most=limit),
            Figure(f"{size:,} agents: memory for it", "MB", found[size]["grown_mb"]),
        ]
    pairs = zip(found[10_000]["seconds"], found[1000]["seconds"], strict=True)
    figures.append(Figure("10,000 agents to 1,000: time", "ratio", [a / b for a, b in pairs], at_most=LINEAR))
    pairs = zip(found[10_000]["grown_mb"], found[1000]["grown_mb"], strict=True)
    figures.append(Figure("memory for each further agent", "KB", [(a - b) * 1024 / 9000 for a, b in pairs], KEPT_KB))
    return figures


def judged(size: str) -> dict[str, float]:
    """Decode, merge and judge in this process. Frames are made before, and come one after the other as from hosts."""
    from agents.wire import encode_stream, frames_of, pack_result, unpack_result
    from benchmarks.made_run import agent_facts, agent_result, made_facts
    from orchestrator.analyse.cases import judge

    agents = int(size)
    facts = [agent_facts(f"load{number}/0") for number in range(agents)]
    some = [agent_result(number, facts[number]) for number in range(min(DISTINCT, agents))]
    streams = [encode_stream([pack_result(result)]) for result in some]
    trial = made_facts(facts)
    judge(made_facts(facts[:1]), some[:1])  # what is imported and made once, is
    before_mb, began = peak_mb(), time.process_time()

    def arriving() -> Iterator[bytes]:
        return (streams[number % len(streams)] for number in range(agents))

    results = (unpack_result(payload) for stream in arriving() for payload in frames_of(stream))
    verdict = judge(trial, results).verdict
    seconds = time.process_time() - began
    assert verdict
    return {"seconds": seconds, "grown_mb": peak_mb() - before_mb}
