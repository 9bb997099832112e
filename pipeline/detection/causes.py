"""One cause, one finding: which open finding explains another. Reads cases; the judge decides what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.detection.lifecycle import Case
from pipeline.detection.rule import Finding
from pipeline.windows.rolling import Store
from pipeline.windows.timeline import LENGTHS
from pipeline.windows.watermark import MINUTE_MS
from schemas.anomaly import Anomaly
from schemas.partial import Key

# So long a finding still explains others after its resolution: the longest window, and what it takes to clear.
STANDS_MS: Final = (LENGTHS[-1] + 30) * MINUTE_MS


def stands(case: Case | None, now_ms: int) -> bool:
    """Whether a finding is open, or was until lately: its children's windows still hold what it was about."""
    if case is None or case.last is None:
        return False
    return case.state in ("open", "accepted") or now_ms - case.since < STANDS_MS


def slow_provider(
    cases: Mapping[tuple[str, Key], Case], store: Store, key: Key, minute: int, now_ms: int
) -> Case | None:
    """The finding about a provider that explains why a feature, or another model of the provider, is slow."""
    for (rule, other), case in cases.items():
        if rule != "latency.p95" or other[0] != "provider" or other == key or not stands(case, now_ms):
            continue
        if key[0] == "provider":
            if other[1] == key[1] and case.firing:
                return case
        elif _uses(store, key, other, minute):
            return case
    return None


def also_slow(parent: Case, model: str, finding: Finding, now_ms: int) -> list[Anomaly]:
    """A provider's further model is slow too: the next revision of the finding that is open, unless it says so."""
    assert parent.last is not None
    also: dict[str, float] = parent.last.details.get("also", {})
    if model in also:
        return []
    named = {**also, model: round(finding.ratio or 0.0, 2)}
    parent.last = msgspec.structs.replace(
        parent.last,
        state="update",
        revision=parent.last.revision + 1,
        detected_at=now_ms,
        details={**parent.last.details, "also": named},
        why=f"{parent.last.why.split(' Slow too:')[0]} Slow too: "
        + ", ".join(f"{name} ({ratio:.1f} times)" for name, ratio in named.items())
        + ".",
    )
    return [parent.last]


def _uses(store: Store, feature: Key, provider: Key, minute: int) -> bool:
    timeline = store.timelines.get(("model", *feature[1:], *provider[1:]))
    if timeline is None:
        return False
    timeline.seek(minute)
    return timeline.calls[-1] > 0
