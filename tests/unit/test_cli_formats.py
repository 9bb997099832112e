"""How reports write money, durations, times and sizes, for people and for machines."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from pipeline.cli.formats import money, plain, shown, size
from pipeline.cli.output import write
from pipeline.cli.times import duration, iso, iso_ms, parse_since
from pipeline.errors import UsageError


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (Decimal("0"), "$0.00"),
        (Decimal("0E-9"), "$0.00"),
        (Decimal("1234567.891"), "$1,234,567.89"),
        (Decimal("1"), "$1.00"),
        (Decimal("0.5"), "$0.5000"),
        (Decimal("0.0312"), "$0.0312"),
        (Decimal("0.00123456"), "$0.00123"),
        (Decimal("0.000001250"), "$0.00000125"),
        (Decimal("0.000000001"), "$0.000000001"),
        (Decimal("-3.5"), "-$3.50"),
        (0.25, "$0.2500"),
    ],
)
def test_money_is_in_dollars_with_the_digits_that_say_something(usd, text):
    assert money(usd) == text


def test_an_unknown_price_is_unknown_and_never_nothing():
    assert shown(None, "money") == "unknown"
    assert shown(Decimal(0), "money") == "$0.00"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (0.42, "0.4 ms"),
        (842.4, "842 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (1240, "1.24 s"),
        (59_999, "1 min"),
        (200_000, "3 min 20 s"),
        (18_600_000, "5 h 10 min"),
        (1_047_600_000, "12 d 3 h"),
        (-1500, "-1.50 s"),
    ],
)
def test_durations_carry_their_units(ms, text):
    assert duration(ms) == text


def test_times_are_utc_in_iso_8601_whatever_zone_they_come_in():
    moment = datetime(2026, 3, 1, 9, 0, 0, 250_000, timezone(timedelta(hours=1)))
    assert iso(moment) == "2026-03-01T08:00:00Z"
    assert iso(moment, milliseconds=True) == "2026-03-01T08:00:00.250Z"
    assert iso(datetime(2026, 3, 1, 8)) == "2026-03-01T08:00:00Z"
    assert iso_ms(1_772_352_000_000) == "2026-03-01T08:00:00Z"
    assert iso_ms(10**18) == f"{10**18} ms"


@pytest.mark.parametrize(
    ("text", "ago_ms"),
    [("90s", 90_000), ("30m", 1_800_000), ("24h", 86_400_000), ("7d", 604_800_000), ("2w", 1_209_600_000)],
)
def test_since_takes_a_duration(text, ago_ms):
    assert parse_since(text, now_ms=10**12 * 2) == 10**12 * 2 - ago_ms


def test_since_takes_a_time_and_takes_one_without_a_zone_for_utc():
    expected = int(datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp() * 1000)
    assert [parse_since(text) for text in ("2026-03-01T08:00", "2026-03-01T08:00Z", "2026-03-01T10:00+02:00")] == [
        expected
    ] * 3
    assert parse_since("2026-03-01") == expected - 8 * 3_600_000


@pytest.mark.parametrize("text", ["yesterday", "", "7 days", "-1h", "99999999999d"])
def test_since_says_what_it_takes(text):
    with pytest.raises(UsageError, match="Say 30m, 24h"):
        parse_since(text)


def test_sizes_and_shares_and_counts_have_units():
    assert [size(each) for each in (512, 1200, 3.4e9, 5e13)] == ["512 B", "1.2 kB", "3.4 GB", "50.0 TB"]
    assert (shown(0.1234, "share"), shown(1234567, "count"), shown(2.104, "ratio")) == ("12.3 %", "1,234,567", "2.10x")
    assert (shown(True, "flag"), shown("", "text"), shown(float("nan"), "ms")) == ("yes", "-", "-")


def test_a_terminal_gets_no_control_characters_out_of_data():
    assert shown("a\x1b[31mb\nc") == "a [31mb c"


def test_a_machine_gets_plain_values():
    values = {
        "at": datetime(2026, 3, 1, 8, 0, 0, 1000),
        "bytes": b"\x01\xff",
        "nan": float("nan"),
        "list": (1, {"k": Decimal("1.5")}),
        "uuid": UUID(int=7),
        "day": date(2026, 3, 1),
        "large": 2**70,
        "none": None,
        "flag": True,
    }
    assert plain(values) == {
        "at": "2026-03-01T08:00:00.001Z",
        "bytes": "01ff",
        "nan": None,
        "list": [1, {"k": Decimal("1.5")}],
        "uuid": "00000000-0000-0000-0000-000000000007",
        "day": "2026-03-01",
        "large": str(2**70),
        "none": None,
        "flag": True,
    }


def test_json_lines_keep_every_digit_of_money(capsys):
    write(["tenant", "cost_usd"], [("acme", Decimal("0.000000001")), ("beta", None)], {"cost_usd": "money"}, "json")
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line, parse_float=Decimal) for line in lines] == [
        {"tenant": "acme", "cost_usd": Decimal("0.000000001")},
        {"tenant": "beta", "cost_usd": None},
    ]


def test_csv_has_a_heading_and_quotes_what_needs_it(capsys):
    write(["why", "map"], [('a "b", c', {"k": 1}), (None, {})], {}, "csv")
    assert capsys.readouterr().out.splitlines() == ["why,map", '"a ""b"", c","{""k"":1}"', ",{}"]


def test_a_table_in_a_pipe_is_not_cut(capsys):
    write(["why"], [("x" * 150,)], {}, "table")
    assert "x" * 150 in capsys.readouterr().out


def test_a_table_that_is_wider_than_the_terminal_stands_upright(capsys, monkeypatch):
    monkeypatch.setattr("pipeline.cli.output.PIPE_WIDTH", 60)
    columns, row = ["tenant", "latency_ms", "why"], ["acme", 1240.0, "y" * 40]
    write(columns, [row], {"latency_ms": "ms"}, "table")
    assert [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()] == [
        ["tenant", "acme"], ["latency", "1.24", "s"], ["why", "y" * 40],
    ]  # fmt: skip
    write(columns[:2], [row[:2]], {"latency_ms": "ms"}, "table")
    assert ["tenant", "latency"] in [line.split() for line in capsys.readouterr().out.splitlines()]
