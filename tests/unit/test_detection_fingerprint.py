"""Fingerprints: equal for equal meaning, different for progress, and never the text itself."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import msgspec
import pytest

from pipeline.detection.fingerprint import NAME_ONLY, loop_marks
from schemas.event import Event
from schemas.fact import Loop

KEY = b"k" * 32


def marks(key: bytes = KEY, **fields: Any) -> Loop:
    event = msgspec.convert({"tenant": "acme", **fields}, Event)
    found = loop_marks(event, key)
    assert found is not None
    return found


def action(arguments: Any, name: str = "search") -> str:
    return marks(tool_calls=[{"name": name, "arguments": arguments}]).actions[0]


def result(value: Any) -> str:
    return marks(input=[{"role": "user", "content": "?"}, {"role": "tool", "content": value}]).results[0]


def test_the_order_of_arguments_and_json_in_text_mean_nothing() -> None:
    assert action({"a": 1, "b": [1, 2]}) == action({"b": [1, 2], "a": 1}) == action('{"b": [1,2],  "a": 1}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"page": 1}, {"page": 2}),
        ({"order": "A-1234"}, {"order": "A-1235"}),
        ({"id": "7"}, {"id": "8"}),
        ({"date": "2026-05-01"}, {"date": "2026-05-02"}),
        ({"city": "Berlin"}, {"city": "berlin"}),
        ({"items": [1, 2]}, {"items": [2, 1]}),
        ({"sha": "9f86d081884c7d659a2feaa0c55ad015"}, {"sha": "60303ae22b998861bce3b28f33eec1be"}),
        ({"order_id": "4f2c6a1e-93d5-4a7f-8c1b-0d9e8f7a6b5c"}, {"order_id": "aaaaaaaa-93d5-4a7f-8c1b-0d9e8f7a6b5c"}),
    ],
)
def test_another_question_has_another_fingerprint(one: Any, other: Any) -> None:
    assert action(one) != action(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"q": "x", "request_id": "a1"}, {"q": "x", "request_id": "b2"}),
        ({"q": "x", "attempt": 1}, {"q": "x", "attempt": 2}),
        ({"q": "4f2c6a1e-93d5-4a7f-8c1b-0d9e8f7a6b5c"}, {"q": "aaaaaaaa-93d5-4a7f-8c1b-0d9e8f7a6b5c"}),
        ({"since": "2026-05-01T10:00:00Z"}, {"since": "2026-05-01T10:00:07Z"}),
        ({"at": 1_762_603_200}, {"at": 1_762_603_207}),
        ({"at": 1_762_603_200_123}, {"at": 1_762_603_207_456}),
        ({"q": "9f86d081884c7d659a2feaa0c55ad015"}, {"q": "60303ae22b998861bce3b28f33eec1be"}),
    ],
)
def test_what_is_new_every_time_means_nothing(one: Any, other: Any) -> None:
    assert action(one) == action(other)


def test_the_tool_is_part_of_the_action() -> None:
    assert action({"q": 1}, "search") != action({"q": 1}, "fetch")


def test_a_result_that_changes_is_progress_and_one_that_only_took_longer_is_not() -> None:
    assert result('{"status": "running", "done": 3}') != result('{"status": "running", "done": 4}')
    assert result('{"status": "running", "took_ms": 17}') == result('{"status": "running", "took_ms": 93}')
    assert result("done at 10:41:07") == result("done at 10:41:12")


def test_results_are_found_at_the_end_of_the_input_in_every_shape() -> None:
    openai = [{"role": "user", "content": "?"}, {"role": "tool", "content": "a"}, {"role": "tool", "content": "b"}]
    anthropic = [
        {"role": "user", "content": "?"},
        {"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "a"}]},
                                     {"type": "tool_result", "content": "b"}]},
    ]  # fmt: skip
    responses = [{"type": "function_call_output", "output": "a"}, {"type": "function_call_output", "output": "b"}]
    found = {marks(input=shape).results for shape in (openai, anthropic, responses)}
    assert len(found) == 1
    assert len(found.pop()) == 2


def test_only_results_after_the_last_word_of_the_model_are_new() -> None:
    history = [
        {"role": "tool", "content": "old"},
        {"role": "assistant", "content": "so"},
        {"role": "user", "content": "?"},
    ]
    assert marks(input=history).results == ()
    assert len(marks(input=[*history, {"role": "tool", "content": "new"}]).results) == 1


def test_it_is_said_whose_results_they_are() -> None:
    inline = marks(tool_calls=[{"name": "f", "arguments": {}, "result": "r"}], input=[{"role": "tool", "content": "t"}])
    assert inline.own_results and len(inline.results) == 1
    late = marks(tool_calls=[{"name": "f", "arguments": {}}], input=[{"role": "tool", "content": "r"}])
    assert not late.own_results
    assert late.results == inline.results


def test_tool_calls_are_found_in_the_output_where_the_event_lists_none() -> None:
    listed = marks(tool_calls=[{"name": "f", "arguments": {"q": 1}}]).actions
    openai = [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"q": 1}'}}]}]
    anthropic = [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"q": 1}}]}]
    assert marks(output=openai).actions == marks(output=anthropic).actions == listed


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ("Error: no such file", 1),
        ("Traceback (most recent call last):", 1),
        ('{"error": "quota"}', 1),
        ({"error": None, "rows": 3}, 0),
        ("3 rows found, no error", 0),
        ("HTTP 503 Service Unavailable", 1),
        ("all good", 0),
    ],
)
def test_errors_of_tools_are_counted(value: Any, errors: int) -> None:
    assert marks(input=[{"role": "tool", "content": value}]).tool_errors == errors


def stand_in(text: str) -> dict[str, Any]:
    return {"length": len(text), "hash": hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def test_texts_that_were_kept_as_hashes_are_compared_by_their_hash() -> None:
    def hashed(text: str) -> Loop:
        return marks(
            content="hash",
            input=[{"role": "user", **stand_in("q")}, {"role": "tool", **stand_in(text)}],
            output=[{"role": "assistant", **stand_in(text)}],
            tool_calls=[{"name": "poll", "arguments": stand_in(text)}],
        )

    one, same, other = hashed("12 %"), hashed("12 %"), hashed("57 %")
    assert one == same
    assert one.results != other.results
    assert one.output != other.output
    assert one.actions != other.actions

    def asked(text: str) -> Loop:
        return marks(content="hash", input=[{"role": "user", **stand_in(text)}], output="a")

    assert asked("a").input_tail == asked("a").input_tail != asked("b").input_tail


def test_a_tool_call_of_which_only_the_name_is_known_says_so() -> None:
    assert marks(content="none", tool_calls=[{"name": "read_file"}]).actions[0].endswith(NAME_ONLY)
    assert not action({}).endswith(NAME_ONLY)


def test_fingerprints_need_the_key_and_hold_no_text() -> None:
    fields: dict[str, Any] = {
        "input": [{"role": "user", "content": "my card is 4111 1111 1111 1111"}],
        "output": "kept 4111 1111 1111 1111 of Jane Doe",
        "tool_calls": [{"name": "store", "arguments": {"card": "4111 1111 1111 1111"}, "result": "Jane Doe"}],
    }
    one, other = marks(**fields), marks(b"another key", **fields)
    assert one == marks(**fields)
    assert set(one.actions + one.results).isdisjoint(other.actions + other.results)
    assert one.output != other.output
    text = msgspec.json.encode(one).decode()
    assert "4111" not in text and "Jane" not in text and "store" not in text


def test_an_event_without_anything_to_compare_has_none() -> None:
    assert loop_marks(msgspec.convert({"tenant": "acme", "usage": {"input": 3}}, Event), KEY) is None


@pytest.mark.parametrize(
    "hostile",
    [
        "\ud800 lone surrogate",
        "[" * 50_000,
        json.dumps({"a": "x" * 200_000}),
        "0" * 100_000,
        "a-" * 50_000,
        "1:" * 50_000,
        {"k": [[[[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]]]]},
        10**400,
        None,
        ["mixed", 1, None, {"content": {"content": {"text": 3}}}],
    ],
)
def test_hostile_values_are_fingerprinted_in_bounded_time(hostile: Any) -> None:
    event = Event(tenant="acme", input=[{"role": "tool", "content": hostile}], output=hostile, tool_calls=None)
    began = time.process_time()
    assert loop_marks(event, KEY) is not None
    assert time.process_time() - began < 0.5
