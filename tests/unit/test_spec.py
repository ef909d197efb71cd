"""Campaign files: every problem at once, with its line, its key and what to do."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.spec.inline import swept
from orchestrator.spec.load import from_plain, load

GOOD = """
campaign: good
targets:
  up: {url: "http://127.0.0.1:8000"}
loads:
  burst: {clients: 4, requests: 100}
"""


def problems(tmp_path, text, **options):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load(path, **options)
    return [(p.where.removeprefix(str(path)), p.what, p.hint) for p in error.value.problems]


def test_all_problems_are_reported_at_once(tmp_path, golden):
    """Unknown keys, wrong units, missing files, unknown names: one list, in the words that users see."""
    text = """campaign: x y
targets:
  flask:
    build: ../nope
    prot: 8001
    port: 8001
    limits: {cpus: 1, memory: 100m}
  ftp: {url: "ftp://x"}
  both: {url: "http://x", port: 3}
  secret: {url: "http://me:pw@x/"}
loads:
  burst:
    clients: 40
    requests: 10
  steady:
    clientz: 40
    duration: 5
  wide: {clients: 1, requests: 100, paths: [/a, /b]}
  open: {model: open, clients: 5, duration: 5s}
  odd: {clients: 40, requests: 100, duration: 5 parsecs}
compare: {baseline: flaskk}
include: ["flask/bursty"]
repetitions: {until: {metric: p98, narrower_than: 5}, at_least: 1}
before: [{run: ""}]
exclude: ["*"]
"""
    found = problems(tmp_path, text)

    golden(
        "problems.txt",
        "".join(f"{where} | {what} | {hint}\n" for where, what, hint in found).replace(str(tmp_path), "DIR"),
    )


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [", ":1:5", "expected the node content"),
        ("- 1", "", "is not a mapping"),
        ("campaign: a\ncampaign: b\n", ":2", "duplicate key 'campaign'"),
        ("", "", "is not a mapping"),
        ("a: 1\nb: !!omap [c: 1]\n", ":2", "unknown tag '!!omap'"),
        ("a: !mine 1\n", ":1", "unknown tag"),
        ("a: !!int x\n", ":1", "a value does not match its tag"),
        ("a: 1\nb: &x [*x]\n", ":2", "an alias contains itself"),
        ("a: &a [1, 1, 1, 1]\n" + "".join(f"{x}: &{x} [{', '.join(['*' + y] * 9)}]\n" for y, x in pairwise("abcdefg")), ":", "aliases expand to more than 100,000 values"),
        (f"a: 1\nseed: {'9' * 5000}\n", ":2", "thousands of digits"),
        ("[" * 500, "", "is nested too deeply"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_campaign(tmp_path, text, where, what):
    """Broken YAML, something else than a mapping, a key given twice."""
    ((place, what_is_wrong, hint),) = problems(tmp_path, text)

    assert place.startswith(where)
    assert what in what_is_wrong
    assert hint


def test_a_file_that_is_not_there(tmp_path):
    """The path and the reason."""
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "nope.yaml")


def test_variables_come_from_the_environment(tmp_path):
    """Set, with a default, and missing."""
    text = GOOD.replace("http://127.0.0.1:8000", "http://${HOST:-localhost}:${PORT}/")

    (problem,) = problems(tmp_path, text, environment={})
    loaded = load(tmp_path / "c.yaml", environment={"PORT": "81"})

    assert problem[1] == "variable 'PORT' is not set"
    assert "give a default" in problem[2]
    assert loaded.campaign.targets["up"].url == "http://localhost:81/"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("?$filter=Price&$top=5", "?$filter=Price&$top=5"),
        ("?$$filter=$$", "?$$filter=$$"),
        (r"C:\dir \$X", r"C:\dir \$X"),
        ("$A${A}$", "$Aa$"),
        ("$${A}", "${A}"),
        ("$${", "${"),
        ("$$${A}", "$${A}"),
        ("${A}${b-c.d}", "ae"),
        ("${A:-x} ${NO:-x} ${EMPTY:-x} ${NO:-}.", "a x x ."),
        ("${NO:-${A}/${NO:-$y}} ${A:-${NO}}", "a/$y a"),
        ("${NO:-$${A}}", "${A}"),
        ('{"a": "${A}"}', '{"a": "a"}'),
    ],
)
def test_only_a_dollar_sign_with_a_brace_begins_a_variable(tmp_path, text, read):
    """The same in a URL, a header, a body, the environment of a container, and in --set."""
    plain = {
        "campaign": "c",
        "targets": {"t": {"image": "i", "port": 80, "env": {"E": text}}},
        "loads": {"l": {"clients": 2, "requests": 2, "json": {"k": [text]}, "headers": {"H": text}}},
    }
    path, environment = tmp_path / "c.yaml", {"A": "a", "EMPTY": "", "b-c.d": "e"}
    path.write_text(json.dumps(plain))

    campaign = load(path, [f"description={json.dumps(text)}"], environment).campaign

    sent = campaign.loads["l"]
    found = (campaign.description, campaign.targets["t"].environment["E"], sent.headers["H"], sent.json_["k"][0])
    assert found == (read, read, read, read)


def test_all_unknown_variables_are_reported_at_once_with_the_nearest_names(tmp_path):
    """Each with its line; two in one value, one of a misspelt name, one in another case of letters."""
    text = "variables: {clients: 4}\n" + GOOD.replace("clients: 4", "clients: '${client}'").replace(
        "http://127.0.0.1:8000", "http://${host}:${XYZZY}/"
    )

    assert problems(tmp_path, text, environment={"HOST": "h"}) == [
        (":5: targets.up.url", "variable 'host' is not set", "did you mean ${HOST}?"),
        (":5: targets.up.url", "variable 'XYZZY' is not set", "set the variable, or give a default: ${NAME:-value}"),
        (":7: loads.burst.clients", "variable 'client' is not set", "did you mean ${clients}?"),
    ]


@pytest.mark.parametrize("text", ["${", "${X", "${!X}", "${X-y}${", "${X:-", "${X:=y}", "${}"])
def test_a_variable_that_cannot_be_read(tmp_path, text):
    """The forms that there are, without the value."""
    ((where, what, hint),) = problems(tmp_path, GOOD + f"description: 'a {text} b'\n", environment={})

    assert where == ":7: description"
    assert what == "'${' begins no valid variable here"
    assert "${NAME:-value}" in hint


def test_variables_of_the_file(tmp_path):
    """Named once, used anywhere, numbers stay numbers; --set changes them; they can come from the environment."""
    text = (
        "variables: {clients: 8, host: '${HOST:-localhost}', slow: 20ms}\n"
        + GOOD.replace("http://127.0.0.1:8000", "http://${host}:81/").replace("clients: 4", "clients: '${clients}'")
        + "slo: {'*': 'p99 < ${slow}'}\n"
    )
    path = tmp_path / "c.yaml"
    path.write_text(text)

    loaded = load(path, ["variables.slow=30ms"], environment={"HOST": "h"})

    assert loaded.campaign.loads["burst"].clients == 8
    assert loaded.campaign.targets["up"].url == "http://h:81/"
    assert loaded.campaign.slo == {"*": "p99 < 30ms"}
    assert load(path, ["variables.clients=16"], environment={}).campaign.loads["burst"].clients == 16


def test_a_command_is_the_shells(tmp_path):
    """What looks like a variable in it is one of the shell's."""
    text = GOOD + "before: [{run: 'echo $X ${y:-2}', host: local}]\nafter: [{run: 'true'}]\n"

    ((where, what, _),) = problems(tmp_path, text)
    path = tmp_path / "c.yaml"
    path.write_text(text.replace("after: [{run: 'true'}]", ""))

    assert load(path).campaign.before[0].run == "echo $X ${y:-2}"
    assert where.endswith("after.0")
    assert "is a URL: it has no server host" in what


def test_a_sweep_keeps_the_campaign_but_not_what_depends_on_its_loads(tmp_path):
    """Targets stay; loads, globs and objectives are left out."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "include: ['*/burst']\nslo: {'up/burst': 'p99 < 1s'}\nrepetitions: 9\n")

    made = swept(load(path), "1,8", "1m30s", 3)

    loads = made.campaign.loads
    assert [(name, load.clients, load.agents, load.duration) for name, load in loads.items()] == [
        ("c1", 1, None, 90_000_000),
        ("c8", 8, None, 90_000_000),
    ]
    path.write_text(path.read_text() + "agents: 4\n")
    assert [load.agents for load in swept(load(path), "1,8", "1s", 3).campaign.loads.values()] == [1, 4]
    assert (made.campaign.repetitions, made.campaign.slo, made.campaign.include) == (3, {}, None)
    assert made.campaign.targets["up"].url == "http://127.0.0.1:8000/"
    assert made.folder == tmp_path


def test_a_sweep_keeps_the_request(tmp_path):
    """Method, headers and body are those of the first load."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace("requests: 100", "requests: 100, method: PUT, json: {a: 1}, headers: {X: y}"))

    (made,) = swept(load(path), "8", "1s", 1).campaign.loads.values()

    assert (made.http_method, made.json_, made.has_json, made.headers) == ("PUT", {"a": 1}, True, {"X": "y"})


@pytest.mark.parametrize(
    ("body", "where", "what"),
    [
        ("body: s3cret, json: {a: s3cret}", ":6: loads.burst", "body, json are set together"),
        ("body: {a: s3cret}", ":6: loads.burst.body", "is not text"),
        ("headers: {X: 53}", ":6: loads.burst.headers", "the value of header 'X' is not text"),
        ("json: {a: s3cret, b: .nan}", ":6: loads.burst.json", "is not a JSON document"),
    ],
)
def test_a_body_that_cannot_be_sent_is_refused_without_its_text(tmp_path, body, where, what):
    """It can be a secret."""
    ((place, sentence, hint),) = problems(tmp_path, GOOD.replace("requests: 100", f"requests: 100, {body}"))

    assert place == where
    assert what in sentence
    assert "s3cret" not in sentence + hint
    assert "53" not in sentence + hint


def test_a_campaign_without_any_case_is_refused(tmp_path):
    """Not an empty run."""
    ((where, what, hint),) = problems(tmp_path, GOOD + "include: ['up/*']\nexclude: ['*/burst']\n")

    assert where.endswith("exclude")
    assert what == "no case is left"
    assert "up/burst" in hint


def test_overrides_are_checked_like_the_file(tmp_path):
    """--set reaches any value. A problem with it names the option, not a line of the file."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)

    assert load(path, ["loads.burst.clients=8", "repetitions=2"]).campaign.loads["burst"].clients == 8
    with pytest.raises(ConfigurationError) as refused:
        load(path, ["loads.bust.clients=8", "loads", "loads.burst.clientz=8", "loads.burst.requests=x", "seed=`1`"])
    assert [(p.where, p.what) for p in refused.value.problems] == [
        ("--set loads", "is not PATH=VALUE"),
        ("--set seed", "the value is not YAML: found character '`' that cannot start any token"),
        ("--set loads.bust.clients", "unknown key 'bust'"),
        ("--set loads.burst.requests", "'x' is not a whole number"),
        ("--set loads.burst.clientz", "unknown key 'clientz'"),
    ]


def test_an_override_adds_a_variable_to_an_empty_section(tmp_path):
    """`variables:` with nothing behind it is a mapping that has no entries yet."""
    path = tmp_path / "c.yaml"
    path.write_text("variables:\n" + GOOD.replace("clients: 4", "clients: '${n}'"))

    assert load(path, ["variables.n=8"]).campaign.loads["burst"].clients == 8


def test_problems_of_an_override_and_of_the_file_are_reported_together(tmp_path):
    """A nearly empty file, and an override that is not YAML."""
    path = tmp_path / "c.yaml"
    path.write_text("campaign: c1\nvariables:\n \n")

    with pytest.raises(ConfigurationError) as refused:
        load(path, ["slo=`id`"])

    assert [p.where.removeprefix(f"{path}") for p in refused.value.problems] == [
        "--set slo", ": targets", ": loads", ":2: variables",
    ]  # fmt: skip


def test_a_date_is_text(tmp_path):
    """YAML 1.2 has no dates, and neither has JSON."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD.replace('8000"}', '8000", expect: {json: {day: 2024-01-01}}}'))

    assert load(path).campaign.targets["up"].expect.json_ == {"day": "2024-01-01"}


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("requests: 100", f"duration: {'9' * 400}h", ":6: loads.burst.duration", "is longer than a year"),
        ("requests: 100", f"duration: 1s, model: open, rate: {'9' * 400}", ":6: loads.burst.rate", "is out of range"),
        ("clients: 4", f"clients: 4, protocol: http2, streams: {'9' * 400}", ":6: loads.burst.streams", "is out of range"),
        ("campaign: good", f"campaign: good\nseed: {'9' * 400}", ":3: seed", "is out of range"),
        ("requests: 100", "duration: 0.1us", ":6: loads.burst.duration", "is shorter than 1 µs"),
        ("requests: 100", "duration: 1us", ":6: loads.burst.duration", "a window of 1us is too short to measure"),
        ("burst:", f"{'b' * 130}:", f":6: loads.{'b' * 130}", "a name of 130 characters is too long"),
        ("requests: 100", 'requests: 100, headers: {X: "tok\\nen"}', ":6: loads.burst.headers", "the value of header 'X'"),
        ("requests: 100", 'requests: 100, headers: {"a b": c}', ":6: loads.burst.headers", "is not a header name"),
        ("requests: 100", 'requests: 100, paths: ["/a\\tb"]', ":6: loads.burst.paths.0", "control character"),
        ("requests: 100", f"requests: 100, body_file: {'b' * 300}", ":6: loads.burst.body_file", "there is no file"),
        ("127.0.0.1:8000", "127.0.0.1:99999", ":4: targets.up.url", "port 99999 is out of range"),
        ("127.0.0.1:8000", "[::1", ":4: targets.up.url", "names no valid host"),
    ],
    ids=lambda value: value[:30],
)  # fmt: skip
def test_a_value_that_cannot_be_run_is_refused(tmp_path, old, new, where, what):
    """Before anything starts, in one short sentence with its line, and without the value of a header."""
    ((place, sentence, hint),) = problems(tmp_path, GOOD.replace(old, new))

    assert place == where
    assert what in sentence
    assert hint
    assert len(sentence) < 150
    assert "tok" not in sentence


def test_shipped_campaigns_are_valid():
    """The README names them."""
    campaigns = sorted((Path(__file__).parents[2] / "configs" / "campaigns").glob("*.yaml"))

    assert {load(path).campaign.campaign for path in campaigns} >= {"flask-vs-fastapi", "flask-vs-fastapi-fair"}


@pytest.mark.parametrize(
    ("saturation", "reason"),
    [
        ({"slo": "p99 < 50ms, throughput > 100/s"}, "more load meets 'throughput > 100/s', not less"),
        ({"slo": "p99 > 50ms"}, "more load meets 'p99 > 50ms', not less"),
        ({"slo": "p99 < 50ms", "precision": "300%"}, "a precision of 300.0% is out of range"),
        ({"slo": "p99 < 50ms", "precision": "0.1%"}, "a precision of 0.1% is out of range"),
        ({"slo": "p99 < 50ms", "lowest": "100/s", "highest": "50/s"}, "lowest (100/s) is not below highest (50/s)"),
    ],
)
def test_an_impossible_search_is_refused(saturation, reason):
    """Before anything is started, and why."""
    plain = {
        "campaign": "c",
        "targets": {"t": {"url": "http://h/"}},
        "loads": {"l": {"clients": 4, "requests": 10}},
        "saturation": saturation,
    }
    with pytest.raises(ConfigurationError) as caught:
        from_plain(plain)
    assert reason in str(caught.value)
