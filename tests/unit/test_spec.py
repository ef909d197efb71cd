"""Campaign files: every problem at once, with line, path and what to do."""

from pathlib import Path

import pytest

from orchestrator.errors import ConfigurationError, UsageError
from orchestrator.spec.load import from_plain, load, with_loads
from orchestrator.spec.units import duration_us, rate_per_s, share, size_bytes

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


def test_all_problems_are_told_at_once(tmp_path, golden):
    """Unknown keys, wrong units, missing files, names that do not exist: one list, in the words that users see."""
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
  wide: {clients: 1, requests: 100}
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
        ("campaign: a\ncampaign: b\n", ":2:1", "duplicate key"),
    ],
)
def test_what_is_no_campaign(tmp_path, text, where, what):
    """Broken YAML, something else than a mapping, a key given twice."""
    ((place, told, hint),) = problems(tmp_path, text)

    assert place.startswith(where)
    assert what in told
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

    assert "PORT" in problem[1]
    assert "give a default" in problem[2]
    assert loaded.campaign.targets["up"].url == "http://localhost:81/"


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


def test_a_sweep_takes_over_the_campaign_and_not_what_is_about_its_loads(tmp_path):
    """Targets stay; loads, globs and objectives go."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD + "include: ['*/burst']\nslo: {'up/burst': 'p99 < 1s'}\nrepetitions: 9\n")

    swept = with_loads(load(path), {"c1": {"clients": 1, "duration": "1s", "agents": 1}}, 3)

    assert list(swept.campaign.loads) == ["c1"]
    assert (swept.campaign.repetitions, swept.campaign.slo, swept.campaign.include) == (3, {}, None)
    assert swept.campaign.targets["up"].url == "http://127.0.0.1:8000/"
    assert swept.folder == tmp_path


def test_a_matrix_of_which_nothing_remains_is_told(tmp_path):
    """Not an empty run."""
    ((where, what, hint),) = problems(tmp_path, GOOD + "include: ['up/*']\nexclude: ['*/burst']\n")

    assert where.endswith("exclude")
    assert what == "nothing remains of the cases"
    assert "up/burst" in hint


def test_overrides_are_checked_like_the_file(tmp_path):
    """--set reaches any value; one that leads nowhere, or is wrong, is told."""
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)

    assert load(path, ["loads.burst.clients=8", "repetitions=2"]).campaign.loads["burst"].clients == 8
    with pytest.raises(UsageError, match="there is no 'bust' to go into"):
        load(path, ["loads.bust.clients=8"])
    with pytest.raises(UsageError, match="is not path=value"):
        load(path, ["loads"])
    with pytest.raises(ConfigurationError, match="unknown key 'clientz'"):
        load(path, ["loads.burst.clientz=8"])


def test_shipped_campaigns_are_valid():
    """What README tells people to run."""
    campaigns = sorted((Path(__file__).parents[2] / "configs" / "campaigns").glob("*.yaml"))

    assert {load(path).campaign.campaign for path in campaigns} >= {"flask-vs-fastapi", "flask-vs-fastapi-fair"}


@pytest.mark.parametrize(
    ("text", "us"), [("5s", 5_000_000), ("1.5ms", 1_500), ("2min", 120_000_000), ("7us", 7), ("1h", 3_600_000_000)]
)
def test_durations(text, us):
    """Inside a duration is whole microseconds."""
    assert duration_us(text) == us


def test_sizes_rates_and_shares():
    """Powers of 1000 and of 1024 are different units."""
    assert (size_bytes("100MB"), size_bytes("100MiB")) == (100_000_000, 104_857_600)
    assert (rate_per_s("1000/s"), rate_per_s("60/min"), share("3%")) == (1000, 1, pytest.approx(0.03))


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (duration_us, 5, "5 has no unit: write a duration as '5s'"),
        (duration_us, "5 parsecs", "'parsecs' is no unit of a duration; the units are us, µs, ms, s, min, h"),
        (duration_us, "0s", "a duration is more than zero"),
        (duration_us, "-1s", "has no unit"),
        (duration_us, True, "True is not a duration"),
        (size_bytes, "100m", "what docker calls '100m' is '100MiB'"),
        (rate_per_s, "1000", "write a rate as '1000/s'"),
    ],
)
def test_wrong_quantities_say_what_is_right(read, text, message):
    """The value, what is wrong, and how to write it."""
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        read(text)


@pytest.mark.parametrize(
    ("saturation", "told"),
    [
        ({"slo": "p99 < 50ms, throughput > 100/s"}, "'throughput > 100/s' is met by more load"),
        ({"slo": "p99 > 50ms"}, "'p99 > 50ms' is met by more load"),
        ({"slo": "p99 < 50ms", "precision": "300%"}, "not between 0.2% and 50%"),
        ({"slo": "p99 < 50ms", "precision": "0.1%"}, "not between 0.2% and 50%"),
        ({"slo": "p99 < 50ms", "lowest": "100/s", "highest": "50/s"}, "lowest, 100/s, is not below highest, 50/s"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(saturation, told):
    """Before anything is started, and why."""
    plain = {
        "campaign": "c",
        "targets": {"t": {"url": "http://h/"}},
        "loads": {"l": {"clients": 4, "requests": 10}},
        "saturation": saturation,
    }
    with pytest.raises(ConfigurationError) as caught:
        from_plain(plain)
    assert told in str(caught.value)
