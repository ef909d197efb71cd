"""The words of findings about the load generator, its host, and the network."""

from __future__ import annotations

from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.result import FindingCode, Severity

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

_MORE = "Use more agents or more load hosts."
_PORTS = "Widen net.ipv4.ip_local_port_range on that host, or use more load hosts."


ENTRIES = [
    Entry(
        FindingCode.GENERATOR_CPU,
        (SUSPECT, INVALID),
        {
            "": Wording("Load agent {agent} used {busiest_share_of_a_core:percent} of its core.", _MORE),
            "waiting": Wording(
                "Load agent {agent} used {busiest_share_of_a_core:percent} of its core and waited for the core "
                "{share_waiting_for_a_core:percent} of the time.",
                _MORE,
            ),
            "core taken": Wording(
                "Load agent {agent} waited for its core {share_waiting_for_a_core:percent} of the time: something else "
                "used it.",
                "Give the agents cores or hosts of their own.",
            ),
            "ceiling": Wording(
                "Load agent {agent} sent {sent_per_s:digits} req/s. The calibrated ceiling of its host is "
                "{ceiling_per_s:digits} req/s.",
                _MORE,
            ),
        },
    ),
    Entry(
        FindingCode.CLIENTS_LOST,
        (INVALID,),
        {
            "": Wording(
                "Load agent {agent} held only {held_fewest:count} of {clients:connection|connections} at one time.",
                "Check server.log and the network: one of them closed connections during the run.",
            )
        },
    ),
    Entry(
        FindingCode.STREAM_FAILURES,
        (SUSPECT,),
        {
            "": Wording(
                "Load agent {agent} reported {lines:request failure|request failures}.",
                "Raise the server's limits of requests per connection (nginx: keepalive_requests) and of streams.",
            )
        },
    ),
    Entry(
        FindingCode.EPHEMERAL_PORTS,
        (SUSPECT, INVALID),
        {
            "": Wording(
                "Host {host} used {sockets_most:count} of its {ports:count} ephemeral ports for "
                "{clients:client|clients}.",
                _PORTS,
            ),
            "refused": Wording(
                "Host {host} ran out of ephemeral ports: it has {ports:count} for {clients:client|clients}, and "
                "{failed_connects:connection|connections} could not be opened.",
                _PORTS,
            ),
            "too few": Wording(
                "Host {host} has only {ports:ephemeral port|ephemeral ports} for {clients:client|clients}.",
                _PORTS,
            ),
        },
    ),
    Entry(
        FindingCode.SHARED_HOST,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "The server and the load generator ran on the same machine.",
                "Use --hosts to put them on separate machines.",
            ),
            "compete": Wording(
                "The server and the load generator competed for this machine's cores (agents waited "
                "{agents_waiting_for_a_core:percent} of the time).",
                "Use --hosts to put them on separate machines.",
            ),
            "compete, metered": Wording(
                "The server and the load generator competed for this machine's {cores:core|cores} (agents waited "
                "{agents_waiting_for_a_core:percent} of the time, {cores_free:percent} of the CPU was free).",
                "Use --hosts to put them on separate machines.",
            ),
        },
    ),
    Entry(
        FindingCode.HOST_STEAL,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "Other VMs took {stolen_share_of_all_cores:percent} of the CPU time of host {host}.",
                "Use a dedicated machine or try again later.",
            )
        },
    ),
    Entry(
        FindingCode.NETWORK_SATURATED,
        (SUSPECT,),
        {
            "": Wording(
                "The link {link} of host {host} reached {share_of_speed:percent} of its {mbit_per_s:count} Mbit/s.",
                "Use a faster link, or transfer less per response.",
            ),
            "loss": Wording(
                "The network of host {host} lost data ({dropped_share:percent} of packets dropped, "
                "{sent_again_share:percent} of segments sent again).",
                "Use a faster or less busy network, or transfer less per response.",
            ),
        },
    ),
    Entry(
        FindingCode.BURSTY_ARRIVALS,
        (SUSPECT,),
        {
            "": Wording(
                "Each client sends {rate_per_client:digits} requests/s. h2load sends at most every 10 ms, so requests "
                "arrive in bursts.",
                "Use more clients, so that each sends at most {most:count} requests/s.",
            )
        },
    ),
    Entry(
        FindingCode.RATE_NOT_REACHED,
        (SUSPECT,),
        {
            "": Wording(
                "{sent:count} requests were sent where {due:count} were due ({rate_per_s:digits}/s).",
                "Lower the rate or use more clients: the server or the clients cannot keep up with it.",
            )
        },
    ),
    Entry(
        FindingCode.SEND_LAG,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "{late:count} of {due:request|requests} were sent more than 20 ms late. Response time includes the wait.",
                "Use more clients, so that one is free when a request is due.",
            ),
            "lower bound": Wording(
                "{late:count} of {due:request|requests} were sent more than 20 ms late, and the highest response times "
                "are lower bounds.",
                "Use more clients, so that one is free when a request is due.",
            ),
        },
    ),
]
