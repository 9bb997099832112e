"""Content modes and cutting: what of a text leaves the application, and what stands for the rest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import Event
from tokentrail.content import Hasher, parse_key
from tokentrail.cut import MARKER, fit
from tokentrail.testing import Recorder

KEY = b"0123456789abcdef"
SECRET = "my card is 4111 1111 1111 1111"


def keyed(text: str) -> str:
    return hashlib.blake2b(text.encode(), key=KEY, digest_size=16).hexdigest()


def event_with_text_everywhere() -> dict[str, Any]:
    return {
        "feature": "chat",
        "input": [{"role": "user", "content": SECRET}, {"role": "tool", "content": [{"text": SECRET}], "name": SECRET}],
        "output": SECRET,
        "tool_calls": [{"name": "search", "arguments": {SECRET: SECRET}, "result": SECRET, "note": SECRET}],
        "error": {"type": "ValueError", "message": SECRET, "http_status": 400, "body": SECRET},
        "feedback": {"rating": 1, "comment": SECRET},
        "evaluation": {"name": "helpful", "score": 0.5, "explanation": SECRET},
        "retrieval": {"hits": 2, "documents": [SECRET]},
        "guardrails": [{"name": "pii", "triggered": True, "match": SECRET}],
        "parameters": {"temperature": 0.5, "tool_choice": "auto", "system": SECRET * 10, "schema": {"a": SECRET}},
        "usage": {"input": 5},
        "prompt": SECRET,
        "messages": [{"content": SECRET}],
    }


@pytest.mark.parametrize("mode", ["hash", "none"])
def test_no_text_leaves_in_the_modes_without_text(mode: str) -> None:
    recorder = Recorder(tenant="acme", content=mode, hash_key=KEY)
    assert recorder.emit(event_with_text_everywhere())
    (event,) = recorder.events
    assert "4111" not in json.dumps(event)
    assert event["content"] == mode
    assert event["prompt_size_bytes"] > 2 * len(SECRET)
    assert event["usage"] == {"input": 5} and event["error"] == {"type": "ValueError", "http_status": 400}
    assert event["parameters"] == {"temperature": 0.5, "tool_choice": "auto"}
    assert event["guardrails"] == [{"name": "pii", "triggered": True}]
    msgspec.convert(event, Event)


def test_mode_hash_keeps_length_and_keyed_hash_of_each_message() -> None:
    recorder = Recorder(tenant="acme", content="hash", hash_key=KEY)
    recorder.emit(event_with_text_everywhere())
    (event,) = recorder.events
    assert event["input"][0] == {"role": "user", "length": len(SECRET), "hash": keyed(SECRET)}
    assert event["input"][1]["role"] == "tool" and event["input"][1]["hash"] != keyed(SECRET)
    assert event["output"] == [{"role": "assistant", "length": len(SECRET), "hash": keyed(SECRET)}]
    assert event["tool_calls"][0]["result"] == {"length": len(SECRET), "hash": keyed(SECRET)}


@pytest.mark.parametrize(
    "result",
    [
        lambda number: {"role": "tool", "tool_call_id": f"call_{number}", "content": SECRET},
        lambda number: {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": f"t{number}", "content": SECRET}],
        },
        lambda number: {"type": "function_call_output", "call_id": f"call_{number}", "output": SECRET},
    ],
)
def test_the_same_result_of_a_tool_has_the_same_hash_at_every_call(result: Callable[[int], dict[str, Any]]) -> None:
    recorder = Recorder(tenant="acme", content="hash", hash_key=KEY)
    for number in range(2):
        recorder.emit({"input": [result(number)]})
    first, second = (event["input"] for event in recorder.events)
    assert first == second and first[0]["role"] == "tool"
    assert SECRET not in json.dumps(first)


def test_mode_none_keeps_no_hash_either() -> None:
    recorder = Recorder(tenant="acme", content="none")
    recorder.emit(event_with_text_everywhere())
    (event,) = recorder.events
    assert "input" not in event and "output" not in event
    assert event["tool_calls"] == [{"name": "search"}]


def test_one_event_may_be_stricter_than_its_trail_and_never_laxer() -> None:
    recorder = Recorder(tenant="acme", content="hash", hash_key=KEY)
    for asked in ("none", "full", "anything", 5):
        assert recorder.emit({"input": SECRET, "content": asked})
    assert [event["content"] for event in recorder.events] == ["none", "hash", "hash", "hash"]
    assert "4111" not in json.dumps(recorder.events)


def test_a_key_may_be_bytes_hexadecimal_base64_or_text(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_key(KEY) == parse_key(KEY.hex()) == parse_key(base64.b64encode(KEY).decode()) == KEY
    assert parse_key("a pass phrase") == b"a pass phrase"
    monkeypatch.setenv("TOKENTRAIL_HASH_KEY", KEY.hex())
    recorder = Recorder(tenant="acme", content="hash")
    recorder.emit({"output": SECRET})
    assert recorder.events[0]["output"][0]["hash"] == keyed(SECRET)


def test_without_a_key_hashes_of_two_trails_cannot_be_compared() -> None:
    assert Hasher(None)("a") != Hasher(None)("a")
    assert Hasher(b"x" * 100)("a") == Hasher(b"x" * 100)("a")


def test_the_longest_text_of_an_oversized_event_is_cut_and_said() -> None:
    recorder = Recorder(tenant="acme", max_event_bytes=20_000, hash_key=KEY)
    long = "é" * 30_000
    messages = [
        {"role": "system", "content": "s" * 3_000},
        {"role": "user", "content": [{"type": "text", "text": long}]},
    ]
    assert recorder.emit({"input": messages, "output": "short", "run": "r", "usage": {"input": 9}})
    (event,) = recorder.events
    assert 19_000 < len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()) <= 20_000
    assert event["cut"] == [{"path": "input[1].content[0].text", "length": 30_000, "hash": keyed(long)}]
    text = event["input"][1]["content"][0]["text"]
    assert text.endswith(MARKER) and long.startswith(text[: -len(MARKER)])
    assert event["input"][0]["content"] == "s" * 3_000
    assert event["prompt_size_bytes"] > 60_000
    msgspec.convert(event, Event)


def test_so_many_small_messages_that_cutting_does_not_help_go_as_a_whole() -> None:
    recorder = Recorder(tenant="acme", max_event_bytes=20_000, hash_key=KEY)
    messages = [{"role": "user", "content": f"message {number}"} for number in range(2_000)]
    assert recorder.emit({"input": messages, "output": "kept", "usage": {"input": 9}})
    (event,) = recorder.events
    source = json.dumps(messages, separators=(",", ":"))
    assert "input" not in event and event["usage"] == {"input": 9}
    assert event["output"] == [{"role": "assistant", "content": "kept"}]
    assert event["cut"] == [{"path": "input", "length": len(source), "hash": keyed(source)}]


def test_an_oversized_field_that_is_no_text_goes_too() -> None:
    recorder = Recorder(tenant="acme", max_event_bytes=20_000)
    assert recorder.emit({"parameters": {str(n): n for n in range(5_000)}, "output": "kept"})
    (event,) = recorder.events
    assert "parameters" not in event and event["output"][0]["content"] == "kept"


def test_a_path_does_not_repeat_the_applications_words() -> None:
    recorder = Recorder(tenant="acme", max_event_bytes=20_000)
    recorder.emit({"tool_calls": [{"name": "f", "arguments": {f"for {SECRET}": "x" * 30_000, "query": "y" * 29_000}}]})
    paths = [note["path"] for note in recorder.events[0]["cut"]]
    assert paths == ["tool_calls[0].arguments.*", "tool_calls[0].arguments.query"]


TEXT = st.one_of(
    st.text(max_size=50),
    st.integers(1, 30_000).map(lambda size: "\n\x01" * size),
    st.integers(1, 30_000).map(lambda size: "日本" * size),
    st.integers(1, 30_000).map(lambda size: "x" * size),
)
MESSAGE = st.fixed_dictionaries({"role": st.just("user"), "content": TEXT})


@settings(max_examples=60, deadline=None)
@given(
    st.lists(MESSAGE, max_size=6),
    st.lists(MESSAGE, max_size=3),
    st.lists(st.fixed_dictionaries({"name": st.just("f"), "arguments": TEXT}), max_size=3),
    st.integers(4_000, 60_000),
)
def test_whatever_is_cut_fits_and_can_be_proved(
    asked: list[Any], answered: list[Any], tools: list[Any], limit: int
) -> None:
    hasher = Hasher(KEY)
    body = {"kind": "call", "tenant": "acme", "input": asked, "output": answered, "tool_calls": tools}
    whole = json.loads(json.dumps(body))
    encoded = fit(body, limit, hasher)
    assert encoded is not None and len(encoded) <= limit
    sent = json.loads(encoded)
    cut = {note["path"]: note for note in sent.get("cut", [])}
    for name in ("input", "output", "tool_calls"):
        if name in cut:
            assert name not in sent
            continue
        for index, message in enumerate(whole[name]):
            part = "arguments" if name == "tool_calls" else "content"
            note = cut.pop(f"{name}[{index}].{part}", None)
            text, kept = message[part], sent[name][index][part]
            if note is None:
                assert kept == text
            else:
                assert note["length"] == len(text) and note["hash"] == keyed(text)
                assert kept.endswith(MARKER) and text.startswith(kept[: -len(MARKER)])
    assert set(cut) <= {"input", "output", "tool_calls"}
