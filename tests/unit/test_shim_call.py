"""`with trail.call(...)`: what it records, and that the application's own exceptions pass untouched."""

from __future__ import annotations

import asyncio
import builtins
import time
import traceback
from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest

import tokentrail.call
from tokentrail import Trail
from tokentrail.testing import Recorder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(tenant="acme")


def one(recorder: Recorder) -> dict[str, Any]:
    (event,) = recorder.events
    return event


class EvilError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("evil")

    __repr__ = __str__

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("evil")


APPLICATION_ERRORS = [
    ValueError("mine"),
    KeyboardInterrupt(),
    SystemExit(3),
    GeneratorExit(),
    asyncio.CancelledError(),
    EvilError(),
    RecursionError(),
    MemoryError(),
    StopIteration(5),
    BaseException("bare"),
    ExceptionGroup("several", [ValueError("a"), KeyError("b")]),
]


@pytest.mark.parametrize("error", APPLICATION_ERRORS, ids=lambda error: type(error).__name__)
def test_the_applications_exception_passes_untouched(recorder: Recorder, error: BaseException) -> None:
    cause = LookupError("cause")
    with pytest.raises(type(error)) as caught, recorder.call(model="m"):
        raise error from cause
    assert caught.value is error
    assert error.__cause__ is cause and error.__context__ is None
    frames = traceback.extract_tb(error.__traceback__)
    assert all("tokentrail" not in frame.filename.split("/tests/")[0].rsplit("/", 1)[-1] for frame in frames)
    assert frames[-1].filename == __file__
    event = one(recorder)
    assert event["status"] == "error"
    assert event["error"]["type"].rsplit(".", 1)[-1] == type(error).__name__


def test_a_failure_of_the_shim_neither_shows_nor_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> object:
        raise RuntimeError("a bug of the shim")

    trail = Trail("127.0.0.1:9", flush_timeout_s=0)
    mine = ValueError("mine")
    monkeypatch.setattr(tokentrail.call, "explain", broken)
    with pytest.raises(ValueError) as caught, trail.call(model="m"):
        raise mine
    assert caught.value is mine and mine.__context__ is None
    monkeypatch.setattr(trail, "emit", broken)
    with trail.call(model="m"):
        pass
    monkeypatch.setattr(trail, "note_fault", broken)
    with trail.call(model="m") as call:
        call.usage(1, 2, 3)  # type: ignore[misc]
    trail.close()


def test_misuse_is_told_and_harms_nothing(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    with recorder.call(tags=5, model="m") as call:
        call.usage(1, 2)  # type: ignore[misc]
        call.tool()  # type: ignore[call-arg]
        call.finish("stop", "now")  # type: ignore[call-arg]
        call.tag({1: 2}, EvilError())
        call.set(tags=[1], self=1, status=EvilError())
        call.usage(input="many", extra=EvilError())  # type: ignore[arg-type]
        call.finish("stop")
    assert one(recorder)["finish_reason"] == "stop" and one(recorder)["model"] == "m"
    assert caplog.text.count("a call's event is incomplete") == 1
    assert "TypeError" in (recorder.stats().last_error or "")


def test_what_the_application_says_is_in_the_event(recorder: Recorder) -> None:
    messages = [{"role": "user", "content": "hello"}]
    with recorder.call(
        feature="chat", model="large", provider="openai", run=7, step=3, user=42, input=messages, tags={"a": 1}
    ) as call:
        messages.append({"role": "assistant", "content": "what the application appends later"})
        call.output("hi")
        call.usage(input=10, cached=4)
        call.usage(output=5, cache_write=1, reasoning=2)
        call.tool("search", {"q": "x"}, result=["y"])
        call.tool("search")
        call.tag("b", True)
        call.set(response_model="large-2", retries=1, temperature=None)
        call.finish("stop")
        time.sleep(0.02)
    event = one(recorder)
    assert event["input"] == [{"role": "user", "content": "hello"}]
    assert event["output"] == [{"role": "assistant", "content": "hi"}]
    assert event["usage"] == {"input": 10, "cached": 4, "output": 5, "cache_write": 1, "reasoning": 2}
    assert event["tool_calls"] == [{"name": "search", "arguments": {"q": "x"}, "result": ["y"]}, {"name": "search"}]
    assert event["tags"] == {"a": "1", "b": "True"}
    assert (event["run"], event["user"], event["step"]) == ("7", "42", 3)
    assert (event["status"], event["finish_reason"], event["response_model"]) == ("ok", "stop", "large-2")
    assert "temperature" not in event and "ttft_ms" not in event
    assert 20 <= event["latency_ms"] < 2_000


def test_the_first_token_is_timed_once(recorder: Recorder) -> None:
    with recorder.call() as call:
        time.sleep(0.01)
        call.first_token()
        time.sleep(0.03)
        call.first_token()
    event = one(recorder)
    assert 10 <= event["ttft_ms"] <= event["latency_ms"] - 30
    assert event["streaming"] is True


def test_the_id_can_be_known_before_the_end(recorder: Recorder) -> None:
    with recorder.call() as call:
        known = call.id
    assert one(recorder)["id"] == known == call.id


def test_a_status_that_the_application_sets_stays(recorder: Recorder) -> None:
    with pytest.raises(ValueError), recorder.call() as call:
        call.status("filtered")
        raise ValueError("blocked by the provider")
    event = one(recorder)
    assert event["status"] == "filtered" and event["error"]["message"] == "blocked by the provider"


def test_a_status_that_the_contract_does_not_know_becomes_a_tag(recorder: Recorder) -> None:
    with recorder.call() as call:
        call.status("sort of fine")
    event = one(recorder)
    assert event["status"] == "ok" and event["tags"] == {"status": "sort of fine"}


class RateLimitError(Exception):
    status_code = 429
    code = "rate_limit_exceeded"


class ThrottlingException(Exception):
    def __init__(self) -> None:
        self.response = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}


class APITimeoutError(Exception):
    pass


def http_error(status: int, **headers: str) -> Exception:
    request = httpx.Request("POST", "http://localhost/")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError(f"{status}", request=request, response=response)


@pytest.mark.parametrize(
    ("error", "status", "details"),
    [
        (RateLimitError("slow down"), "rate_limited", {"http_status": 429, "code": "rate_limit_exceeded"}),
        (http_error(429, **{"retry-after": "2.5"}), "rate_limited", {"http_status": 429, "retry_after_s": 2.5}),
        (http_error(429, **{"retry-after": "tomorrow"}), "rate_limited", {"http_status": 429}),
        (http_error(500), "error", {"http_status": 500, "type": "httpx.HTTPStatusError", "message": "500"}),
        (http_error(504), "timeout", {"http_status": 504}),
        (ThrottlingException(), "rate_limited", {"http_status": 400, "code": "ThrottlingException"}),
        (httpx.ReadTimeout("x"), "timeout", {"message": "x"}),
        (builtins.TimeoutError("x"), "timeout", {"type": "TimeoutError"}),
        (APITimeoutError(), "timeout", {}),
        (SystemExit(429), "error", {"type": "SystemExit", "code": "cancelled"}),
        (ValueError("x" * 10_000), "error", {"message": "x" * 4_000}),
        (ValueError("\ud800"), "error", {"message": "\ufffd"}),
        (EvilError(), "error", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_exception_tells_status_and_error(
    recorder: Recorder, error: BaseException, status: str, details: dict[str, object]
) -> None:
    with pytest.raises(type(error)), recorder.call():
        raise error
    event = one(recorder)
    assert event["status"] == status
    assert details.items() <= event["error"].items()


def test_async_calls_work_and_cancellation_passes(recorder: Recorder) -> None:
    async def fine() -> None:
        async with recorder.call(feature="fine") as call:
            await asyncio.sleep(0.01)
            call.finish("stop")

    async def late() -> None:
        async with recorder.call(feature="late"):
            await asyncio.sleep(60)

    async def both() -> None:
        await fine()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(late(), 0.02)

    asyncio.run(both())
    first, second = recorder.events
    assert first["status"] == "ok" and first["latency_ms"] >= 10
    assert second["error"]["type"].endswith("CancelledError") and second["error"]["code"] == "cancelled"


def test_a_stream_that_the_application_leaves_is_recorded(recorder: Recorder) -> None:
    def stream() -> Generator[str, None, None]:
        with recorder.call(feature="stream") as call:
            for word in ("a", "b", "c"):
                call.first_token()
                yield word

    words: Iterator[str] = stream()
    assert next(words) == "a"
    del words
    event = one(recorder)
    assert event["streaming"] is True and event["error"]["type"] == "GeneratorExit"


def test_the_event_time_is_the_end_of_the_call(recorder: Recorder) -> None:
    with recorder.call():
        time.sleep(0.05)
        before_the_end_ms = time.time_ns() // 1_000_000
    assert one(recorder)["ts"] >= before_the_end_ms
