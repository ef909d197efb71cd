"""The options that say what is requested, and how: one definition for every verb that takes a URL."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from agents.generators.contract import Arrivals
from orchestrator.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from orchestrator.spec.asked import RequestOptions

# The heading of these options in the help of a verb, and the parameter of a verb that stands for all of them.
PANEL, PARAMETER = "Request", "request"


class Default(NamedTuple):
    """The type of an option, and its value where it is not given."""

    annotation: Any
    value: Any


def _option(*names: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, rich_help_panel=PANEL, **more)


# By field of RequestOptions.
OPTIONS = {
    "method": Default(
        Annotated[
            str | None, _option("-X", "--method", metavar="METHOD", help="HTTP method (default GET; POST with data).")
        ],
        None,
    ),
    "data": Default(
        Annotated[str | None, _option("--data", metavar="TEXT", help="Send this text as the body of each request.")],
        None,
    ),
    "data_file": Default(
        Annotated[
            Path | None,
            _option("--data-file", metavar="FILE", help="Send the contents of this file as the body of each request."),
        ],
        None,
    ),
    "headers": Default(
        Annotated[
            list[str] | None,
            _option("-H", "--header", metavar="HEADER", help="Send this header, as 'NAME: VALUE'. Can be repeated."),
        ],
        None,
    ),
    "paths": Default(
        Annotated[
            list[str] | None,
            _option(
                "--paths",
                metavar="P1,P2,...",
                help="Request these paths instead of the URL's own, mixed equally. Can be repeated.",
            ),
        ],
        None,
    ),
    "timeout": Default(
        Annotated[
            str | None,
            _option("--timeout", metavar="DURATION", help="A request without an answer after this time has failed."),
        ],
        None,
    ),
    "http2": Default(Annotated[bool, _option("--http2/--http1", help="The protocol.")], False),
    "streams": Default(
        Annotated[int, _option("-m", "--streams", metavar="N", help="Concurrent streams per connection (HTTP/2).")], 1
    ),
    "generator": Default(
        Annotated[
            str | None,
            _option(
                "--generator",
                metavar="NAME",
                help="What sends the requests: h2load, paced, or a command that follows the generator contract.",
            ),
        ],
        None,
    ),
    "expect_status": Default(
        Annotated[
            int | None,
            _option("--expect-status", metavar="STATUS", help="Status code the server must return (default: < 400)."),
        ],
        None,
    ),
    "verify": Default(
        Annotated[
            bool | None,
            _option(
                "--verify/--insecure",
                help="Check the certificate of an https server, or accept any. Default: check it, unless the server "
                "is on this machine. h2load cannot check it: Volley does so before each trial.",
            ),
        ],
        None,
    ),
    "ca": Default(
        Annotated[
            Path | None,
            _option("--cacert", metavar="FILE", help="Trust the authorities in this PEM file, not those of the host."),
        ],
        None,
    ),
    "cert": Default(
        Annotated[Path | None, _option("--cert", metavar="FILE", help="Use this client certificate (PEM).")], None
    ),
    "key": Default(
        Annotated[
            Path | None, _option("--key", metavar="FILE", help="The private key of --cert, if that file has none.")
        ],
        None,
    ),
    "server_name": Default(
        Annotated[
            str | None,
            _option("--server-name", metavar="NAME", help="Send and check this name in TLS instead of the URL's host."),
        ],
        None,
    ),
    "socket": Default(
        Annotated[
            Path | None,
            _option("--unix-socket", metavar="FILE", help="Connect to this socket; the URL gives Host and path."),
        ],
        None,
    ),
}  # fmt: skip

WithArrivals = Annotated[
    Arrivals, _option("--arrivals", help="Open loop: requests are due evenly or at random times (Poisson).")
]


def takes_request(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of a request in place of its parameter `request`, which receives them as one record."""
    signature = inspect.signature(verb, eval_str=True, globals={**verb.__globals__, "RequestOptions": Any})
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name != PARAMETER:
            parameters.append(parameter)
            continue
        for name, option in OPTIONS.items():
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(
                inspect.Parameter(name, kind, default=option.value, annotation=option.annotation)
            )  # fmt: skip
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]

    @functools.wraps(verb)
    def with_request(**typed: Any) -> None:
        from orchestrator.spec.asked import RequestOptions

        chosen = {name: typed.pop(name) for name in OPTIONS}
        for name in ("headers", "paths"):
            chosen[name] = tuple(chosen[name] or ())
        verb(**typed, **{PARAMETER: RequestOptions(**chosen)})

    # Typer reads both.
    with_request.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_request.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_request


def is_url(what: str) -> bool:
    """Return whether an argument is a URL rather than a campaign file."""
    return "://" in what


def refuse_for_file(request: RequestOptions, *others: str) -> None:
    """Raise ConfigurationError when options of a request were given beside a campaign file.

    others: further options that were given and belong to a URL alone.
    """
    given = [*request.given(), *others]
    if given:
        what, fix = (
            "belongs to a URL: the loads of a campaign file say what is requested",
            "edit the file, or use --set",
        )
        raise ConfigurationError([Problem(option, what, fix) for option in given])
