"""Readable identifiers: ordinary names pass, structured personal data does not, whatever it stands in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.redaction import is_clean_identifier

ORDINARY = [
    *["support-agent", "eu-west-1", "o3", "v1.2.3", "0.0.1", "v1.2.3-rc.4+build.567", "tau-12-3", "42", "Q3-2025"],
    *["gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929", "gpt-3.5-turbo-0125", "llama-3.1-8b-instruct"],
    *["us.anthropic.claude-3-7-sonnet-20250219-v1:0", "mixtral-8x7b-32768", "tesseract-5.3.0.20221222"],
    *["arn:aws:bedrock:us-east-1::foundation-model/x", "accounts/fireworks/models/llama-v3p1-405b"],
    *["user-8f3a2c1d", "7f3e8c1a-9b2d-4e5f-a6b7-c8d9e0f1a2b3", "01JABCDEF0123456789ABCDEFG", "tenant-00042"],
    *["2025-09-29-12-34-56", "2025-09-29T12:34:56Z", "20250929123456", "1759150000", "1759150000123"],
    *["std::vector", "v1::chat", "abc::def", "::1", "12:30:45", "job-000012345", ""],
]
PERSONAL = [
    *["jane.doe@example.com", "jane%40example.com"],
    *["4111111111111111", "4111-1111-1111-1111", "4111.1111.1111.1111", "371449635398431", "3714-496353-98431"],
    *["5555555555554444", "6011111111111117", "30569309025904", "2223003122003222"],
    *["123-45-6789", "856-45-6789", "078_05_1120", "900-70-0000"],
    *["192.168.17.45", "ip-192-168-17-45", "192_168_17_45", "2001:db8::ff00:42:8329", "fe80::1"],
    *["00:1A:2B:3C:4D:5E", "001a.2b3c.4d5e"],
    *["+1-202-555-0173", "(202) 555-0173", "202.555.0173", "2025550173", "1-202-555-0173"],
    *["+442079460958", "0044-20-7946-0958", "07700-900123", "06-12-34-56-78"],
    *["DE89370400440532013000", "DE89-3704-0044-0532-0130-00", "GB29NWBK60161331926819", "gb29nwbk60161331926819"],
    *["943-476-5919", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"],
]


@pytest.mark.parametrize("value", ORDINARY)
def test_an_ordinary_name_is_clean(value: str) -> None:
    assert is_clean_identifier(value)


@pytest.mark.parametrize("value", PERSONAL)
@pytest.mark.parametrize("around", ["{}", "team-{}", "host_{}", "a.{}.b", "x/{}/y", "{}_prod", "eu:{}"])
def test_personal_data_is_not_clean_whatever_stands_beside_it(value: str, around: str) -> None:
    assert not is_clean_identifier(around.format(value))


@pytest.mark.parametrize(
    "value",
    ["jane＠example.com", "４１１１111111111111", "192.168\u200b.17.45", "１２３-45-6789", "\u0664111111111111111"],
)
def test_personal_data_in_look_alike_characters_is_not_clean(value: str) -> None:
    assert not is_clean_identifier(value)


def test_something_too_long_to_be_a_name_is_not_clean() -> None:
    assert is_clean_identifier("x" * 512)
    assert not is_clean_identifier("x" * 513)


def test_the_second_answer_is_the_first() -> None:
    assert [is_clean_identifier(v) for v in ("gpt-4o", "10.1.2.3") * 2] == [True, False] * 2


@given(st.text(max_size=80))
def test_any_text_gets_an_answer(value: str) -> None:
    assert is_clean_identifier(value) in (True, False)


@given(st.integers(0, 199), st.integers(0, 9), st.integers(0, 9))
def test_counters_are_clean(a: int, b: int, c: int) -> None:
    assert is_clean_identifier(f"tau-{a}-{b}-{c}")


@given(st.datetimes(), st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y-%m-%d-%H-%M-%S", "%Y%m%d%H%M%S", "%Y%m%d-%H%M%S"]))
def test_points_in_time_are_clean(moment: object, form: str) -> None:
    year = moment.year  # type: ignore[attr-defined]
    if 1900 <= year <= 2099:
        assert is_clean_identifier(f"run-{moment:{form}}")
