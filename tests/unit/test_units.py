"""Quantities: what people write, what they become, and that nothing is lost on the way back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.slo import share
from orchestrator.spec import units
from orchestrator.spec.schema import campaign_schema, inventory_schema
from orchestrator.spec.units import duration_text, duration_us, rate_per_s, share_text, size_bytes, size_text


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("5s", 5_000_000),
        ("90s", 90_000_000),
        ("1m", 60_000_000),
        ("2min", 120_000_000),
        ("1m30s", 90_000_000),
        ("1 h 30 min", 5_400_000_000),
        ("1h30m", 5_400_000_000),
        ("500ms", 500_000),
        ("1.5ms", 1_500),
        ("7us", 7),
        ("7µs", 7),
        ("1h", 3_600_000_000),
        ("1e3s", 1_000_000_000),
        ("0.1s", 100_000),
    ],
)
def test_durations(text, us):
    """A duration is whole microseconds."""
    assert duration_us(text) == us


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("100", 100),
        (100, 100),
        (0.5, 0.5),
        ("100/s", 100),
        ("6000/min", 100),
        ("1000000", 1e6),
        (1e6, 1e6),
        ("1e6/s", 1e6),
        ("123456.7", 123456.7),
        (123456.7, 123456.7),
        ("123456.7/s", 123456.7),
    ],
)
def test_rates(text, per_s):
    """A rate is per second, and exactly what was written."""
    assert rate_per_s(text) == per_s


def test_sizes_and_shares():
    """Powers of 1000 and of 1024 are different units; 7 % is exactly 0.07."""
    assert (size_bytes("100MB"), size_bytes("100MiB"), share("7%")) == (100_000_000, 104_857_600, 0.07)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (duration_us, 5, "5 has no unit: write a duration as '5s', '500ms' or '1m30s'"),
        (duration_us, "5", "'5' has no unit"),
        (duration_us, "5 parsecs", "'5 parsecs' is not a duration: write it as"),
        (duration_us, "30s1m", "'30s1m' is not a duration"),
        (duration_us, "1m30", "'1m30' is not a duration"),
        (duration_us, "s", "'s' is not a duration"),
        (duration_us, "", "'' is not a duration"),
        (duration_us, "0s", "is not above zero"),
        (duration_us, "0.1us", "is shorter than 1 µs"),
        (duration_us, "-1s", "'-1s' is not a duration"),
        (duration_us, True, "true is not a duration"),
        (size_bytes, "100m", "'100m' is ambiguous: write '100MiB' (what Docker means by it) or '100MB'"),
        (size_bytes, "100k", "write '100KiB' (what Docker means by it) or '100kB'"),
        (size_bytes, 100, "100 has no unit: write a size as '100MiB'"),
        (rate_per_s, "1000/h", "'1000/h' is not a rate: write it as '1000/s' or '6000/min'"),
        (rate_per_s, -1, "-1 is out of range"),
        (rate_per_s, float("nan"), "nan is out of range"),
        (rate_per_s, True, "true is not a rate"),
        (share, 3, "3 is not a percentage: write it as '3%'"),
        (share, "0%", "'0%' is out of range"),
    ],
)
def test_a_wrong_quantity_is_refused_with_what_to_write(read, text, message):
    """The value, what is wrong with it, and how to write it."""
    with pytest.raises(ValueError, match=re.escape(message)):
        read(text)


@pytest.mark.parametrize("digits", [400, 5000])
@pytest.mark.parametrize(
    ("read", "unit"), [(duration_us, "h"), (size_bytes, "GiB"), (rate_per_s, "/s"), (rate_per_s, ""), (share, "%")]
)
def test_a_quantity_of_many_digits_is_a_short_sentence(read, unit, digits):
    """Neither an overflow nor a page of nines."""
    with pytest.raises(ValueError, match=r"(is longer than a year|is out of range)") as refused:
        read("9" * digits + unit)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("number", [10**400, 10**5000, float("inf"), 1e308], ids=["400", "5000", "inf", "1e308"])
def test_a_huge_number_is_not_a_rate(number):
    """YAML can hold any number."""
    with pytest.raises(ValueError, match="is out of range"):
        rate_per_s(number)


@given(st.integers(1, units.MOST_DURATION_US))
def test_a_duration_reads_back_exactly(us):
    """Stored campaigns are read again when a run is resumed."""
    assert duration_us(duration_text(us)) == us


@given(st.integers(1, units.MOST_SIZE_BYTES))
def test_a_size_reads_back_exactly(size):
    """In bytes."""
    assert size_bytes(size_text(size)) == size


@given(st.floats(1e-9, 1000))
def test_a_share_reads_back_exactly(part):
    """No digit is lost in a multiplication by 100."""
    assert share(share_text(part)) == part


def _patterns(node):
    if isinstance(node, dict):
        if str(node.get("description")).startswith(("a duration", "a size", "a share", "a rate")):
            yield node
        for child in node.values():
            yield from _patterns(child)
    elif isinstance(node, list):
        for child in node:
            yield from _patterns(child)


SAMPLES = ["5s", "1m30s", "1h30m", "2min", "500ms", "7µs", "1 h", "100", "100/s", "6000/min", "1e6/s", "5", "m", "30s1m",
           "", "3%", "3.5 %", "100MiB", "1GB", "100m", "-1s", "5 parsecs"]  # fmt: skip
READERS = {"a duration": duration_us, "a size": size_bytes, "a share": share, "a rate": rate_per_s}


def _accepts(read, text):
    try:
        read(text)
    except ValueError:
        return False
    return True


def test_an_editor_accepts_what_volley_accepts():
    """The patterns in the schemas and the readers agree."""
    nodes = [*_patterns(campaign_schema()), *_patterns(inventory_schema())]
    assert {node["description"].split(";")[0] for node in nodes} == set(READERS)
    for node in nodes:
        read = READERS[node["description"].split(";")[0]]
        patterns = [one["pattern"] for one in node.get("anyOf", [node]) if "pattern" in one]
        for text in SAMPLES:
            assert any(re.search(pattern, text) for pattern in patterns) == _accepts(read, text), (read, text)
