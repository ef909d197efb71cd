"""The words of findings about the services of a target."""

from __future__ import annotations

from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.result import FindingCode, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

_LOG = "Check service-{service}.log in the trial's folder."

ENTRIES = [
    Entry(
        FindingCode.SERVICE_OOM_KILL,
        (INVALID,),
        {
            "": Wording(
                "Service {service} exceeded its memory limit of {limit_bytes:bytes} and the kernel killed "
                "{oom_kills:process|processes}.",
                "Set limits.memory of the service above {limit_bytes:bytes}, then run again.",
            ),
            "host": Wording(
                "The host of service {service} ran out of memory and the kernel killed {oom_kills:process|processes}.",
                "Give the service a host with more memory, or limit what it keeps in memory.",
            ),
        },
    ),
    Entry(
        FindingCode.SERVICE_EXITED,
        (INVALID,),
        {
            "": Wording("Service {service} ended during the trial: {detail}.", _LOG),
            "when": Wording("Service {service} ended {after_s:s} after its start: {detail}.", _LOG),
        },
    ),
    Entry(
        FindingCode.SERVICE_NOT_READY,
        (INVALID,),
        {
            "": Wording(
                "Service {service} did not come up: {detail}.",
                "Check service-{service}.log in the trial's folder, and the service's port, healthcheck and ready.timeout.",
            ),
            "prepare": Wording(
                "Service {service} could not be prepared: {detail}.",
                "Fix the command in 'prepare' of the service; service-{service}.log in the trial's folder has its log.",
            ),
        },
    ),
    Entry(
        FindingCode.SERVICE_REPLACED,
        (INFORMATION,),
        {
            "": Wording(
                "Service {service}, which should have been kept, was started again before this trial: {detail}.",
                "It is prepared as at its first start; what earlier trials wrote to it is gone.",
            )
        },
    ),
    Entry(
        FindingCode.SERVICE_THROTTLED,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "The campaign's CPU limit throttled service {service} in {share_of_periods:percent} of the scheduling "
                "periods.",
                "The limit shapes these times; raise limits.cpus of the service to measure without it.",
            ),
            "bottleneck": Wording(
                "Service {service} reached its CPU quota of {quota}: it was throttled in "
                "{share_of_periods:percent} of the scheduling periods, and is a likely bottleneck.",
                "Raise limits.cpus of the service to measure the target without it.",
            ),
            "foreign": Wording(
                "A CPU limit that the campaign did not set throttled service {service} in {share_of_periods:percent} of "
                "the scheduling periods.",
                "Remove that limit from the service's host, or set limits.cpus of the service.",
            ),
        },
    ),
]
