"""Which generator sends a load, and over how many connections at most. Pure."""

from __future__ import annotations

import math

from agents.records import GeneratorKind
from orchestrator.spec.loads import Load, Program
from orchestrator.spec.messages import WEBSOCKET

# What one agent of paced sends on one core without being late for more than a few requests:
# docs/explanation/generators.md.
PACED_MOST_PER_S = 10_000.0
# The open loop opens connections as they are needed: an upper limit against a server that answers no more.
MOST_OPEN_CLIENTS = 10_000
# h2load paces each connection with a timer of 10 ms: few enough requests a second that it does not send several at once,
# and slots for answers of up to 50 ms when two requests may be under way for each that is due.
H2LOAD_PER_CLIENT = 10.0


def choose(load: Load, agents: int, socket: bool = False, first_byte: bool = False) -> GeneratorKind:
    """Return the generator of a load; 'auto' depends on the load.

    paced sends open loads over HTTP/1.1, as long as each agent's part of the rate is within what it can send, and closed
    ones that h2load cannot: several requests, rows of a data file, HEAD requests, requests with a timeout, headers without a
    value, secret headers (h2load has them in its command line), connections whose certificate is checked or that need one,
    and those to a unix socket. socket: the server is behind one. first_byte: an objective is about the time to the first
    byte, which h2load does not log.
    """
    if isinstance(load.generator, Program):
        return GeneratorKind.COMMAND
    if load.generator != "auto":
        return GeneratorKind(load.generator)
    if load.protocol == WEBSOCKET:
        return GeneratorKind.WEBSOCKET
    if load.protocol != "http1":
        return GeneratorKind.H2LOAD
    if load.only_paced is not None:
        return GeneratorKind.PACED
    needs_paced = socket or first_byte or load.timeout is not None or load.paced_only is not None
    if load.rate is None:
        return GeneratorKind.PACED if needs_paced else GeneratorKind.H2LOAD
    needs_paced = needs_paced or load.arrivals == "poisson"
    within = load.rate / agents <= PACED_MOST_PER_S
    return GeneratorKind.PACED if within or needs_paced else GeneratorKind.H2LOAD


def is_too_fast_for_paced(load: Load, agents: int) -> bool:
    """Return whether h2load sends a load for no other reason than its rate, which is above what these agents can pace."""
    could_be_paced = load.generator == "auto" and load.protocol == "http1" and load.rate is not None
    return could_be_paced and choose(load, agents) is GeneratorKind.H2LOAD


def can_replace_h2load(load: Load) -> bool:
    """Return whether paced sends a load of h2load's where h2load is missing: a closed loop over HTTP/1.1.

    An open load of h2load's is too fast for paced, and paced speaks no HTTP/2.
    """
    return load.generator == "auto" and load.protocol == "http1" and load.rate is None


def most_clients(load: Load, generator: GeneratorKind, agents: int, slowest_us: float = 0) -> int:
    """Return the most connections of a load, over all agents: what it says, else a default for its generator.

    slowest_us: how long answers may take by the load's objectives. h2load needs 2 * rate * that many slots, so that one is
    free when a request is due.
    """
    if load.clients is not None:
        return load.clients
    assert load.rate is not None, "a closed load has clients"
    if generator is not GeneratorKind.H2LOAD:
        return max(MOST_OPEN_CLIENTS, agents)
    slots = max(load.rate / H2LOAD_PER_CLIENT, 2 * load.rate * slowest_us / 1e6 / load.streams)
    return min(MOST_OPEN_CLIENTS, max(agents, math.ceil(slots)))
