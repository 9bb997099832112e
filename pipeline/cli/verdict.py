"""Is the user slow or the model slow? Each call of a trace beside comparable calls of others. Pure.

Four spreads are compared: others' calls to the model in the same hour, others' calls to it in the week before (what is
usual), this user's other calls, and the trace's own. Fewer than ten calls say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.cli.times import duration

ENOUGH: Final = 10
# A median this many times another is slow and not chance.
SLOW: Final = 1.5

# model    slow for everyone in that hour      user   this user's calls are slow in general
# call     only this call                      usual  within what others' calls took
# unknown  too few others to compare with
Cause = Literal["model", "user", "call", "usual", "unknown"]


@dataclass(frozen=True)
class Spread:
    """Latency of a group of calls, in milliseconds, and the middle of their output tokens."""

    calls: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    output_tokens: float | None = None

    @property
    def enough(self) -> bool:
        """Whether it says something."""
        return self.calls >= ENOUGH and bool(self.p50_ms)


@dataclass(frozen=True)
class TracedCall:
    """One call of a trace with what it is compared with; `end_ms` is milliseconds since 1970."""

    end_ms: int
    model: str
    latency_ms: float
    output_tokens: int | None
    others: Spread
    usual: Spread
    own: Spread

    @property
    def base(self) -> Spread | None:
        """What others' calls took: in the same hour, else in the week before."""
        return self.others if self.others.enough else self.usual if self.usual.enough else None

    @property
    def model_ratio(self) -> float | None:
        """How slow the model was for others in that hour, as a multiple of its usual median."""
        return _ratio(self.others, self.usual)

    @property
    def user_ratio(self) -> float | None:
        """How slow this user's other calls are, as a multiple of others' median."""
        return _ratio(self.own, self.base) if self.base else None


def cause(call: TracedCall) -> Cause:
    """Why a call took as long as it did."""
    base = call.base
    if base is None or base.p50_ms is None or base.p95_ms is None:
        return "unknown"
    if (call.model_ratio or 0) >= SLOW and call.usual.p50_ms and call.latency_ms >= SLOW * call.usual.p50_ms:
        return "model"
    if (call.user_ratio or 0) >= SLOW and call.latency_ms >= SLOW * base.p50_ms:
        return "user"
    return "call" if call.latency_ms > base.p95_ms else "usual"


def verdict(calls: Sequence[TracedCall]) -> str:
    """One sentence on a trace with at least one call; a second one where time passed outside of its calls."""
    causes = [cause(call) for call in calls]
    by_cause = Counter[Cause](causes)
    of = f"{{}} of {len(calls)} calls" if len(calls) > 1 else "its call"
    if by_cause["unknown"] == len(calls):
        said = f"Nobody can say: there are fewer than {ENOUGH} other calls to compare with."
    else:
        # What took most of the time is what is told.
        spent_ms = {
            name: sum(c.latency_ms for c, why in zip(calls, causes, strict=True) if why == name) for name in by_cause
        }
        slow: list[Cause] = [name for name in ("model", "user", "call") if by_cause[name]]
        first = max(slow, key=lambda name: spent_ms[name], default=None)
        if first is None:
            said = f"Neither is slow: {of.format(by_cause['usual'])} took no longer than others' calls do."
        else:
            affected = [call for call, why in zip(calls, causes, strict=True) if why == first]
            said = _sentence(first, affected, of.format(by_cause[first]))
    return said + _outside(calls)


def outside_ms(calls: Sequence[TracedCall]) -> tuple[float, float]:
    """(milliseconds from the trace's beginning to its end, how many of them lie outside of its calls)."""
    spans = sorted((call.end_ms - call.latency_ms, float(call.end_ms)) for call in calls)
    begin, covered, reached = spans[0][0], 0.0, spans[0][0]
    for start, end in spans:
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return reached - begin, max(0.0, reached - begin - covered)


def _sentence(why: Cause, calls: Sequence[TracedCall], of: str) -> str:
    worst = max(calls, key=lambda call: call.latency_ms)
    if why == "model":
        worst = max(calls, key=lambda call: call.model_ratio or 0)
        return (
            f"The model is slow: for others too {worst.model} took {_ms(worst.others.p50_ms)} at the median in that "
            f"hour, {worst.model_ratio:.1f} times its usual {_ms(worst.usual.p50_ms)}; that explains {of}."
        )
    base = worst.base or worst.usual
    if why == "user":
        worst = max(calls, key=lambda call: call.user_ratio or 0)
        base = worst.base or worst.usual
        return (
            f"The user is slow, not the model: this user's calls to {worst.model} take {_ms(worst.own.p50_ms)} at the "
            f"median, {worst.user_ratio:.1f} times the {_ms(base.p50_ms)} of others"
            f"{_longer(worst.own.output_tokens, base)}; that explains {of}."
        )
    return (
        f"This trace is slow, but neither its user nor the model in general: {of} took longer than 95 % of others' "
        f"calls, the slowest {_ms(worst.latency_ms)} against {_ms(base.p95_ms)}{_longer(worst.output_tokens, base)}."
    )


def _longer(output_tokens: float | None, base: Spread) -> str:
    """That answers are longer, where they are: the most common reason for being slow."""
    if not output_tokens or not base.output_tokens or output_tokens < SLOW * base.output_tokens:
        return ""
    return f", with answers {output_tokens / base.output_tokens:.1f} times as long"


def _outside(calls: Sequence[TracedCall]) -> str:
    total_ms, idle_ms = outside_ms(calls)
    if len(calls) < 2 or idle_ms < 0.5 * total_ms:
        return ""
    return f" {duration(idle_ms)} of the trace's {duration(total_ms)} passed outside of model calls."


def _ratio(one: Spread, other: Spread) -> float | None:
    if not one.enough or not other.enough or one.p50_ms is None or not other.p50_ms:
        return None
    return one.p50_ms / other.p50_ms


def _ms(value: float | None) -> str:
    return "an unknown time" if value is None else duration(value)
