"""`emit` harms no application: it takes anything, waits for nothing, and counts what it loses.

The broker of these tests is a closed port: librdkafka is the real one, and nothing is ever delivered.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import gc
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, MappingProxyType
from typing import Any

import msgspec
import numpy
import pydantic
import pytest

from tokentrail import Stats, Trail
from tokentrail.testing import Recorder

NOWHERE = "127.0.0.1:9"


def trail_to_nowhere(**settings: Any) -> Trail:
    return Trail(NOWHERE, **{"tenant": "acme", "flush_timeout_s": 0.0, "heartbeat_s": 0, **settings})


@pytest.fixture
def trail() -> Iterator[Trail]:
    made = trail_to_nowhere()
    yield made
    made.close()


def adds_up(stats: Stats) -> bool:
    return (
        stats.emitted == stats.delivered + stats.refused + stats.dropped + stats.buffered
        and sum(stats.by_reason.values()) == stats.refused + stats.dropped
        and min(stats.delivered, stats.refused, stats.dropped, stats.buffered) >= 0
    )


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Record:
    feature: str = "chat"
    when: datetime.date = datetime.date(2025, 1, 2)


class Model(pydantic.BaseModel):
    feature: str = "chat"


class Struct(msgspec.Struct):
    feature: str = "chat"


class Unsayable:
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


class LiarMapping(UserDict[str, Any]):
    def __iter__(self) -> Iterator[str]:
        raise OSError("no")


class LiarClass:
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise AttributeError("no")


def circle() -> dict[str, Any]:
    made: dict[str, Any] = {"feature": "chat"}
    made["input"] = [made]
    return made


def tower(height: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(height):
        made = [made]
    return made


SENT: dict[str, Callable[[], Any]] = {
    "bytes": lambda: {"output": b"text", "tags": {"a": b"\xff\xfe"}},
    "bytes as a key": lambda: {b"feature": "chat"},
    "integer keys": lambda: {"tags": {1: "a", None: "b", 2.5: "c", (1, 2): "d"}},
    "a decimal": lambda: {"cost_usd": decimal.Decimal("0.01"), "latency_ms": decimal.Decimal("NaN")},
    "times": lambda: {"ts": datetime.datetime.now(datetime.UTC), "parameters": {"t": datetime.timedelta(1)}},
    "an enumeration": lambda: {"feature": Colour.RED, Colour.RED: 1},
    "a set": lambda: {"tags": {"a": {1, 2, 3}, "b": frozenset("x"), "c": deque([1])}},
    "a huge integer": lambda: {"step": 1 << 200, "retries": 1 << 5000},
    "not a number": lambda: {"latency_ms": float("nan"), "cost_usd": float("inf")},
    "lone surrogates": lambda: {"output": "a\ud800b", "run": "\udfff", "\ud801": 1},
    "NUL": lambda: {"output": "a\0b", "run": "\0"},
    "a circle": circle,
    "a deep tower": lambda: {"input": tower(300)},
    "an exception": lambda: {"error": ValueError("no")},
    "a class": lambda: {"feature": int, "output": Record},
    "a module, a lock, a function": lambda: {"a": os, "b": threading.Lock(), "c": trail_to_nowhere},
    "an object that cannot be printed": lambda: {"output": Unsayable(), Unsayable(): 1},
    "an object that lies about its class": lambda: {"output": LiarClass()},
    "numpy values": lambda: {"latency_ms": numpy.float64(1.5), "input": numpy.zeros(3), "retries": numpy.int32(2)},
    "a pydantic model inside": lambda: {"output": Model()},
    "a pydantic model": Model,
    "a dataclass": Record,
    "a msgspec struct": Struct,
    "a read-only mapping": lambda: MappingProxyType({"feature": "chat"}),
    "other mappings": lambda: UserDict({"feature": OrderedDict(a=1)}),
    "a path and an id": lambda: {"output": pathlib.Path("/x"), "run": uuid.uuid4()},
    "an iterator": lambda: {"output": iter(range(3))},
    "an empty event": dict,
    "numbers for identifiers": lambda: {"run": 5, "user": 7, "session": 1.5, "id": 9, "tenant": 3},
    "null everywhere": lambda: dict.fromkeys(("id", "ts", "kind", "tenant", "run", "status", "input", "content")),
}
DROPPED: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a number": lambda: 5,
    "a text": lambda: "event",
    "a list": lambda: [("feature", "chat")],
    "an object": object,
    "a class of records": lambda: Record,
    "a mapping that cannot be read": lambda: LiarMapping(a=1),
    "too many parts": lambda: {"input": [{"a": {1}}] * 300_000},
    "a range without end": lambda: {"input": range(10**12)},
    "an identifier of a megabyte": lambda: {"run": "x" * 1_000_000},
}


@pytest.mark.parametrize("name", SENT)
def test_unusual_input_is_sent(trail: Trail, name: str) -> None:
    assert trail.emit(SENT[name]()) is True
    stats = trail.stats()
    assert (stats.emitted, stats.buffered) == (1, 1)


@pytest.mark.parametrize("name", DROPPED)
def test_garbage_is_dropped_and_counted(trail: Trail, name: str) -> None:
    assert trail.emit(DROPPED[name]()) is False
    stats = trail.stats()
    assert (stats.emitted, stats.buffered, stats.lost) == (1, 0, 1) and adds_up(stats)
    assert trail.emit({"feature": "chat"}), "the next event is not harmed"


def test_a_stream_of_the_application_is_not_consumed(trail: Trail) -> None:
    stream = iter(["a", "b"])
    trail.emit({"output": stream, "x": (word for word in "ab")})
    assert list(stream) == ["a", "b"]


def test_the_event_of_the_application_is_not_changed(trail: Trail) -> None:
    event: dict[str, Any] = {"input": "hello", "run": 5, "producer": "mine", "status": None}
    before = dict(event)
    trail.emit(event)
    assert event == before


def test_what_is_repaired_reads_as_it_should() -> None:
    recorder = Recorder(tenant="acme", environment="test", defaults={"team": "a", "feature": "none"})
    event = {"output": "a\ud83d\ude00b\ud800", "run": 5, "ts": datetime.datetime.fromtimestamp(1.5), "feature": None}
    assert recorder.emit(event)
    (made,) = recorder.events
    assert made["output"] == [{"role": "assistant", "content": "a\U0001f600b\ufffd"}]
    assert (made["run"], made["ts"], made["kind"], made["content"]) == ("5", 1500, "call", "full")
    assert (made["tenant"], made["environment"], made["team"], made["feature"]) == ("acme", "test", "a", "none")


def test_the_size_of_the_prompt_is_that_of_its_json() -> None:
    recorder = Recorder(tenant="acme")
    recorder.emit({"input": [{"role": "user", "content": "é"}], "prompt_size_bytes": 1})
    recorder.emit({"output": "no input"})
    assert recorder.events[0]["prompt_size_bytes"] == len('[{"role":"user","content":"é"}]'.encode())
    assert "prompt_size_bytes" not in recorder.events[1]


def test_a_full_buffer_drops_and_counts_and_stays_within_its_bytes() -> None:
    trail = trail_to_nowhere(max_buffer_bytes=200_000)
    accepted = sum(trail.emit({"output": "x" * 1_000}) for _ in range(1_000))
    stats = trail.stats()
    assert 50 < accepted < 200 and stats.buffered == accepted
    assert stats.by_reason == {"buffer_full": 1_000 - accepted} and adds_up(stats)
    assert 190_000 < stats.buffered_bytes <= 200_000
    trail.close()


def test_a_full_buffer_counts_events_too() -> None:
    trail = trail_to_nowhere(max_buffer_events=10)
    assert sum(trail.emit({"a": 1}) for _ in range(100)) == 10
    assert trail.stats().by_reason == {"buffer_full": 90}
    trail.close()


def test_without_a_broker_nothing_blocks_and_close_counts_what_is_left() -> None:
    began = time.monotonic()
    trail = trail_to_nowhere(flush_timeout_s=0.3)
    for _ in range(50):
        trail.emit({"a": 1})
    assert time.monotonic() - began < 0.3
    assert trail.flush(0.1) == 50
    began = time.monotonic()
    trail.close()
    assert time.monotonic() - began < 0.3 + 1.5
    stats = trail.stats()
    assert stats.by_reason == {"left_at_close": 50} and adds_up(stats)
    assert (stats.buffered, stats.buffered_bytes) == (0, 0)
    assert "refused" in (stats.last_error or "")


def test_events_that_wait_too_long_are_refused_and_counted() -> None:
    trail = trail_to_nowhere(kafka={"delivery.timeout.ms": 300})
    for _ in range(100):
        trail.emit({"a": 1})
    assert trail.flush(20) == 0
    stats = trail.stats()
    assert (stats.refused, stats.buffered_bytes, stats.by_reason) == (100, 0, {"msg_timed_out": 100})
    trail.close()


def test_after_close_events_are_dropped_and_closing_again_is_nothing(trail: Trail) -> None:
    trail.close()
    trail.close()
    assert trail.emit({"a": 1}) is False
    assert trail.stats().by_reason == {"closed": 1}
    assert trail.flush() == 0


def test_a_disabled_trail_drops_and_counts() -> None:
    trail = Trail(NOWHERE, enabled=False)
    assert trail.emit({"a": 1}) is False
    assert trail.stats().by_reason == {"disabled": 1}
    trail.close()


def test_no_address_disables_and_says_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENTRAIL_KAFKA_BOOTSTRAP", raising=False)
    trail = Trail()
    assert trail.emit({"a": 1}) is False
    assert "TOKENTRAIL_KAFKA_BOOTSTRAP" in caplog.text and "TOKENTRAIL_KAFKA_BOOTSTRAP" in (
        trail.stats().last_error or ""
    )


def test_the_address_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENTRAIL_KAFKA_BOOTSTRAP", NOWHERE)
    trail = Trail(flush_timeout_s=0)
    assert trail.emit({"a": 1}) is True
    trail.close()


def test_settings_that_librdkafka_refuses_disable_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    trail = trail_to_nowhere(kafka={"no.such.setting": 1})
    assert trail.emit({"a": 1}) is False
    assert trail.stats().by_reason == {"bad_configuration": 1}
    assert "no.such.setting" in caplog.text


def test_settings_that_promises_hang_on_cannot_be_changed(caplog: pytest.LogCaptureFixture) -> None:
    trail = trail_to_nowhere(kafka={"partitioner": "random", "queue.buffering.max.messages": 1})
    assert trail.emit({"a": 1}) and trail.emit({"a": 1})
    assert "partitioner" in caplog.text
    trail.close()


@pytest.mark.parametrize(
    "settings",
    [{"kafka": ["a"]}, {"defaults": "a"}, {"content": "some"}, {"max_buffer_bytes": 0}, {"max_event_bytes": "1"}],
)
def test_programming_errors_raise_at_construction(settings: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Trail(NOWHERE, **settings)


def test_no_stack_left_is_no_exception(trail: Trail) -> None:
    outcomes: list[object] = []

    def down() -> None:
        try:
            outcomes.append(trail.emit({"a": 1}))
        except RecursionError as error:
            # Only where the call itself has no frame left; never from within.
            assert error.__traceback__ is not None and error.__traceback__.tb_next is None
        down()

    with pytest.raises(RecursionError):
        down()
    assert True in outcomes
    assert adds_up(trail.stats())


@contextmanager
def interrupts(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `handler` again and again, at arbitrary points of what this thread does (SIGALRM is the test runner's)."""
    before = signal.signal(signal.SIGVTALRM, handler)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.002, 0.002)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_every_ctrl_c_reaches_the_application() -> None:
    # The signal has to come from another process: one from a thread never meets this one inside a C function.
    script = f"""
import signal, time
from tokentrail import Trail
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it as ignored
trail = Trail({NOWHERE!r}, flush_timeout_s=0, heartbeat_s=0, max_buffer_bytes=1 << 28, max_buffer_events=10**6)
seen = 0
for _ in range(60):
    try:
        give_up = time.monotonic() + 5
        print("ready", flush=True)
        while time.monotonic() < give_up:
            for _ in range(500):
                trail.emit({{"a": 1}})
    except KeyboardInterrupt:
        seen += 1
stats = trail.stats()
# The client counts its own errors among what is on its way.
others = len(trail._outbox.producer) - stats.buffered
print(seen, stats.emitted == stats.buffered + stats.dropped, stats.refused, 0 <= others < 10)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line != "ready\n":
                break
            time.sleep(0.002)
            child.send_signal(signal.SIGINT)
        assert line.split() == ["60", "True", "0", "True"]


def test_what_signal_handlers_raise_leaves_the_counts_right(trail: Trail) -> None:
    class Interrupted(BaseException):
        """Not Ctrl-C itself, which would end the test runner."""

    is_emitting = False
    seen = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_emitting
        if is_emitting:
            is_emitting = False
            raise Interrupted

    gc.collect()  # what a handler raises in a finaliser goes nowhere
    deadline = time.monotonic() + 30
    with interrupts(interrupt):
        while seen < 50 and time.monotonic() < deadline:
            try:
                is_emitting = True
                for _ in range(1_000):
                    trail.emit({"a": 1})
                is_emitting = False  # still within the try: nothing may be raised where nobody catches it
            except Interrupted:
                seen += 1
    stats = trail.stats()
    assert seen == 50
    assert adds_up(stats) and set(stats.by_reason) <= {"buffer_full"}


def test_emitting_from_a_signal_handler_and_a_finaliser_does_not_lock(trail: Trail) -> None:
    class Last:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            trail.emit({"from": "finaliser"})

    def handler(number: int, frame: FrameType | None) -> None:
        trail.emit({"from": "handler"})

    with interrupts(handler):
        for _ in range(20_000):
            Last()
            trail.emit({"from": "application"})
    gc.collect()
    stats = trail.stats()
    assert stats.emitted > 40_000 and adds_up(stats)


def test_counts_add_up_at_every_moment_under_many_threads() -> None:
    trail = trail_to_nowhere(max_buffer_events=3_000)
    wrong: list[Stats] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            stats = trail.stats()
            if not adds_up(stats):
                wrong.append(stats)

    watcher = threading.Thread(target=watch)
    writers = [threading.Thread(target=lambda: [trail.emit({"a": 1}) for _ in range(1_000)]) for _ in range(4)]
    for thread in [watcher, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    watcher.join()
    trail.close()
    assert not wrong
    assert trail.stats().emitted == 4_000 and adds_up(trail.stats())


def test_a_trail_that_nobody_holds_ends_its_thread() -> None:
    def native_threads() -> int:
        return len(list(pathlib.Path("/proc/self/task").iterdir()))

    before = native_threads()
    trail = trail_to_nowhere()
    trail.emit({"a": 1})
    assert native_threads() > before
    del trail
    gc.collect()
    deadline = time.monotonic() + 10
    while native_threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert native_threads() <= before


def test_losses_are_told_once_and_at_close_and_quote_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tokentrail")
    trail = trail_to_nowhere(max_buffer_events=1)
    for _ in range(100):
        trail.emit({"output": "a secret"})
        time.sleep(0.005)
    trail.close()
    lines = [record.getMessage() for record in caplog.records if "lost so far" in record.getMessage()]
    assert len(lines) == 2
    assert "100 events lost so far (100 dropped, 0 refused: buffer_full 99, left_at_close 1)" in lines[-1]
    assert "secret" not in caplog.text


def test_a_logging_handler_that_raises_or_emits_stops_nothing(trail: Trail) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            trail.emit({"from": "handler"})
            trail.flush(60)
            raise RuntimeError("a bug of the application")

        def handle(self, record: logging.LogRecord) -> bool:
            self.emit(record)
            return True

    handler = Handler()
    logging.getLogger("tokentrail").addHandler(handler)
    try:
        trail.emit(None)  # type: ignore[arg-type]
        deadline = time.monotonic() + 10
        while trail.stats().buffered == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        began = time.monotonic()
        trail.close()
        assert time.monotonic() - began < 2
    finally:
        logging.getLogger("tokentrail").removeHandler(handler)
    assert adds_up(trail.stats()) and trail.stats().buffered == 0


def test_an_unspeakable_tenant_of_the_trail_is_repaired() -> None:
    trail = trail_to_nowhere(tenant="a\ud800", service=b"shop", environment=5, heartbeat_s=0.01)
    assert trail.emit({"a": 1})
    deadline = time.monotonic() + 10
    while trail.stats().buffered_bytes < 2_500:
        assert time.monotonic() < deadline, "no heartbeat"
        time.sleep(0.01)
    trail.close()


def test_librdkafka_writes_nothing_to_the_standard_streams() -> None:
    script = f"""
import logging, time
logging.getLogger("tokentrail").addHandler(logging.NullHandler())
from tokentrail import Trail
trail = Trail({NOWHERE!r}, flush_timeout_s=0.5)
trail.emit({{"a": 1}})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
