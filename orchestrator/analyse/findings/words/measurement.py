"""The words of findings about the measurement itself and about how the trial was run."""

from __future__ import annotations

from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.result import FindingCode, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

_AGENT_OUTPUT = "Check the agent's output (*.txt in the trial's folder): its numbers stop early."
_RUN_AGAIN = "Check that the load hosts are up, then run again."
_HOST_UP = "Check that the host is up and its network is stable, then run again."
_LOG_BROKEN = "Run again: the request log is incomplete, so these numbers cannot be trusted."
_SLEW = "Let NTP slew the clock, not step it, while a test runs."
_DEGRADED = "Check that the load hosts are up, then run again. With on_agent_loss: fail such a trial is repeated."
_IMBALANCE = (
    "Load agent {agent} has {share_of_requests:percent} of the requests but {share_of_tail:percent} of the slowest 1 %."
)
_COMMAND = "The command {when} the trial failed on host {host} ({how})"


ENTRIES = [
    Entry(
        FindingCode.HOST_LOST,
        (SUSPECT, INVALID),
        {
            "": Wording("A host was lost during the trial: {error}.", _HOST_UP),
            "after": Wording("A host was lost right after the load: {error}.", _HOST_UP),
        },
    ),
    Entry(
        FindingCode.AGENT_LOST,
        (SUSPECT, INVALID),
        {
            "": Wording("The load was lost: {error}.", _RUN_AGAIN),
            "missing": Wording("Only {reported:count} of {planned:load agent|load agents} reported.", _RUN_AGAIN),
            "died": Wording("Load agent {agent} died.", _AGENT_OUTPUT),
            "watchdog": Wording(
                "Load agent {agent} did not end in time and was stopped.",
                "Check whether the server still answered (server.log); raise 'give_up' if it is just slow.",
            ),
            "endless": Wording(
                "Load agent {agent} did not end in time and was stopped: the server's answers do not end.",
                "Volley measures whole answers, so a stream (server-sent events) needs a path that ends it.",
            ),
            "slow": Wording(
                "Load agent {agent} did not end in time and was stopped. At {answer_s:s} an answer, {requests:request|"
                "requests} over {clients:client|clients} take about {needed_s:s}.",
                "Set the load's 'give_up' above that, or send fewer requests.",
            ),
            "stopped": Wording(
                "The h2load of load agent {agent} ended its load in time and then did not exit, so its own count is "
                "missing. Its log has {rows:row|rows}.",
                "Install a newer h2load (1.64 or later), or use generator: paced.",
            ),
            "suspended": Wording(
                "Load agent {agent} was stopped for {stopped_s:s} or longer during the load and sent nothing in that time.",
                "Find what stopped it (a signal, a paused virtual machine), then run again.",
            ),
            "rate-breaker": Wording(
                "Load agent {agent} was stopped because it sent far more than the schedule allows.", _SLEW
            ),
            "cancelled": Wording("Load agent {agent} was cancelled.", "Resume the run to repeat this trial."),
            "malformed-log": Wording("The request log of load agent {agent} could not be read.", _LOG_BROKEN),
        },
    ),
    Entry(
        FindingCode.NO_SPACE,
        (INFORMATION, INVALID),
        {
            "": Wording(
                "Requests of load agent {agent} could not be logged: {folder} on host {host} was full "
                "({free_bytes:bytes} free, {needed_bytes:bytes} needed).",
                "Free some space there. A container has a /dev/shm of 64 MiB unless it is started with --shm-size.",
            ),
            "moved": Wording(
                "The request logs of host {host} were in its temporary folder, because {folder} had "
                "{free_bytes:bytes} free and they need {needed_bytes:bytes}.",
                "Free some space in {folder}: writing to memory costs the generator less than writing to a disk.",
            ),
        },
    ),
    Entry(
        FindingCode.DEGRADED,
        (SUSPECT,),
        {
            "": Wording(
                "The trial lost {lost:count} of {planned:load agent|load agents} and {share:percent} of its load, "
                "{after_s:s} after T0: {why:names}. Requests of lost agents are not in the numbers, although the server "
                "answered some of them.",
                _DEGRADED,
            ),
            "early": Wording(
                "The trial lost {lost:count} of {planned:load agent|load agents} and {share:percent} of its load before "
                "T0: {why:names}.",
                _DEGRADED,
            ),
        },
    ),
    Entry(
        FindingCode.COUNTS_MISMATCH,
        (INVALID,),
        {
            "": Wording(
                "The log of load agent {agent} has {rows:row|rows}, but {done:request|requests} were done.", _LOG_BROKEN
            ),
            "error": Wording("The request log of load agent {agent} is damaged: {error}.", _LOG_BROKEN),
            "status": Wording(
                "The request log of load agent {agent} has {rows:row|rows} without a status.", _LOG_BROKEN
            ),
        },
    ),
    Entry(
        FindingCode.REQUESTS_LOST,
        (INVALID,),
        {
            "": Wording(
                "Load agent {agent} has {unfinished:unfinished request|unfinished requests}, more than its "
                "{slots:slot|slots} can hold. Connections were lost with requests on them.",
                "Check server.log and the network: one of them closed connections during the run.",
            )
        },
    ),
    Entry(
        FindingCode.LITTLES_LAW,
        (SUSPECT,),
        {
            "": Wording(
                "Only {busy_share:percent} of the {slots:slot|slots} had a request under way (Little's law): clients "
                "were idle part of the time.",
                "Check for lost connections and slow connecting; give the load generator more CPU.",
            ),
            "over": Wording(
                "{requests_under_way:digits} requests were under way on {slots:slot|slots} (Little's law), which is "
                "impossible: these times cannot be right.",
                "Run again, and report a bug if it happens twice.",
            ),
        },
    ),
    Entry(
        FindingCode.NOT_STEADY,
        (SUSPECT,),
        {
            "drift": Wording(
                "The {of:series} drifted by {drift:percent} over the window.",
                "Use a longer warm-up and a longer window. If it persists, the server gets slower over time.",
            ),
            "settled": Wording(
                "The {of:series} of the first {settled_after:interval|intervals} of {interval_s:s} differs by "
                "{change:percent} from the rest of the window.",
                "Use a longer warm-up and a longer window.",
            ),
        },
    ),
    Entry(
        FindingCode.AGENT_IMBALANCE,
        (INFORMATION, SUSPECT),
        {
            "": Wording(_IMBALANCE, "Check that agent's host and its network: the merged p99 is mostly about them."),
            "distance": Wording(
                _IMBALANCE + " Its host is {round_trip_further_us:us} further away, which explains it.",
                "Use hosts at the same distance to measure the server alone: this p99 includes the distance.",
            ),
        },
    ),
    Entry(
        FindingCode.CLOCK_BOUND,
        (SUSPECT,),
        {
            "": Wording(
                "The clock of host {host} is known only to ± {half_width_us:us}, in a window of {window_us:us}.",
                "Use a longer window or a host that is closer.",
            )
        },
    ),
    Entry(
        FindingCode.CLOCK_UNBOUNDED,
        (SUSPECT,),
        {
            "": Wording(
                "The clock of host {host} could not be compared after the load: {why}. The comparison before the load "
                "and the most that a clock can drift bound it to ± {half_width_us:us}.",
                "Check that the host is up and that UDP reaches it. The numbers stand if its clock was not stepped.",
            )
        },
    ),
    Entry(
        FindingCode.CLOCK_STEP,
        (INVALID,),
        {
            "": Wording("The clock of host {host} moved by {moved_us:us} during the trial.", _SLEW),
            "agent": Wording("The clock of load agent {agent} moved by {moved_us:us} during the trial.", _SLEW),
        },
    ),
    Entry(
        FindingCode.START_SKEW,
        (SUSPECT,),
        {
            "": Wording(
                "A load agent started {latest_us:us} after T0, later than the {allowed_us:us} that this load tolerates.",
                "Check whether a load host is busy. A longer load makes the skew matter less.",
            )
        },
    ),
    Entry(
        FindingCode.CENSORED_TAIL,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "Up to {at_most:request|requests} had not ended when the observation did ({of:count} had).",
                "Set a longer 'tail' in the load, so that slow requests can end.",
            ),
            "slow": Wording(
                "Up to {at_most:request|requests} had not ended when the observation did ({of:count} had).",
                "Set a 'tail' that is longer than an answer takes: the one before the load took {answer_s:s}.",
            ),
        },
    ),
    Entry(
        FindingCode.COMMAND_FAILED,
        (SUSPECT, INVALID),
        {
            "before": Wording(_COMMAND + ", so no load was sent.", "Fix the command, then resume."),
            "after": Wording(
                _COMMAND + ".", "Fix the command: the clean-up it was meant to do may be missing in the next trial."
            ),
            "before, output": Wording(_COMMAND + ", so no load was sent: {said}.", "Fix the command, then resume."),
            "after, output": Wording(
                _COMMAND + ": {said}.",
                "Fix the command: the clean-up it was meant to do may be missing in the next trial.",
            ),
        },
    ),
    Entry(
        FindingCode.NOT_PRECISE,
        (INFORMATION,),
        {
            "": Wording(
                "The interval of {metric:metric} is {reached:percent} of the estimate wide after "
                "{repetitions:repetition|repetitions}; the campaign asks for {asked:percent}.",
                "Allow more repetitions ('at_most', 'budget') or make the trials longer.",
            ),
            "no interval": Wording(
                "There is no interval of {metric:metric} after {repetitions:repetition|repetitions}.",
                "Send more requests per trial: the percentile is withheld, or fewer than two trials are valid.",
            ),
        },
    ),
    Entry(
        FindingCode.TOO_FEW_SAMPLES,
        (INFORMATION,),
        {
            "": Wording(
                "{requests:request is|requests are} too few for {withheld:percentiles}.",
                "Send more requests, or use a longer window, to see these percentiles.",
            )
        },
    ),
]
