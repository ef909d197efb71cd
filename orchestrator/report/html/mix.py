"""The tables of a page about each request of a mix, the first byte, and the bytes per second."""

from __future__ import annotations

from orchestrator.analyse.people import count, percent
from orchestrator.report import transfer
from orchestrator.report.conditions import counted_in
from orchestrator.report.format import estimate, with_interval
from orchestrator.report.html.tables import SHOWN_TIMES, WORDS, Cell, Row, Table, made
from orchestrator.report.requests import status_codes
from orchestrator.result import CaseRequest, CaseResult, Summary, Time
from orchestrator.slo import Metric

_TIMES = [f"{Metric(name).label}, ms" for name in SHOWN_TIMES]


def requests(summary: Summary) -> list[Table]:
    """Return the requests of loads with several: one table of response times, one of service times."""
    tables = []
    sent = counted_in(*(case for case in summary.cases if case.mix))
    for time in (Time.RESPONSE, Time.SERVICE):
        rows = [
            _request(case, request, time)
            for case in summary.cases
            for request in case.mix
            if time is Time.SERVICE or request.response_time_us is not None
        ]
        columns = ["case", sent.one, "share", sent.per_s, *_TIMES, "first byte p50, ms", "MB/s", "errors"]
        table = made([*columns, "unexpected", "by status code"], rows, f"{str(time).capitalize()} of each {sent.one}.")
        tables += [] if table is None else [table]
    return tables


def _request(case: CaseResult, request: CaseRequest, time: Time) -> Row:
    times = request.response_time_us if time is Time.RESPONSE else request.service_time_us
    streams = transfer.streams(request)
    return [
        case.case,
        Cell(request.name, WORDS),
        percent(request.share),
        with_interval(request.throughput_per_s),
        *(estimate((times or {}).get(name), 1000) for name in SHOWN_TIMES),
        estimate((request.first_byte_us or {}).get(Metric.P50), 1000) if streams else "",
        estimate(request.received_bytes_per_s, transfer.MEGABYTE) if streams else "",
        percent(request.requests.error_share),
        count(request.unexpected) if request.unexpected else "",
        Cell(status_codes(request.statuses), WORDS),
    ]


def transfers(summary: Summary) -> Table | None:
    """Return the time to the first byte and the bytes per second, where bodies are large or come in parts."""
    rows: list[Row] = [
        [
            case.case,
            *(with_interval((case.first_byte_us or {}).get(name), 1000) for name in SHOWN_TIMES),
            with_interval(case.received_bytes_per_s, transfer.MEGABYTE),
            "" if case.body_bytes is None else count(round(case.body_bytes)),
        ]
        for case in summary.cases
        if transfer.is_shown(case)
    ]
    columns = ["case", *_TIMES, "MB/s", "bytes per answer"]
    return made(columns, rows, "Time to first byte of successful answers, and the bytes of their bodies.")
