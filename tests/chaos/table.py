"""The table of faults, as lines for a terminal and as a page of the docs. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from tests.chaos.records import Row

WIDE = 24
HEAD = (
    f"{'fault':{WIDE}} {'moment':8}{'world':6} {'noticed':>8} {'clean':>6} {'exit':>4} {'tries':>5} {'resume':>6}  "
    f"{'requests':10} recorded"
)
WORLDS = {
    "local": "On one machine",
    "ray": "On one machine with --ray",
    "lab": "On two hosts (network namespaces, each with its own sshd; the server host with its own Docker engine)",
}
_OF_ONE_RUN = {
    re.compile(r"/tmp/\S*/chaos-[^/\s:]+(?=[:\s]|$)"): "RUN",
    re.compile(r"/tmp/vt\d+/volley-kept-\w+"): "/tmp/volley-kept-XXXXXXXX",
    re.compile(r"unix:///tmp/\S+\.sock"): "ADDRESS",
    re.compile(r"port 1[89]\d{3} is in use on \S+:"): "port PORT is in use on HOST:",
}
_HEAD = "fault | moment | noticed after | exit code | recorded | tries | clean after | resume | requests"
PAGE = """\
# What happens when something fails

Whatever fails during a run, Volley keeps five promises:

- It notices the fault within seconds, and says so. Either the trial is retried and its result has
  the finding `retried`, or the run ends with a sentence and an exit code.
- Finished trials stay as they are, byte for byte.
- `volley resume RUN` completes the plan. Every request is counted once.
- No process, container, folder or lease of the run is left on any host.
- Nothing of other users and runs is touched. Each row checks a process and a container of another
  user's run, and folders named `volley-results` in the temporary folder and in `/dev/shm`.

A server or a service that fails is a result, not an accident: the trial is INVALID and is not
retried. A fault that changed no number may go unnoticed. The table shows `-` then, and
[Faults that change nothing](#faults-that-change-nothing) has the reasons.

## Run the table

`make chaos` runs all rows on one Linux machine and exits with 1 if a row is WRONG. It needs root,
Docker and h2load, and takes up to an hour on two cores. To run some of them:

```sh
make chaos ARGS="--world local --fault 'guard*' --moment window"
```

Each row is one run of two trials with 150 requests each. The fault meets the second trial: before
T0 (`start`), while requests are sent (`window`), or once the generators have ended (`collect`).
These moments are found by what the run does, not by a clock. `make test` runs some rows.

How to read the columns:

- *noticed after*: from the fault until the first line of output, finding or exit that reports it.
  A coordinator that is killed cannot report anything: it is the time until all hosts are clean.
- *clean after*: from the end of the run until nothing of it is left.
- *resume*: the exit code of `volley resume` afterwards.
- *requests*: the good requests of both trials after that; `-` for a trial that is INVALID.

The wall clock is stepped for all processes of a run on one machine, and for the load host in the
lab. They load `deploy/lab/clock.c`, because a time namespace cannot change this clock.

The rows below were measured on a machine with two cores while other work ran on it.

## Faults that change nothing

A row in which nothing was noticed has to end with 0. Its requests are counted like those of any
other row, and its throughput may differ by 30 % from that of the first trial. A fault that may go
unnoticed needs a reason:

| fault | moment | why it changes no number |
|---|---|---|
| guard killed, without Ray nodes | any | The coordinator starts another guard at once. A guard measures nothing, and no load passes through it. |
| h2load stopped | `start` | T0 is set once all generators wait at their gate. One that is stopped does not, so T0 comes later. Stopped between the gate and its first request, it is `start-skew`, or `agent-lost` if that lasts. |
| load actor stopped | any | Generators are processes of their own. They wait, send and log without the actor, which reads the log when it continues. If it had to release them meanwhile, they start late: `start-skew`. |
| coordinator stopped | any | The hosts know T0 and the window, and need nothing else from it. If it had to send T0 meanwhile, all agents start late: `start-skew`. |
| raylet stopped | any | Calls go from the coordinator to the actors directly. Ray takes a node for lost only if it stands still for longer. |
| raylet or GCS killed | `collect` | All requests are answered, and actors outlive their node for a moment. Either all results arrive, or the loss is recorded. If another trial follows, the hosts are started again for it. |
| container or service killed | `collect` | Its host had checked it for the last time. Before that, its end is the result of the trial. |
| clock stepped, on one machine | `collect` | The generators have ended, and all processes have the same clock. On several hosts clocks are compared afterwards, and the step is noticed. |
| load or server host cut off | `collect` | All results had arrived. Its guard hears nothing, ends what is left and cleans up. The coordinator asks the host again before it leaves. |
| `/dev/shm` full | `collect` | All rows are in the log, and reading needs no room. |

A clock is watched from the moment when generators are started, which is before T0 is set. A step
that comes earlier is in all that is read later: the comparison of clocks, T0, and the window.

A full `/dev/shm` does not end a run. Before the load, the request logs go to the temporary folder
instead. During the load, the trial is retried with its logs there. Both times the finding
`no-space` says what was full. Only where the temporary folder is full, too, does the run end with
exit code 4.
"""


def line(row: Row) -> str:
    """Return a row for a terminal; below it how the run ended, and what is wrong."""
    counts = "+".join("-" if count is None else str(count) for count in row.counts)
    text = (
        f"{row.fault:{WIDE}} {row.moment:8}{row.world:6} {_s(row.noticed_s):>8} {_s(row.cleaned_s):>6} "
        f"{_code(row.ending):>4} {row.tries:5} {_code(row.resumed):>6}  {counts:10} {', '.join(row.codes)}"
    )
    below = [row.sentence] if row.sentence else []
    below += [f"WRONG: {each}" for each in row.wrong]
    return "\n".join([text.rstrip(), *(textwrap.indent(textwrap.fill(each, 110), "    ") for each in below)])


def summary(rows: Sequence[Row], lasted_s: float) -> str:
    """Return the last line."""
    wrong = sum(bool(row.wrong) for row in rows)
    faults = len({row.fault for row in rows})
    return f"{len(rows)} rows, {faults} faults, {lasted_s:.0f} s: {len(rows) - wrong} as promised, {wrong} WRONG"


def page(rows: Iterable[Row], faults: Sequence[str], planned: Mapping[str, int]) -> str:
    """Return the page of the docs. Of several rows with one fault, moment and world the last one counts.

    faults: their names, in the order of the page. planned: how many rows the whole table has, by world.
    """
    last = {(row.world, row.fault, row.moment): row for row in rows}
    order = ["start", "window", "collect"]
    parts = [PAGE]
    for world, title in WORLDS.items():
        mine = [row for row in last.values() if row.world == world]
        if mine:
            mine.sort(key=lambda row: (faults.index(row.fault), order.index(row.moment)))
            parts += [f"## {title}\n", *_table(mine)]
            if len(mine) < planned[world]:
                parts.append(f"{len(mine)} of the {planned[world]} rows were run for this page.\n")
    return "\n".join(parts).rstrip("\n") + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    head = [f"| {_HEAD} |", "|" + "---|" * len(_HEAD.split("|"))]
    sentences = list(dict.fromkeys(row.sentence for row in rows if row.ending not in (0, -9) and row.sentence))
    return [*head, *(_cells(row) for row in rows), "", *_sentences(sentences)]


def _cells(row: Row) -> str:
    counts = " + ".join("-" if count is None else str(count) for count in row.counts)
    wrong = f" **WRONG**: {'; '.join(row.wrong)}" if row.wrong else ""
    cells = [
        row.fault + wrong, row.moment, _s(row.noticed_s), "killed" if row.ending == -9 else _code(row.ending),
        ", ".join(row.codes), str(row.tries), _s(row.cleaned_s), _code(row.resumed), counts,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _sentences(sentences: Sequence[str]) -> list[str]:
    """Return how the runs ended that did not end with 0."""
    if not sentences:
        return []
    said = dict.fromkeys(_general(sentence) for sentence in sentences)
    wrapped = [textwrap.wrap(each, 98, initial_indent="- ", subsequent_indent="  ") for each in said]
    return ["How those ended that did not end with 0:", "", *(line for lines in wrapped for line in lines), ""]


def _general(sentence: str) -> str:
    """Return a sentence without the folders and ports of one run."""
    for pattern, name in _OF_ONE_RUN.items():
        sentence = pattern.sub(name, sentence)
    return sentence


def _s(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def _code(value: int | None) -> str:
    return "-" if value is None else str(value)
