"""One call to a language model, seen from the application: `with trail.call(...) as call:`.

It times the call, takes what the application says of it, and emits one event at the end. The application's own
exception passes through untouched, and nothing that goes wrong in here reaches the application.
"""

from __future__ import annotations

import functools
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

from .failure import explain
from .ids import new_id
from .plain import plain

if TYPE_CHECKING:
    from .trail import Trail

STATUSES = frozenset(("ok", "error", "refused", "filtered", "timeout", "rate_limited", "blocked"))

_TEXTS = frozenset(
    "tenant environment team service feature user session run parent trace_id span_id provider model response_model "
    "operation prompt_name prompt_version variant finish_reason output_label".split()
)

_Method = TypeVar("_Method", bound=Callable[..., None])


def _harmless(method: _Method) -> _Method:
    """Keep the application unharmed by what the method does or is given, wrong arguments too; the trail is told."""

    @functools.wraps(method)
    def guarded(self: Call, /, *args: Any, **kwargs: Any) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as fault:
            with suppress(Exception):
                self._trail.note_fault(fault)

    return cast(_Method, guarded)


class Call:
    """What is known of one call so far; made by `Trail.call`. Any method may be called any number of times, or never.

    `ts` of the event is the end of the call, so that long calls are not late; the beginning is `ts - latency_ms`.
    """

    __slots__ = ("_fields", "_id", "_started_ns", "_trail")

    def __init__(self, trail: Trail, fields: dict[str, Any]) -> None:
        self._trail = trail
        self._id = ""
        self._fields: dict[str, Any] = {}
        self._started_ns = time.perf_counter_ns()
        self.set(**fields)

    @property
    def id(self) -> str:
        """The event's id, to say later which call a feedback or an evaluation belongs to."""
        if not self._id:
            self._id = new_id()
        return self._id

    @_harmless
    def set(self, /, **fields: Any) -> None:
        """Set fields of the event, for example `response_model=` or `parameters=`. None leaves a field as it is."""
        for name, value in fields.items():
            if value is not None:
                self._put(name, value)

    @_harmless
    def _put(self, name: str, value: Any) -> None:
        if name == "tags":
            for key, word in dict(value).items():
                self.tag(key, word)
        elif name == "status":
            self.status(value)
        elif name in ("input", "output") and isinstance(value, (list, tuple)):
            self._fields[name] = list(value)  # the application will append to the messages that it sent
        elif name in _TEXTS:
            self._fields[name] = _text(value)
        else:
            self._fields[name] = value

    @_harmless
    def input(self, messages: Any) -> None:
        """What was asked: a list of messages (`role`, `content`), or a text."""
        self.set(input=messages)

    @_harmless
    def output(self, messages: Any) -> None:
        """What was answered: a list of messages, or a text."""
        self.set(output=messages)

    @_harmless
    def usage(
        self,
        *,
        input: int | None = None,
        output: int | None = None,
        cached: int | None = None,
        cache_write: int | None = None,
        reasoning: int | None = None,
        **more: Any,
    ) -> None:
        """Tokens. `input` includes `cached`, and `output` includes `reasoning`, as OpenTelemetry counts them."""
        given = {"input": input, "output": output, "cached": cached, "cache_write": cache_write, "reasoning": reasoning}
        known = self._fields.get("usage")
        usage = dict(known) if isinstance(known, dict) else {}
        usage.update((name, value) for name, value in {**given, **more}.items() if value is not None)
        self._fields["usage"] = usage

    @_harmless
    def tool(self, name: str, arguments: Any = None, result: Any = None) -> None:
        """A tool call that the model asked for, and its result where it is known already."""
        made = {"name": name, "arguments": arguments, "result": result}
        calls = self._fields.get("tool_calls")
        calls = list(calls) if isinstance(calls, (list, tuple)) else []
        calls.append({part: value for part, value in made.items() if value is not None})
        self._fields["tool_calls"] = calls

    @_harmless
    def first_token(self) -> None:
        """The first part of a streamed answer is here; later calls change nothing."""
        if "ttft_ms" not in self._fields:
            self._fields["ttft_ms"] = self._elapsed_ms()
            self._fields.setdefault("streaming", True)

    @_harmless
    def finish(self, reason: Any) -> None:
        """Why the model stopped: `stop`, `length`, `tool_calls`, ..."""
        self.set(finish_reason=reason)

    @_harmless
    def status(self, status: Any) -> None:
        """How it ended, one of `STATUSES`; without it `ok`, or what the exception says. Other words become a tag."""
        if isinstance(status, str) and status in STATUSES:
            self._fields["status"] = status
        else:
            self.tag("status", status)

    @_harmless
    def tag(self, key: Any, value: Any) -> None:
        """A word of the application's own."""
        self._fields.setdefault("tags", {})[_text(key)] = _text(value)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter_ns() - self._started_ns) // 1_000 / 1_000

    @_harmless
    def _end(self, error: BaseException | None) -> None:
        fields = self._fields
        fields.setdefault("latency_ms", self._elapsed_ms())
        if error is not None:
            status, found = explain(error)
            fields.setdefault("status", status)
            fields.setdefault("error", found)
        fields.setdefault("status", "ok")
        if self._id:
            fields["id"] = self._id
        self._trail.emit(fields)

    def __enter__(self) -> Call:
        self._started_ns = time.perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(Exception):  # no stack left for a further frame
            self._end(error)

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    made = plain(value)
    return made if isinstance(made, str) else str(made)
