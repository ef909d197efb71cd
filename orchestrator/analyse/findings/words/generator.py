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
                "Load agent {agent} sent at {sent_per_s:digits}/s. The calibrated ceiling of its host is "
                "{ceiling_per_s:digits}/s.",
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
        FindingCode.OTHER_RUN,
        (SUSPECT,),
        {
            "": Wording(
                "Another run used host {host} during the load: {runs:names}.",
                "Run one after the other: --wait waits for the other run.",
            )
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
        FindingCode.HUNG_SLOTS,
        (SUSPECT, INVALID),
        {
            "": Wording(
                "{hung:count} of {slots:client|clients} got no more answers at the end. They count as failed requests.",
                "Check server.log: the server stopped answering on some connections, or they were cut.",
            ),
            "dropped": Wording(
                "The server ended connections with a request under way, and h2load does not open those again: "
                "{hung:count} of {slots:client|clients} sent nothing more. Their last requests count as failed.",
                "Use generator: paced, which opens connections again, and find out why the server ends them.",
            ),
        },
    ),
    Entry(
        FindingCode.CLIENTS_IDLE,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "For the last {share_of_run:percent} of the run ({drain_s:s}) some clients had no requests left while "
                "others still worked, so the throughput is not at full concurrency.",
                "Use a load with a duration instead of a number of requests.",
            )
        },
    ),
    Entry(
        FindingCode.OUT_OF_SLOTS,
        (SUSPECT,),
        {
            "": Wording(
                "{waited:request|requests} had to wait because all {slots:connection|connections} were busy. That is the "
                "generator's limit, not the server's.",
                "Raise clients, or leave it out so that as many connections as needed are opened.",
            ),
            "streams": Wording(
                "{waited:request|requests} had to wait because no stream was free. The load allows {slots:stream|streams}; "
                "the server may allow fewer.",
                "Raise clients or streams, or the server's limit of concurrent streams.",
            ),
            "unopened": Wording(
                "{waited:request|requests} had to wait: of the {clients:connection|connections} that h2load opens for this "
                "rate, at most {opened:count} were open. The server took no more.",
                "Raise the server's limit of connections (nginx: worker_connections), or use more agents, so that paced can "
                "send this rate: it opens only those that are busy.",
            ),
        },
    ),
    Entry(
        FindingCode.BURSTY_ARRIVALS,
        (SUSPECT,),
        {
            "": Wording(
                "{late:count} of {due:request|requests} were sent more than {late_us:us} late, up to {burst:count} within "
                "1 ms: the arrivals were bunched.",
                "Use more agents or more load hosts: the generator had too little CPU.",
            ),
            "h2load": Wording(
                "The 10 ms timer of h2load bunched the arrivals: {late:count} of {due:request|requests} were sent more than "
                "{late_us:us} off the schedule, up to {burst:count} within 1 ms.",
                "Use HTTP/1.1 and more agents, so that the generator paced can send this rate.",
            ),
            "early": Wording(
                "{early:count} of {due:request|requests} were sent before they were due.",
                "Fix the generator: a request must not leave before its due time.",
            ),
            "schedule": Wording(
                "{off_schedule:count} of {due:due time|due times} are not on the schedule of the load.",
                "Fix the generator, then run: volley generator check COMMAND.",
            ),
        },
    ),
    Entry(
        FindingCode.RATE_NOT_REACHED,
        (SUSPECT,),
        {
            "": Wording(
                "{due:request|requests} were due in the window where {expected:count} should have been.",
                "Check the generator: volley generator check COMMAND.",
            )
        },
    ),
    Entry(
        FindingCode.SEND_LAG,
        (SUSPECT, INVALID),
        {
            "": Wording(
                "The generator sent requests late: the {percentile:metric} of the send lag is {lag_us:us} of a response "
                "time of {response_us:us}.",
                "Use more agents or more load hosts, or give the generator cores of its own.",
            ),
        },
    ),
    Entry(
        FindingCode.FEWER_AGENTS,
        (INFORMATION,),
        {
            of: Wording(
                f"This load has {{agents:agent|agents}} instead of {{asked:count}}, because each agent needs {one} of "
                "its own.",
                f"Raise '{of}', or set 'agents' to {{agents:count}}.",
            )
            for of, one in (("clients", "a client"), ("requests", "a request"))
        },
    ),
    Entry(
        FindingCode.IDLE_HOSTS,
        (INFORMATION,),
        {
            "": Wording(
                "No load comes from {hosts:names}: this load has {agents:agent|agents}, on other hosts.",
                "Omit 'agents' to have at least one on each load host; the load needs as many clients.",
            )
        },
    ),
]
