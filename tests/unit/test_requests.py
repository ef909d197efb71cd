"""Requests of a load and their data: what is accepted, what is refused where, and what the agents send."""

import json

import pytest

from agents.generators.body import INTERVAL_NS, MOST_BYTES, Sample
from agents.generators.contract import DataOrder, TaskData, TaskRequest, Wanted
from agents.generators.request import BadRequest, prepare
from agents.generators.template import Rows
from orchestrator.errors import ConfigurationError
from orchestrator.plan import make_plan
from orchestrator.run.targets import request_to, traffic_of
from orchestrator.spec.inline import source, swept
from orchestrator.spec.load import load

pytestmark = pytest.mark.unit

TARGETS = {"t": {"url": "http://h:1/own/${row.id}?x=1", "expect": {"status": 200}}}
USERS = 'id,name,token\n1,Änne,a\n2,"B ""x"", y",b\n3,C&D=/?,c\n'


@pytest.fixture
def campaign(tmp_path):
    """Write a campaign with one load, read it."""

    def made(targets=None, files=None, **changes):
        for name, text in ({"users.csv": USERS} | (files or {})).items():
            (tmp_path / name).write_text(text)
        plain = {
            "campaign": "c",
            "targets": targets or {"t": {"url": "http://h:1/own?x=1", "expect": {"status": 200}}},
            "loads": {"l": {"clients": 4, "duration": "5s"} | changes},
        }
        path = tmp_path / "c.yaml"
        path.write_text(json.dumps(plain, indent=1))
        return load(path, environment={})

    return made


def refused(campaign, **changes):
    """Return the problems of a campaign as 'place | what | hint', the place without the folder."""
    with pytest.raises(ConfigurationError) as error:
        campaign(**changes)
    return [f"{p.where.rpartition('/')[2]} | {p.what} | {p.hint}" for p in error.value.problems]


def sent(loaded, index=0):
    """Return the traffic of the only load."""
    target, one = loaded.campaign.targets["t"], loaded.campaign.loads["l"]
    return traffic_of(target, one, "", loaded.folder)


def test_a_list_of_requests_is_a_mix(campaign):
    """Each has its own method, headers, body, weight and timeout; the load's headers are those of all."""
    requests = [
        "/search",
        {"path": "/orders", "json": {"item": 17}, "weight": 3, "headers": {"x-a": "own"}, "timeout": "2s"},
        {"name": "gone", "path": "/gone", "method": "DELETE", "expect": {"status": 404}},
    ]
    loaded = campaign(requests=requests, headers={"X-A": "all", "X-B": "b"}, timeout="9s")
    search, orders, gone = sent(loaded).requests
    (case,) = make_plan(loaded.campaign).cases

    assert (search.name, search.url, search.method, search.weight) == ("GET /search", "http://h:1/search", "GET", 1)
    assert search.headers == [["X-A", "all"], ["X-B", "b"]]
    assert (orders.method, orders.body, orders.weight) == ("POST", b'{"item":17}', 3)
    assert orders.headers == [["X-B", "b"], ["x-a", "own"], ["Content-Type", "application/json"]]
    assert (search.timeout_us, orders.timeout_us) == (9_000_000, 2_000_000)
    assert (search.allowed, gone.allowed, gone.name) == ([200], [404], "gone")
    assert [(each.name, each.method, each.weight, each.allowed) for each in case.mix] == [
        ("GET /search", "GET", 1, [200]), ("POST /orders", "POST", 3, [200]), ("gone", "DELETE", 1, [404])
    ]  # fmt: skip
    assert case.generator == "paced"


def test_paths_are_requests_of_equal_weight(campaign):
    """With the load's method, headers and body, and however many agents there are."""
    requests = sent(campaign(paths=["/a", "/b?c=d"], json={"x": 1}, headers={"A": "b"})).requests

    assert [(each.url, each.method, each.weight) for each in requests] == [
        ("http://h:1/a", "POST", 1), ("http://h:1/b?c=d", "POST", 1)
    ]  # fmt: skip
    assert {(each.body, str(each.headers)) for each in requests} == {
        (b'{"x":1}', "[['A', 'b'], ['Content-Type', 'application/json']]")
    }


def test_requests_with_equal_names_are_numbered(campaign):
    """So that each has its own line; names that the user gave twice are refused."""
    case = make_plan(campaign(requests=["/a", "/a", {"path": "/b", "name": "n"}]).campaign).cases[0]
    twice = refused(campaign, requests=[{"path": "/a", "name": "n"}, {"path": "/b", "name": "n"}])

    assert [each.name for each in case.mix] == ["GET /a", "GET /a (2)", "n"]
    assert twice == ["c.yaml:12: loads.l | two requests have the name 'n' | give each its own"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"requests": ["/a"], "duration": None}, "a closed load needs 'count' or 'duration' | set exactly one of them"),
        ({"requests": 9, "count": 9, "duration": None}, "'requests' is a number beside 'count' | remove one of them"),
        ({"requests": ["/a"], "paths": ["/b"]}, "'paths' and a list of 'requests' are set together"),
        ({"requests": ["/a"], "body": "x"}, "'body' belongs to each request of the list | write it there"),
        ({"requests": ["/a"], "method": "PUT"}, "'method' belongs to each request of the list | write it there"),
        ({"requests": ["/a", "/b"], "generator": "h2load"}, "a mix of requests cannot be sent by h2load"),
        ({"paths": ["/a", "/b"], "protocol": "http2"}, "a mix of requests cannot be sent over HTTP/2"),
        ({"requests": [{"path": "/a", "timeout": "1s"}], "generator": "h2load"}, "a timeout cannot be sent by h2load"),
        ({"requests": "x"}, "'x' is not a whole number | write a number, or a list of requests: [/, /search]"),
        ({"requests": [5]}, "loads.l.requests.0 | 5 is not a mapping | write a path, or a mapping: {path: /search}"),
        ({"slo": "p99 < 1s"}, "unknown key 'slo' | write 'slo' at the top of the file, not in a part of it"),
        ({"requests": []}, "loads.l.requests | is empty"),
        ({"requests": [{"path": "/a", "weight": 0}]}, "loads.l.requests.0.weight | 0 is out of range"),
        ({"requests": [{"path": "/a", "body": "x", "json": 1}]}, "body, json are set together"),
        ({"requests": [{"path": "/a", "body_file": "no"}]}, "loads.l.requests.0.body_file | there is no file 'no'"),
        ({"requests": [{"pth": "/a"}]}, "unknown key 'pth' | did you mean 'path'?"),
        ({"requests": {"form": "x"}}, "unknown key 'form' | did you mean 'from'?"),
        ({"requests": {"from": "no.txt"}}, "no.txt: cannot be read: No such file or directory"),
        ({"data": {"file": "no.csv"}}, "no.csv: cannot be read: No such file or directory"),
        ({"data": {"file": "users.csv"}}, "no request uses a column of the file | write ${row.id}"),
        ({"data": {"file": "users.csv"}, "requests": ["/${row.idd}"]}, "users.csv has no column 'idd' | its columns are: id"),
        ({"headers": {"A": "${row.id}"}}, "'row.id' is a column of a data file, and there is none here"),
    ],
)  # fmt: skip
def test_what_contradicts_is_refused(campaign, changes, problem):
    """Before the run, with the place and what to do."""
    problems = refused(campaign, **changes)

    assert any(problem in each for each in problems), problems
    assert len(problems) == 1 + ("pth" in str(changes) or "form" in str(changes)), problems


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("d.csv", "", "d.csv: is empty"),
        ("d.csv", "id\n", "d.csv: holds no row"),
        ("d.csv", "id,x\n1,2\n\n3\n", "d.csv:4: 1 value for 2 columns"),
        ("d.csv", 'id,x\n1,"a\nb"\n3,4,5\n', "d.csv:4: 3 values for 2 columns"),
        ("d.csv", 'id,x\n1,"2\n', "d.csv:2: not CSV"),
        ("d.csv", "id,id\n1,2\n", "d.csv:1: a column without a name, or two with the same"),
        ("d.jsonl", '{"id": 1}\n{"x": 1}\n', "d.jsonl:2: 'id' is missing"),
        ("d.jsonl", '{"id": 1}\n[1]\n', "d.jsonl:2: not a JSON object"),
    ],
)
def test_a_bad_data_file_is_refused_with_its_line(campaign, name, text, problem):
    """Whatever is wrong with it."""
    (only,) = refused(campaign, files={name: text}, data={"file": name}, requests=["/${row.id}"])

    assert f"loads.l.data.file | {problem}" in only


def test_a_header_cannot_take_a_line_break(campaign):
    """It would end the header; the value is not shown."""
    files = {"d.csv": 'id\n1\n"a\nsecret"\n'}
    (only,) = refused(campaign, files=files, data={"file": "d.csv"}, headers={"A": "${row.id}"})

    assert "d.csv:3: 'id' holds a line break or control character" in only
    assert "secret" not in only


def test_requests_of_a_file(campaign):
    """A path, a URL of which the path is used, or an object, one a line; what is wrong is in the file's line."""
    text = '# comment\n/a?b=c\n\nhttps://elsewhere/d?e\n{"path": "/f", "method": "PUT", "weight": 2}\n'
    requests = sent(campaign(files={"r.txt": text}, requests={"from": "r.txt"})).requests
    wrong = refused(campaign, files={"r.txt": text + '{"path": "/f", "weight": -1}\n'}, requests={"from": "r.txt"})
    unreadable = refused(campaign, files={"r.txt": "/a\n{secret\n"}, requests={"from": "r.txt"})

    assert [(each.url, each.method) for each in requests] == [
        ("http://h:1/a?b=c", "GET"), ("http://h:1/d?e", "GET"), ("http://h:1/f", "PUT")
    ]  # fmt: skip
    assert wrong == ["r.txt:6: weight | -1 is out of range | write a number above 0"]
    assert unreadable[0].startswith("c.yaml:16: loads.l.requests.from | r.txt:2: not a JSON object | write a path")


def test_values_are_encoded_for_their_place(campaign):
    """Percent-encoded in a path and a form, escaped in JSON, a value of its own type where it is all of one, else as is."""
    files = {"d.jsonl": '{"id": 7, "name": "a \\"b\\"/&ü"}\n'}
    form = {"Content-Type": "application/x-www-form-urlencoded", "X": "${row.name}"}
    requests = [
        {"path": "/u/${row.id}?q=${row.name}", "json": {"id": "${row.id}", "note": "is ${row.name}"}},
        {"path": "/f", "body": "n=${row.name}", "headers": form},
        {"path": "/t", "body": "<${row.name}>"},
    ]
    traffic = sent(campaign(files=files, data={"file": "d.jsonl"}, requests=requests))
    one, two, three = (request_to(traffic, index) for index in range(3))

    assert one.url == "http://h:1/u/7?q=a%20%22b%22%2F%26%C3%BC"
    assert json.loads(one.body) == {"id": 7, "note": 'is a "b"/&ü'}
    assert (two.body, dict(two.headers)["X"]) == (b"n=a+%22b%22%2F%26%C3%BC", 'a "b"/&ü')
    assert three.body == '<a "b"/&ü>'.encode()


def test_the_path_of_a_target_can_take_a_row(campaign):
    """Of a load that lists no request; a load without data that uses it is refused."""
    traffic = sent(campaign(targets=TARGETS, data={"file": "users.csv", "order": "random"}))

    assert request_to(traffic).url == "http://h:1/own/1?x=1"
    assert traffic.data.order is DataOrder.RANDOM
    assert "'row.id' is a column of a data file" in refused(campaign, targets=TARGETS)[0]


def test_a_mix_keeps_its_secrets(campaign):
    """Header values, bodies and rows are in no text about it, nor in plan.json."""
    request = {"path": "/a", "headers": {"A": "s3cret"}, "body": "s3cret", "expect": {"body": "s3cret"}}
    loaded = campaign(files={"d.csv": "id\ns3cret\n"}, data={"file": "d.csv"}, requests=[request, "/${row.id}"])
    plan = make_plan(loaded.campaign)

    assert "s3cret" not in f"{sent(loaded)!r} {plan!r}"
    assert "s3cret" not in source(loaded).replace('"expect": {\n            "body": "s3cret"', "")


def test_a_sweep_keeps_the_mix_and_its_data(campaign):
    """Of the campaign's first load, and not its count."""
    first = campaign(data={"file": "users.csv"}, requests=["/${row.id}", "/b"], count=9, duration=None)
    (one,) = swept(first, "2", "1s", 1).campaign.loads.values()

    assert ([each.path for each in one.listed], one.total, one.data.file) == (["/${row.id}", "/b"], None, "users.csv")


def test_a_request_is_made_for_each_row():
    """With the length of its own body; rows are taken in turn and begin again; a request without a placeholder takes none."""
    rows = Rows(TaskData(("url:id", "text:n"), (("1", "a"), ("2", "bbb"))), seed=1)
    request = TaskRequest("http://h/${row.url:id}/${x}?q=ü", "POST", (("A", "${row.text:n}"),), b"n=${row.text:n}")
    made, plain = prepare(request, rows), prepare(TaskRequest("http://h/p"), rows)
    texts = [made.for_next_row().data.decode() for _ in range(3)]

    assert texts[0].startswith("POST /1/$%7Bx%7D?q=%C3%BC HTTP/1.1\r\n")
    assert [text.rpartition("\r\n\r\n")[2] for text in texts] == ["n=a", "n=bbb", "n=a"]
    assert ["content-length: 3" in text for text in texts] == [True, False, True]
    assert "A: bbb\r\n" in texts[1]
    assert plain.for_next_row() is plain
    assert rows.taken == 3
    with pytest.raises(BadRequest, match="the data has no column 'no'"):
        prepare(TaskRequest("http://h/${row.no}"), rows)


def test_random_rows_follow_from_the_seed():
    """Every row is drawn, another seed draws others, and the mix's numbers are not the same."""
    data = TaskData(("id",), tuple((str(k),) for k in range(10)), DataOrder.RANDOM)
    drawn = [[Rows(data, seed).take() for rows in [None]] for seed in range(40)]
    rows, again = Rows(data, 3), Rows(data, 3)
    taken = [rows.take()[0] for _ in range(500)]

    assert taken == [again.take()[0] for _ in range(500)]
    assert set(taken) == {str(k).encode() for k in range(10)}
    assert len({str(each) for each in drawn}) > 3


def answer(body, *, status=200, more=""):
    """Return an answer as it is received."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


@pytest.mark.parametrize(
    ("wanted", "body", "example"),
    [
        (Wanted(body="ok"), b" ok\n", None),
        (Wanted(body="ok"), b"no", "status 200, 2 bytes: body 'no' is not the expected one"),
        (Wanted(json_text='{"a": [1]}'), b'{"a":[1.0]}', None),
        (
            Wanted(json_text='{"a": 1}'),
            b'{"a":2}',
            "status 200, 7 bytes: JSON '{\"a\":2}' is not the expected document",
        ),
        (Wanted(json_text="1"), b"<p>", "status 200, 3 bytes: body '<p>' is not JSON"),
        (Wanted(size=3), b"abc", None),
        (Wanted(size=4), b"abc", "status 200, 3 bytes: 4 bytes were expected"),
        (Wanted(body="ok"), b"x" * 500, f"status 200, 500 bytes: body '{'x' * 77}...' is not the expected one"),
    ],
)
def test_bodies_are_compared_on_a_sample(wanted, body, example):
    """By text, by JSON value and by size; of one that differs at most 80 characters are kept."""
    sample = Sample([TaskRequest("http://h/", wanted=wanted)])
    sample.compare(0, 200, answer(body), len(body))

    assert (sample.checked, sample.unexpected) == (1, {} if example is None else {0: 1})
    assert sample.examples.get(0) == example


def test_what_cannot_be_compared_is_not_counted():
    """An answer with a status that is an error, in a coding that is unknown here, or too long; a gzip one is unpacked."""
    import gzip

    packed, long = gzip.compress(b"ok"), b"x" * (MOST_BYTES + 1)
    sample = Sample(
        [TaskRequest("http://h/", wanted=Wanted(body="ok")), TaskRequest("http://h/", wanted=Wanted(size=9))]
    )
    sample.compare(0, 503, answer(b"no", status=503), 2)
    sample.compare(0, 200, answer(b"??", more="Content-Encoding: br\r\n"), 2)
    sample.compare(0, 200, answer(long)[:MOST_BYTES], len(long))
    assert sample.checked == 0

    sample.compare(0, 200, answer(packed, more="Content-Encoding: gzip\r\n"), len(packed))
    sample.compare(1, 200, answer(long)[:MOST_BYTES], len(long))
    assert (sample.checked, sample.unexpected) == (2, {1: 1})


def test_the_sample_is_the_first_answer_of_each_request_and_some_a_second():
    """However many are sent; nothing is kept of a request without an expectation, nor of HEAD."""
    wanted = Wanted(body="ok")
    requests = [
        TaskRequest("http://h/", wanted=wanted), TaskRequest("http://h/b"), TaskRequest("http://h/", wanted=wanted),
        TaskRequest("http://h/", "HEAD", wanted=wanted),
    ]  # fmt: skip
    sample = Sample(requests)
    first = [sample.wants(index, 0) for index in range(4)]
    kept = sum(sample.wants(0, INTERVAL_NS + k * 1_000) for k in range(1_000_000_000 // 1_000_000 * 1_000))

    assert first == [True, False, True, False]
    assert 49 <= kept <= 51
