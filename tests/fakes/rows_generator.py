"""A generator that sends nothing: it writes the rows of an open load at its rate, with service times known in advance.

Request k of an agent is sent when it is due and takes 100 + k % 1000 µs. For tests of what reads and counts the rows:
no server on this machine answers as many requests as that.
"""

from __future__ import annotations

import json
import sys
import time

SHORTEST_US, DIFFERENT = 100, 1000
EVERY_S = 0.1


def service_us(k: int) -> int:
    """Return how long request k takes."""
    return SHORTEST_US + k % DIFFERENT


def main() -> None:
    """Follow the generator contract: task, ready, go, rows, summary."""
    task = json.loads(sys.stdin.readline())
    rate, first_ns, duration_ns = task["rate_per_s"], task["first_due_ns"], task["duration_us"] * 1000
    print("ready", flush=True)
    go = sys.stdin.readline().split()
    if not go:
        return
    t0_ns, k = int(go[1]), 0
    with open(task["log"], "a") as log:
        while (after_ns := first_ns + int(k * 1e9 / rate)) < duration_ns:
            time.sleep(max(0.0, EVERY_S, (t0_ns + after_ns - time.time_ns()) / 1e9))
            # A row is written once its answer would be there.
            until_ns, lines = time.time_ns() - t0_ns - (SHORTEST_US + DIFFERENT) * 1000, []
            while after_ns < min(until_ns, duration_ns):
                due_us = (t0_ns + after_ns) // 1000
                lines.append(f"{due_us}\t{due_us}\t200\t{service_us(k)}\t0\n")
                k += 1
                after_ns = first_ns + int(k * 1e9 / rate)
            log.write("".join(lines))
            log.flush()
    failed = dict.fromkeys(("failed", "timeout", "reset", "refused", "protocol", "unanswered", "unsent"), 0)
    print(json.dumps({"planned": k, "sent": k, "done": k, "failed": failed, "waited_for_slot": 0}), flush=True)


if __name__ == "__main__":
    main()
