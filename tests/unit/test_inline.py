"""Campaigns made from a command line: values arrive as they were typed, and the stored file reads back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.generators.contract import Arrivals, Protocol
from agents.records import GeneratorKind
from orchestrator.campaign.origin import parts_of
from orchestrator.errors import ConfigurationError
from orchestrator.plan import make_plan
from orchestrator.run.targets import traffic_of
from orchestrator.spec.asked import OPTIONS, RequestOptions
from orchestrator.spec.generator import MOST_OPEN_CLIENTS
from orchestrator.spec.inline import (
    SEARCH_OPTIONS,
    Bench,
    Search,
    bench,
    calibration_step,
    document,
    saturate,
    source,
    sweep,
    swept,
)
from orchestrator.spec.load import from_plain, load
from orchestrator.spec.target import Target

URL = "http://127.0.0.1:1/"


def places(make, *arguments):
    with pytest.raises(ConfigurationError) as refused:
        make(*arguments)
    return [problem.where for problem in refused.value.problems]


@given(st.floats(1e-3, 1e9))
def test_a_rate_reaches_the_plan_unchanged(rate):
    """However it is printed: 1e6, 123456.7."""
    (case,) = make_plan(bench(Bench(URL, 40, 3, rate=repr(rate))).campaign).cases

    assert case.rate_per_s == rate
    assert calibration_step(URL, rate, GeneratorKind.H2LOAD, 10).loads["load"].rate == rate


@pytest.mark.parametrize(
    ("generator", "clients", "most"),
    [
        (GeneratorKind.H2LOAD, 400, 400),
        (GeneratorKind.PACED, None, MOST_OPEN_CLIENTS),
        (GeneratorKind.WEBSOCKET, None, MOST_OPEN_CLIENTS),
    ],
)
@pytest.mark.parametrize("rate", [500.0, 64_000.0])
def test_a_step_of_calibration_has_the_generator_that_is_calibrated(rate, generator, clients, most):
    """Whatever the rate: above what one agent of paced usually sends the plan would choose h2load by itself."""
    is_websocket = generator is GeneratorKind.WEBSOCKET
    url = URL.replace("http", "ws", 1) if is_websocket else URL
    (case,) = make_plan(calibration_step(url, rate, generator, clients)).cases

    assert (case.generator, case.clients, case.agents) == (generator, most, 1)
    assert (case.protocol is Protocol.WEBSOCKET) == is_websocket


@pytest.mark.parametrize(("typed", "rate"), [("1000000", 1e6), ("123456.7", 123456.7), ("6000/min", 100), ("1e6", 1e6)])
def test_rates_that_were_lost_in_text(typed, rate):
    """1000000 was refused, and 123456.7 became 123457."""
    assert bench(Bench(URL, 40, 3, rate=typed)).campaign.loads["load"].rate == rate


@given(st.floats(1.0, 1e9), st.integers(10_000, 10**10), st.floats(0.002, 0.5))
def test_a_stored_campaign_reads_back_to_the_same(rate, window_us, precision):
    """What resume compares: the campaign, and the digests of its parts."""
    asked = Search("p99<50ms", f"{precision * 100:.17f}%", f"{window_us}us", repr(rate), 9, 1)
    loaded = saturate(URL, asked)

    again = from_plain(json.loads(json.dumps(document(loaded.campaign))))

    assert again.campaign == loaded.campaign
    assert parts_of(again.plain) == parts_of(loaded.plain)


def test_the_text_in_the_run_folder_reads_back(tmp_path):
    """Dollar signs and backslashes in a URL are not variables."""
    loaded = saturate(URL + "?$filter=$$x\\${y}", Search("p99<50ms"))
    path = tmp_path / "campaign.yaml"
    path.write_text(source(loaded))

    again = load(path, environment={})

    assert again.campaign == loaded.campaign
    assert parts_of(again.plain) == parts_of(loaded.plain)


def test_the_stored_text_has_no_value_of_a_header_and_no_body():
    """It can be a secret."""
    request = RequestOptions(headers=["Authorization: Bearer secret", "X: y"], data="a secret, too")
    loaded = bench(Bench(URL, 4, 1, request=request))

    assert loaded.campaign.loads["load"].headers == {"Authorization": "Bearer secret", "X": "y"}
    assert loaded.campaign.loads["load"].body == "a secret, too"
    assert "secret" not in source(loaded) + repr(request)
    assert "Authorization" in source(loaded)


def test_every_problem_names_its_option():
    """All of them at once, and none names a key of a file."""
    wrong = Bench(
        "x", 0, 0, duration="5", rate="x", agents=0,
        request=RequestOptions(headers=["no", "a b: c"], expect_status=7, method="a b", paths=["x"]),
    )  # fmt: skip

    assert places(bench, wrong) == [
        "-H", "-d", "--rate", "URL", "--expect-status", "-c", "--paths", "-X", "-H", "--agents", "--repeat",
    ]  # fmt: skip
    assert places(bench, Bench(URL, 4, 1, requests=9, duration="5s", rate="5")) == ["-n", "-n"]
    assert places(saturate, "x", Search(None, "3", "1us", "x", 1, 0)) == [
        "--slo", "--precision", "--highest", "URL", "--agents", "--window", "--budget",
    ]  # fmt: skip
    assert places(sweep, URL, "1,x", "5", 0) == ["--clients", "-d", "--repeat"]


def test_options_of_a_search_over_a_file_name_themselves(tmp_path):
    """The same options, put into a campaign file."""
    path = tmp_path / "c.yaml"
    path.write_text(source(sweep(URL, "4", "1s", 1)))
    overrides = Search("p99<5", "3", "5", "x", 1, 0).overrides()

    assert set(places(lambda: load(path, overrides, {}, ["saturation"], SEARCH_OPTIONS))) == {
        "--slo", "--precision", "--window", "--highest", "--budget", "--agents",
    }  # fmt: skip


def test_a_sweep_has_one_load_for_each_number_of_clients(tmp_path):
    """Each with as many agents as it can have."""
    first = {"model": "open", "protocol": "http2", "streams": 3, "clients": 9, "rate": 5, "duration": "1s", "agents": 2}
    path = tmp_path / "c.yaml"
    path.write_text(json.dumps({"campaign": "c", "targets": {"u": {"url": URL}}, "loads": {"first": first}}))

    loads = swept(load(path), "1, 4", "500ms", 2).campaign.loads

    assert [(n, x.clients, x.agents, x.streams, x.duration, x.rate) for n, x in loads.items()] == [
        ("c1", 1, 1, 3, 500_000, None),
        ("c4", 4, 2, 3, 500_000, None),
    ]
    assert list(sweep(URL, "1,2", "5s", 3).campaign.loads) == ["c1", "c2"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {"clients": 40, "generator": "h2load"}),
        ({"rate": "497"}, {"clients": MOST_OPEN_CLIENTS, "generator": "paced"}),
        ({"rate": "497", "clients": 7}, {"clients": 7, "generator": "paced"}),
        ({"rate": "497", "arrivals": Arrivals.POISSON}, {"arrivals": "poisson"}),
        ({"timeout": "1500ms"}, {"timeout_us": 1_500_000, "generator": "paced"}),
        ({"generator": "paced"}, {"generator": "paced"}),
        ({"url": "https://h/"}, {"generator": "h2load"}),
        ({"url": "https://h/", "verify": True}, {"generator": "paced"}),
        ({"url": "https://h/", "verify": True, "rate": "50000"}, {"generator": "paced"}),
        ({"method": "head"}, {"generator": "paced"}),
        ({"generator": "mine --port '1 2'"}, {"generator": "command", "program": ["mine", "--port", "1 2"]}),
    ],
)
def test_bench_says_how_requests_arrive_and_who_sends_them(asked, expected):
    """As many connections as needed in the open loop, unless the command line says how many."""
    (case,) = make_plan(bench(asking(asked)).campaign).cases

    assert {name: getattr(case, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        ({"timeout": "5"}, "--timeout"),
        ({"generator": "mine 'x"}, "--generator"),
        ({"arrivals": Arrivals.POISSON}, "--arrivals"),
        ({"generator": "h2load", "timeout": "5s"}, "--timeout"),
        ({"generator": "h2load", "rate": "5", "arrivals": Arrivals.POISSON}, "--arrivals poisson"),
        ({"generator": "paced", "http2": True}, "--http2"),
        ({"streams": 3}, "-m"),
        ({"data": "x", "data_file": "y"}, "--data"),
        ({"data": "@body.json"}, "--data"),
        ({"verify": True}, "--verify"),
        ({"url": "https://h/", "verify": True, "http2": True}, "--verify"),
        ({"url": "https://h/", "verify": True, "generator": "h2load"}, "--verify"),
    ],
)
def test_what_bench_cannot_do_is_refused_by_option(asked, option):
    """A duration has a unit; a closed load has no arrivals; h2load has no timeout."""
    assert places(bench, asking(asked)) == [option]
    if option not in ("--arrivals", "--arrivals poisson"):
        request = asking(asked).request
        assert places(sweep, asking(asked).url, "1", "1s", 1, request) == [option]
        assert places(saturate, asking(asked).url, Search("p99<5ms"), request) == [option]


def asking(asked):
    """A bench with options, those of the request among them."""
    request = RequestOptions(**{name: value for name, value in asked.items() if name in OPTIONS})
    return Bench(**({"url": URL, "clients": None, "repeat": 3} | {k: v for k, v in asked.items() if k not in OPTIONS}),
                 request=request)  # fmt: skip


def test_what_is_requested_is_the_same_for_all_three():
    """One definition: each verb makes the same load of it, but for how it is driven."""
    request = RequestOptions(
        method="put", data="{}", paths=["/a,/b", "/c"], timeout="2s", headers=["A: b"], generator="paced", verify=True,
    )  # fmt: skip
    secure = "https://example.test/x"
    (swept_load,) = sweep(secure, "4", "1s", 1, request).campaign.loads.values()
    loads = [
        bench(Bench(secure, 4, 1, request=request)).campaign.loads["load"],
        saturate(secure, Search("p99<50ms"), request).campaign.loads["load"],
        swept_load,
    ]

    for made in loads:
        assert (made.method, made.body, made.paths, made.timeout) == ("PUT", "{}", ["/a", "/b", "/c"], 2_000_000)
        assert (made.headers, made.generator, made.verify) == ({"A": "b"}, "paced", True)
    assert make_plan(bench(Bench(secure, None, 1, request=request)).campaign).agents == 2


def test_a_search_can_have_random_arrivals():
    """Its probes are open loads."""
    loaded = saturate(URL, Search("p99<50ms", arrivals=Arrivals.POISSON))

    assert (loaded.campaign.loads["load"].arrivals, loaded.campaign.loads["load"].clients) == ("poisson", None)


@pytest.mark.parametrize("data", [True, False])
def test_a_body_is_posted_unless_a_method_was_chosen(tmp_path, data):
    """As with curl."""
    (tmp_path / "body").write_text("x=1")
    body = {"data": "x=1"} if data else {"data_file": tmp_path / "body"}
    plain, chosen = (
        bench(Bench(URL, 4, 1, request=RequestOptions(**body, **more))).campaign for more in ({}, {"method": "GET"})
    )
    sent = [traffic_of(Target(url=URL), c.loads["load"], "", tmp_path / "elsewhere") for c in (plain, chosen)]

    assert [(traffic.requests[0].method, traffic.requests[0].body) for traffic in sent] == [
        ("POST", b"x=1"),
        ("GET", b"x=1"),
    ]
