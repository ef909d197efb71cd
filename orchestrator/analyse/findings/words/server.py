"""The words of findings about the server."""

from __future__ import annotations

from orchestrator.analyse.findings.template import Entry, Wording
from orchestrator.result import FindingCode, Severity
from orchestrator.result.finding import Facts

INFORMATION, SUSPECT, INVALID = Severity.INFORMATION, Severity.SUSPECT, Severity.INVALID

_LOG = "Check server.log in the trial's folder."
_MEMORY = "Set limits.memory above {limit_bytes:bytes} or run fewer workers, then run again."
_REDIRECT = "Measure the page that it redirects to, or list the status in 'expect.status' if it is what you measure."
_REDIRECT_REQUEST = (
    "Measure the page that it redirects to, or list the status in the request's 'expect.status' if you measure that."
)
_NO_ANSWER = "Before the load the server gave no answer that can be measured: {detail}."
_KEEPALIVE = "Raise the server's limit of requests per connection (nginx: keepalive_requests)."


def _changes(facts: Facts) -> str:
    """Return what changed between repetitions; the facts are [before, after] by what changed."""
    parts = []
    for what, values in facts.items():
        assert isinstance(values, list)
        old, new = (value if value is not None else "unknown" for value in values)
        parts.append(f"the {what} changed from {old} to {new}")
    return f"Between repetitions {' and '.join(parts)}."


ENTRIES = [
    Entry(
        FindingCode.SERVER_OOM_KILL,
        (INVALID,),
        {
            "": Wording(
                "The server container exceeded its memory limit of {limit_bytes:bytes} and the kernel killed "
                "{oom_kills:process|processes}.",
                _MEMORY,
            )
        },
    ),
    Entry(
        FindingCode.SERVER_MEMORY_THRASH,
        (INVALID,),
        {
            "": Wording(
                "The server ran at its memory limit of {limit_bytes:bytes} and spent the window paging "
                "({major_faults_in_window:major page fault|major page faults}).",
                _MEMORY,
            ),
            "starting": Wording(
                "The server never became ready. It ran at its memory limit of {limit_bytes:bytes} and spent its time "
                "paging ({major_faults:major page fault|major page faults}).",
                _MEMORY,
            ),
        },
    ),
    Entry(
        FindingCode.SERVER_NOT_READY,
        (INVALID,),
        {
            "": Wording(
                "The server did not become ready within {after_s:s}.",
                "Check server.log in the trial's folder, and the port and 'ready' in the campaign.",
            ),
            "why": Wording(
                "The server did not become ready within {after_s:s}: {detail}.",
                "Check server.log in the trial's folder, and the port and 'ready' in the campaign.",
            ),
            "url": Wording(
                _NO_ANSWER,
                "Check that the server is up and its address right.",
            ),
            "url, version": Wording(_NO_ANSWER, "Set the load's 'protocol' to the version that the server speaks."),
            "url, name": Wording(
                _NO_ANSWER,
                "Write the name of the certificate in the URL, or set it as the server name in the load's 'tls'.",
            ),
            "url, plain": Wording(_NO_ANSWER, "Write http:// instead of https://, or correct the port."),
            "url, client": Wording(_NO_ANSWER, "Set 'tls.cert' and 'tls.key' of the load."),
            "url, untrusted": Wording(
                _NO_ANSWER,
                "Name the certificate's authority as 'tls.ca' of the load, or set 'tls.verify: false' to measure without a "
                "check.",
            ),
            "url, slow": Wording(
                "Before the load the server gave {detail}.",
                "If it is slow, raise the load's 'timeout' or, without that, 'ready.timeout' of the target.",
            ),
        },
    ),
    Entry(
        FindingCode.SERVER_EXITED,
        (INVALID,),
        {
            "": Wording("The server container exited during the trial.", _LOG),
            "status": Wording("The server container exited during the trial with exit code {exit_code:count}.", _LOG),
            "line": Wording("The server container exited during the trial. Its last line was '{line}'.", _LOG),
            "status, line": Wording(
                "The server container exited during the trial with exit code {exit_code:count}. "
                "Its last line was '{line}'.",
                _LOG,
            ),
        },
    ),
    Entry(
        FindingCode.SERVER_RESTARTED,
        (INVALID,),
        {"": Wording("The server container was restarted {restarts:time|times} during the trial.", _LOG)},
    ),
    Entry(
        FindingCode.SERVER_UNRESPONSIVE,
        (INVALID,),
        {
            "": Wording("The server did not survive the load: it no longer answers.", _LOG),
            "why": Wording("The server did not survive the load: {detail}.", _LOG),
            "silent": Wording("The server answered no requests in the last {silent_s:s} of the window.", _LOG),
        },
    ),
    Entry(
        FindingCode.SERVER_THROTTLED,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "The campaign's CPU limit throttled the server in {share_of_periods:percent} of the scheduling "
                "periods.",
                "The limit shapes these times, as the campaign intends; raise limits.cpus to measure without it.",
            ),
            "foreign": Wording(
                "A CPU limit that the campaign did not set throttled the server in {share_of_periods:percent} of the "
                "scheduling periods.",
                "Remove that limit from the host, or set limits.cpus in the campaign.",
            ),
        },
    ),
    Entry(
        FindingCode.RESPONSE_MISMATCH,
        (INVALID, SUSPECT),
        {
            "": Wording(
                "The server's response is not the expected one: {detail}.",
                "Fix the server, or correct 'expect' in the campaign.",
            ),
            "method": Wording(
                "The server does not accept {asked}: it answered with status {status:count}.",
                "Set the load's 'method' to one that the server accepts there, and give it the body that the server "
                "needs ('json' or 'body').",
            ),
            "path": Wording(
                "The server has nothing at {asked}: it answered with status {status:count}.",
                "Correct the path ('path' or 'url' of the target, 'requests' or 'paths' of the load), or the 'method'.",
            ),
            "refused": Wording(
                "The server refused {asked} with status {status:count}.",
                "Add the credentials to the load's 'headers', from an environment variable.",
            ),
            "handshake": Wording(
                "The server cannot be loaded over WebSocket: {detail}.",
                "Check the target's path, and the 'headers' and 'subprotocols' of the load.",
            ),
            "messages": Wording(
                "The server cannot be loaded over WebSocket: {detail}.",
                "Measure an endpoint that answers each message with one message; check the load's 'message'.",
            ),
            "after": Wording("The server's response changed after the load: {detail}.", _LOG),
            "sample": Wording(
                "{share:percent} of the {checked:answer|answers} compared under load were not as expected: {example}.",
                "Check what the server returns under load, or correct 'expect' in the campaign.",
            ),
            "sample, request": Wording(
                "{share:percent} of the {checked:answer|answers} compared under load were not as expected, most of them to "
                "{request}: {example}.",
                "Check what the server returns under load, or correct the 'expect' of this request.",
            ),
            "load": Wording(
                "Under load the responses averaged {body_bytes:digits} bytes instead of {expected_bytes:count}.",
                "Check what the server returns under load: a fast wrong answer is not an answer.",
            ),
        },
    ),
    Entry(
        FindingCode.NOT_RUN,
        (INVALID,),
        {"": Wording("This trial was not run: {detail}.", "Fix what stopped the trials before it, then resume.")},
    ),
    Entry(
        FindingCode.CONNECTION_CLOSE,
        (SUSPECT,),
        {
            "": Wording(
                "The server closes connections after a single response, so almost every request pays for a new "
                "connection.",
                "Turn on keep-alive in the server.",
            ),
            "asked": Wording(
                "The load asks for it with the header Connection: close: almost every request pays for a new connection.",
                "Remove this header to measure with keep-alive.",
            ),
            "some": Wording(
                "The load asks for it with the header Connection: close of some requests: {connections_opened:connection|"
                "connections} were opened for {clients:client|clients}.",
                "Remove this header to measure with keep-alive.",
            ),
        },
    ),
    Entry(
        FindingCode.KEEPALIVE_LIMIT,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "The server closes a connection after about {requests_per_connection:request|requests}.", _KEEPALIVE
            ),
            "many": Wording(
                "The server closes a connection after about {requests_per_connection:request|requests}.",
                "They are enough to leave the numbers valid. To measure without it: "
                "raise the server's limit of requests per connection (nginx: keepalive_requests).",
            ),
            "http2": Wording(
                "The server closed HTTP/2 connections while it was running, after at most "
                "{requests_per_connection:request|requests} each.",
                _KEEPALIVE,
            ),
        },
    ),
    Entry(
        FindingCode.HANDSHAKES_FAILED,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "{failed:handshake|handshakes} of {attempts:count} failed, by status: {detail}. Messages that waited "
                "for them were not sent.",
                "Check why the server refuses connections: a limit of connections or of handshakes, or a full backlog.",
            ),
            "few": Wording(
                "{failed:handshake|handshakes} of {attempts:count} failed, by status: {detail}.",
                "They are few enough to leave the numbers valid; they are counted.",
            ),
        },
    ),
    Entry(
        FindingCode.UNASKED_MESSAGES,
        (INVALID,),
        {
            "": Wording(
                "The server sent {messages:message|messages} that answered no message, so that answers cannot be matched "
                "with what they answer.",
                "Measure an endpoint that answers each message with exactly one message.",
            )
        },
    ),
    Entry(
        FindingCode.NO_SUCCESS,
        (INVALID,),
        {
            "": Wording(
                "No request succeeded ({http_error:HTTP error|HTTP errors}, {failed:failed request|failed requests}).",
                "Check the URL and server.log in the trial's folder.",
            ),
            "endless": Wording(
                "No request was complete: the server's answers do not end. The body of the one before the load had no "
                "end either when Volley stopped reading.",
                "Volley measures whole answers, so a stream (server-sent events) needs a path that ends it.",
            ),
            "short": Wording(
                "No request was answered in the {load_s:s} of the load. The answer before it took {answer_s:s}.",
                "Set the load's 'duration' and 'tail' each to several times as long as an answer takes.",
            ),
        },
    ),
    Entry(
        FindingCode.ERRORS,
        (INFORMATION, SUSPECT),
        {
            "": Wording(
                "{share:percent} of the requests did not succeed ({http_error:HTTP error|HTTP errors}, "
                "{failed:failed request|failed requests}). The times are those of the others.",
                "Find out why they failed: errors are often cheaper than successful responses.",
            ),
            "unsent": Wording(
                "The server ended {ended:connection|connections} with a request under way. h2load does not open those "
                "again, so it never sent {unsent:count} of {total:request|requests}.",
                "Use generator: paced, which opens connections again, and find out why the server ends them.",
            ),
            "limited": Wording(
                "A rate limiter refused {share:percent} of the requests with status 429. The times are those of the "
                "successful answers.",
                "Raise the server's limit, or load it at a rate below the limit.",
            ),
            "few": Wording(
                "Some requests did not succeed ({http_error:HTTP error|HTTP errors}, "
                "{failed:failed request|failed requests}).",
                "They are few enough to leave the numbers valid; they are counted.",
            ),
        },
    ),
    Entry(
        FindingCode.REDIRECTED,
        (SUSPECT,),
        {
            "": Wording(
                "The server redirected {redirected:request|requests} ({share:percent}) with status {status:count} to "
                "{location}.",
                _REDIRECT,
            ),
            "elsewhere": Wording(
                "The server redirected {redirected:request|requests} ({share:percent}) with status {status:count}.",
                _REDIRECT,
            ),
            "request": Wording(
                "The server redirected {redirected:request|requests} ({share:percent}) with status {status:count}, all "
                "of them {request}.",
                _REDIRECT_REQUEST,
            ),
            "request, to": Wording(
                "The server redirected {redirected:request|requests} ({share:percent}) with status {status:count}, all "
                "of them {request}, to {location}.",
                _REDIRECT_REQUEST,
            ),
            "requests, to": Wording(
                "The server redirected {redirected:request|requests} ({share:percent}) with status {status:count}, most "
                "of them {request}, to {location}.",
                _REDIRECT_REQUEST,
            ),
            "requests": Wording(
                "The server redirected {redirected:request|requests} ({share:percent}) with status {status:count}, most "
                "of them {request}.",
                _REDIRECT_REQUEST,
            ),
        },
    ),
    Entry(
        FindingCode.HOST_CHANGED,
        (SUSPECT,),
        {"": Wording(_changes, "Run again on hosts that do not change: these trials are not repetitions.")},
    ),
]
