"""How a target is driven, as a checked model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from orchestrator.redact import is_secret
from orchestrator.slo import shown
from orchestrator.spec import messages
from orchestrator.spec import requests as requested
from orchestrator.spec.base import Model
from orchestrator.spec.headers import contradiction
from orchestrator.spec.requests import Count, Data, Request, Requests
from orchestrator.spec.secrets import is_secret_name
from orchestrator.spec.text import (
    Address,
    Body,
    Document,
    Headers,
    Method,
    NonEmpty,
    Subprotocol,
    Text,
    UrlPath,
)
from orchestrator.spec.units import Duration, Rate, duration_text

# Shorter windows hold too few requests, and are as short as the errors of the clocks.
SHORTEST_WINDOW_US = 10_000
# Of the default tail, a tenth of the duration.
SHORTEST_TAIL_US, LONGEST_TAIL_US = 300_000, 2_000_000


def _measurable(us: int) -> int:
    if us < SHORTEST_WINDOW_US:
        shortest = duration_text(SHORTEST_WINDOW_US)
        raise ValueError(f"a window of {duration_text(us)} is too short to measure: use at least {shortest}")
    return us


Window = Annotated[Duration, AfterValidator(_measurable)]


def _generator_kind(value: Any) -> str:
    return "mapping" if isinstance(value, dict | Program) else "name"


class Program(Model):
    """A generator of your own that follows the generator contract (docs/reference/generators.md)."""

    command: Annotated[list[Text], Field(min_length=1)]
    """The program and its arguments, run on every load host."""


class TlsOptions(Model):
    """How connections to an https server are made."""

    verify: bool | None = None
    """Check the server's certificate: as `verify` of the load."""
    ca: NonEmpty | None = None
    """File with the certificates of the authorities to trust instead of those of the host, PEM, relative to the campaign
    file. The server's certificate is then checked, also on this machine and of a container."""
    cert: NonEmpty | None = None
    """File with the client's certificate, PEM."""
    key: NonEmpty | None = None
    """File with the private key of `cert`, PEM; not needed where `cert` holds both. It is never stored."""
    server_name: Address | None = None
    """The name to send (SNI) and to check instead of the URL's host."""

    @model_validator(mode="after")
    def _whole(self) -> TlsOptions:
        if self.key is not None and self.cert is None:
            raise ValueError("'key' is set without 'cert': add cert, the file with the client's certificate")
        if self.verify is False and self.ca is not None:
            raise ValueError("'ca' has no effect without a check: remove 'ca', or remove verify: false")
        return self


class Load(Model):
    """How a target is driven. Clients, requests and rate are totals over all agents."""

    model: Literal["closed", "open"] = "closed"
    """closed: each client sends its next request when the last one is answered. open: requests are due at a rate."""
    protocol: Literal["http1", "http2", "websocket"] = "http1"
    """http1: HTTP/1.1 with keep-alive. http2: HTTP/2; over plain TCP without an upgrade (prior knowledge). websocket: each
    connection sends a message and waits for the message that answers it; for a URL with ws:// or wss://, too."""
    clients: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Closed model: connections, each with one request at a time. Open model: the most connections; as many as are needed
    are opened."""
    streams: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Concurrent streams per connection (HTTP/2)."""
    requests: Requests | None = None
    """What is sent: a list of requests, each a path or a mapping, mixed by weight; or {from: FILE}. A number is short for
    `count`."""
    count: Count | None = None
    """Closed model: stop after this many requests. The window is the whole run, without a warm-up."""
    data: Data | None = None
    """A file whose rows fill the placeholders ${row.COLUMN} in paths, headers and bodies."""
    rate: Rate | None = None
    """Open model: requests due per second."""
    arrivals: Literal["even", "poisson"] = "even"
    """Open model: requests are due evenly, or at random times (a Poisson process, drawn from the campaign's seed)."""
    generator: Annotated[
        Annotated[Program, Tag("mapping")] | Annotated[Literal["auto", "h2load", "paced", "websocket"], Tag("name")],
        Discriminator(_generator_kind),
    ] = "auto"
    """What sends the requests. auto: paced for open loads over HTTP/1.1, for several requests, for data and for secret
    headers, h2load for the rest; or {command: [...]}."""
    duration: Window | None = None
    """Length of the window."""
    warm_up: Duration | None = None
    """Before the window; by default the longer of 1 s and a tenth of the duration."""
    tail: Duration | None = None
    """How long the load continues after the window, so that slow requests that started inside are seen; by default a tenth
    of the duration, at least 0.3 s and at most 2 s."""
    timeout: Duration | None = None
    """A request without an answer after this time counts as failed. With h2load no request times out."""
    give_up: Duration = 60_000_000
    """Ends a load with a number of requests that does not end by itself."""
    paths: Annotated[list[UrlPath], Field(min_length=1)] | None = None
    """Paths to request instead of the target's own, equally often: short for `requests` with the load's method and body."""
    method: Method = "GET"
    """The HTTP method; by default GET, and POST for a load with a body."""
    headers: Headers = Field(default_factory=dict)
    """Header fields of every request. Their values are never stored."""
    body: Body | None = Field(default=None, repr=False)
    """Text to send as body."""
    json_: Annotated[Document, Field(alias="json", repr=False)] = None
    """A document to send as JSON; sets Content-Type: application/json unless `headers` has a Content-Type."""
    body_file: Text | None = None
    """File to send as body, relative to the campaign file."""
    message: Body | None = Field(default=None, repr=False)
    """WebSocket: the text of the message; by default 'hello'. A document to send as JSON text is `json`."""
    message_file: Text | None = None
    """WebSocket: file to send as message, relative to the campaign file; text in UTF-8 unless `binary` is set."""
    binary: bool = False
    """WebSocket: send the file as a binary message."""
    subprotocols: Annotated[list[Subprotocol], Field(min_length=1)] | None = None
    """WebSocket: subprotocols that the handshake offers, the preferred one first."""
    verify: bool | None = None
    """Check the server's certificate (https). By default that of a URL is checked, unless it is on this machine. h2load
    cannot check it: Volley then does so before each trial. true has paced send the load, which checks every connection."""
    tls: TlsOptions = TlsOptions()
    """How connections to an https server are made: authorities, a certificate of the client's own, another name."""
    agents: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many agents share this load; by default the campaign's number."""

    @model_validator(mode="after")
    def _bounded(self) -> Load:
        if self.model == "closed":
            if (self.total is None) == (self.duration is None):
                key = "requests" if self.count is None and self.listed_key != "requests" else "count"
                raise ValueError(f"a closed load needs '{key}' or 'duration': set exactly one of them")
            if self.clients is None:
                raise ValueError("a closed load needs 'clients': add clients, the number of connections")
            if self.arrivals != "even":
                raise ValueError("'arrivals' belongs to the open model: add model: open")
            if self.rate is not None:
                raise ValueError("'rate' belongs to the open model: add model: open")
            if self.total is not None and self.warm_up is not None:
                key = "requests" if self.count is None else "count"
                raise ValueError(f"a load with '{key}' has no warm-up, its window is the whole run: remove 'warm_up'")
        else:
            missing = [name for name in ("rate", "duration") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"an open load needs 'rate' and 'duration': add {' and '.join(map(repr, missing))}")
            if self.total is not None:
                key = "requests" if self.count is None else "count"
                raise ValueError(f"an open load ends after 'duration': remove '{key}'")
        if self.protocol == "http2" and self.generator == "paced":
            raise ValueError("the generator paced speaks HTTP/1.1 only: use generator: h2load")
        if self.generator == "h2load":
            if self.arrivals == "poisson":
                raise ValueError("h2load cannot send at random times: omit 'generator', or use arrivals: even")
            if self.timeout is not None:
                raise ValueError("h2load does not time requests out: omit 'generator', or omit 'timeout'")
        if self.verify is not None and self.tls.verify is not None:
            raise ValueError("'verify' and 'tls.verify' are set together: remove 'verify'")
        uses_h2load = self.generator == "h2load" or (
            self.protocol == "http2" and not isinstance(self.generator, Program)
        )
        if self.paced_only is not None and uses_h2load:
            what, key = self.paced_only
            fix = "omit 'generator'" if self.protocol == "http1" else "use http1 without 'generator'"
            raise ValueError(f"h2load {what}: {fix}{f', or omit {key}' if key else ''}")
        if self.protocol == "http1" and self.streams != 1:
            raise ValueError("HTTP/1.1 has one request at a time on a connection: remove 'streams', or use http2")
        messages.refuse_wrong_keys(self)
        if self.protocol != messages.WEBSOCKET:
            requested.refuse_two_bodies(self)
        self._check_requests()
        self._check_headers()
        return self

    def _check_requests(self) -> None:
        """Refuse a list of requests that contradicts the rest of the load."""
        if self.count is not None and isinstance(self.requests, int):
            raise ValueError("'requests' is a number beside 'count': remove one of them")
        if self.listed_key == "requests":
            if self.paths is not None:
                raise ValueError("'paths' and a list of 'requests' are set together: write the paths into the list")
            for key in ("method", *self.body_keys):
                if key == "method" and key not in self.model_fields_set:
                    continue
                raise ValueError(f"'{key}' belongs to each request of the list: write it there")
            requested.refuse_equal_names(self.listed)
        if (what := self.only_paced) is not None and not isinstance(self.generator, Program):
            if self.protocol == "http2":
                raise ValueError(f"{what} cannot be sent over HTTP/2: remove 'protocol', paced speaks HTTP/1.1 only")
            if self.generator == "h2load":
                raise ValueError(f"{what} cannot be sent by h2load, which repeats one request: omit 'generator'")

    def _check_headers(self) -> None:
        """Refuse headers that cannot be sent with a request."""
        http2, listed = self.protocol == "http2", self.listed
        if self.listed_key != "requests":
            listed = []
            if problem := contradiction(self.headers, http2, requested.body_bytes(self)):
                raise ValueError(problem)
        for each, name in zip(listed, requested.names_of(listed), strict=True):
            headers = requested.merged(self.headers, each.headers)
            if problem := contradiction(headers, http2, requested.body_bytes(each), f" of {shown(name)}"):
                raise ValueError(problem)

    @property
    def total(self) -> int | None:
        """How many requests end the load; None when it ends after its duration."""
        return self.requests if isinstance(self.requests, int) else self.count

    @property
    def listed_key(self) -> str | None:
        """The key that lists requests; None for a load of the target's own request."""
        if self.requests is not None and not isinstance(self.requests, int):
            return "requests"
        return None if self.paths is None else "paths"

    @property
    def listed(self) -> list[Request]:
        """The requests that the load lists; none for a load of the target's own request."""
        if isinstance(self.requests, list):
            return requested.as_requests(self.requests)
        own = self.model_dump(include={"headers", "body", "body_file"}, exclude_unset=True)
        document = {"json": self.json_} if self.has_json else {}
        return [Request(path=path, method=self.http_method, **own, **document) for path in self.paths or ()]

    @property
    def only_paced(self) -> str | None:
        """What of the load no other generator of Volley's can send; None for nothing."""
        if len(self.listed) > 1:
            return "a mix of requests"
        if self.data is not None:
            return "rows of a data file"
        return "a timeout" if any(request.timeout is not None for request in self.listed) else None

    @property
    def body_keys(self) -> list[str]:
        """The keys that give a body, as written in the file: at most one in a checked load."""
        return requested.body_keys(self)

    @property
    def has_json(self) -> bool:
        """Whether the body is a JSON document, which can be null."""
        return requested.has_json(self)

    @property
    def verifies(self) -> bool | None:
        """Whether the load says that certificates are checked, under either key; None where it says nothing."""
        return self.verify if self.tls.verify is None else self.tls.verify

    @property
    def paced_only(self) -> tuple[str, str] | None:
        """Why h2load cannot send this load whatever the server is, and the key to omit; None where it can.

        The answer to a HEAD request has no body, which h2load waits for over HTTP/1.1.
        """
        listed = self.listed
        if self.protocol == "http1" and "HEAD" in [self.method, *(each.http_method for each in listed)]:
            return "waits for the body that the answer to HEAD does not have", ""
        if self.verifies:
            return "does not check certificates", "'verify'" if self.verify else "'tls.verify'"
        if self.tls.cert is not None:
            return "has no client certificates", "'tls.cert'"
        if self.tls.server_name is not None:
            return "sends no other name than the URL's", "'tls.server_name'"
        headers = [*self.headers.items(), *(item for each in listed for item in each.headers.items())]
        if empty := next((name for name, value in headers if not value), None):
            return f"cannot send the header {empty!r} without a value", "it"
        if secret := next((name for name, value in headers if is_secret_name(name) or is_secret(value)), None):
            return (
                f"would show the secret header {secret!r} to every user, in its command line",
                f"the header {secret!r}",
            )
        return None

    @property
    def http_method(self) -> str:
        """The method of the requests, the default applied."""
        return requested.http_method(self)

    @property
    def warm_up_us(self) -> int:
        """The warm-up in µs, the default applied."""
        if self.duration is None:
            return 0
        return max(1_000_000, self.duration // 10) if self.warm_up is None else self.warm_up

    @property
    def tail_us(self) -> int:
        """The tail in µs, the default applied."""
        if self.duration is None:
            return 0
        return min(LONGEST_TAIL_US, max(SHORTEST_TAIL_US, self.duration // 10)) if self.tail is None else self.tail
