"""Partials in, anomalies and closed windows out: the pure core of `judge`.

Everything happens when a record of `llm.partials` is applied, never by wall time or by how records were fetched, so the
same log gives the same anomalies with the same revisions, whatever crashes and restarts lie between.

Two moments of judgement: when the merged watermark has passed a minute, its keys are judged with that minute complete;
and when a partial changes a key in the current minute, cost is judged at once, so that a steep rise is not kept waiting
for the minute's end. One cause is one finding: a feature or user is kept back while its tenant's finding is open, a
feature's latency while a provider that it uses explains it, a provider's second model while the first one's is open.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pipeline.detection.causes import also_slow, slow_provider, stands
from pipeline.detection.cost_spike import NANO, CostSpike, Scene
from pipeline.detection.latency_p95 import LatencyP95
from pipeline.detection.lifecycle import Case, close, step
from pipeline.detection.price_unknown import PriceUnknown
from pipeline.detection.registry import BY_NAME
from pipeline.detection.rule import Finding, Recipe
from pipeline.detection.ruleset import AnyRecipe
from pipeline.detection.versions import Versions
from pipeline.windows.closing import Closing, ClosingState
from pipeline.windows.keys import ORDER, subject, tenant_of
from pipeline.windows.rolling import Store, StoreState
from pipeline.windows.timeline import LENGTHS, Timeline
from pipeline.windows.watermark import HOUR_MINUTES, HOUR_MS, MINUTE_MS, MergedClock, PartitionClock
from schemas.anomaly import Anomaly
from schemas.partial import Key, Partials
from schemas.window import Windows

# The watermark may jump (a quiet system without ticks): only this many minutes are judged one by one.
LONGEST_STEP: Final = 180
# Minutes between thorough looks at a key's cost.
THOROUGH_EVERY: Final = 5


@dataclass(slots=True)
class Verdict:
    """What one record of partials led to."""

    anomalies: list[Anomaly] = field(default_factory=list)
    windows: list[Windows] = field(default_factory=list)


class JudgeState(msgspec.Struct):
    """The judge as it is kept in a snapshot."""

    store: StoreState
    closing: ClosingState
    cases: dict[tuple[str, Key], Case]
    partitions: dict[int, PartitionClock]
    first_at: int | None
    newest_at: int
    watermark: int | None
    minute: int
    pending: dict[int, dict[Key, bool]]


class Judge:
    """The fold of `llm.partials`.

    Args:
        partitions: Number of source partitions.
        versions: The rules; may be replaced by one that knows more versions.
        max_keys: Most keys held.
    """

    def __init__(self, partitions: int, versions: Versions | None = None, max_keys: int = 50_000) -> None:
        self.versions = versions or Versions()
        self._rules = self.versions.at(0)[1]
        self.clock = MergedClock(partitions)
        self.store = Store(max_keys)
        self.closing = Closing(self.store)
        self.cases: dict[tuple[str, Key], Case] = {}
        # Minutes that are not over yet, with the keys that have calls in them.
        self._pending: dict[int, dict[Key, bool]] = {}
        self._minute = -1

    def apply(self, record: Partials, appended_at: int) -> Verdict:
        """Apply one record; `appended_at` is its time in the log, in ms. The rules are those in force then."""
        self._rules = self.versions.at(appended_at)[1]
        verdict = Verdict()
        changed: dict[Key, Timeline] = {}
        late: dict[tuple[Key, int], Timeline] = {}
        for cell in record.cells:
            timeline = self.store.upsert(record.partition, record.epoch, cell)
            if timeline is None:
                continue
            self.closing.changed(cell)
            if not cell.hour:
                changed[cell.key] = timeline
                if cell.start >= self._minute:
                    self._pending.setdefault(cell.start, {})[cell.key] = True
                else:
                    late[cell.key, cell.start] = timeline
        if record.watermark is not None:
            watermark = self.clock.update(record.partition, record.watermark, appended_at)
            if watermark is not None:
                self._advance(watermark, verdict)
        if self._minute >= 0:
            self._judge_now(changed, {key for key, _ in late}, verdict)
            for (_, minute), timeline in late.items():
                # Its minute has been judged already; a missing price is as true of a late call.
                self._price(timeline, minute, self._minute * MINUTE_MS, verdict)
        return verdict

    # -- when

    def _advance(self, watermark: int, verdict: Verdict) -> None:
        """Judge every minute that the watermark has passed; then close windows."""
        now = watermark // MINUTE_MS
        if now <= self._minute:
            return
        begin = max(self._minute, now - LONGEST_STEP)
        for minute in sorted(m for m in self._pending if m < begin):
            del self._pending[minute]
        self._minute = now
        # Rules look back over the ring, so it is trimmed only after the minutes have been judged.
        for minute in range(begin, now):
            keys = {*self._pending.pop(minute, ()), *(key for _, key in self.cases)}
            self._judge_minute(minute, keys, verdict)
        self.store.advance(now)
        verdict.windows += self.closing.advance(now, watermark)

    def _judge_minute(self, minute: int, keys: Iterable[Key], verdict: Verdict) -> None:
        now_ms = (minute + 1) * MINUTE_MS
        for key in sorted(keys, key=lambda k: (ORDER[k[0]], k)):
            timeline = self.store.timelines.get(key)
            if timeline is None:
                continue
            timeline.seek(minute)
            self._cost(timeline, minute, now_ms, verdict, minute % THOROUGH_EVERY == 0)
            self._latency(timeline, minute, now_ms, verdict)
            self._price(timeline, minute, now_ms, verdict)

    def _judge_now(self, changed: dict[Key, Timeline], late: set[Key], verdict: Verdict) -> None:
        """Judge cost in the minute that is not over: only keys that have just changed, thoroughly where it was late.

        A late event's own minute has been judged already, and perhaps nothing comes after it.
        """
        assert self.clock.watermark is not None
        for key in sorted(changed, key=lambda k: (ORDER[k[0]], k)):
            if key[0] in ("tenant", "feature") and ("cost.spike", key) not in self.cases:
                timeline = changed[key]
                timeline.seek(self._minute)
                self._cost(timeline, self._minute, self.clock.watermark, verdict, key in late)

    # -- what

    def _rule(self, kind: type[AnyRecipe], key: Key) -> AnyRecipe | None:
        """A rule's recipe for a key; None where it is not asked."""
        return self._rules.find(kind, key[0], tenant_of(key)) if key[0] in BY_NAME[kind.rule].dimensions else None

    def _cost(self, timeline: Timeline, minute: int, now_ms: int, verdict: Verdict, thorough: bool) -> None:
        key = timeline.key
        rule = self._rule(CostSpike, key)
        case = self.cases.get(("cost.spike", key))
        if rule is None:
            self._switched_off(("cost.spike", key), now_ms, verdict)
            return
        firing = case is not None and case.firing
        memory = case.memory if case is not None else {}
        first_hour, ring_start = self.store.first_hour or 0, self.store.ring_start
        scene = Scene(timeline, lambda: self._parts(key), minute, first_hour, ring_start, thorough)
        finding = rule.evaluate(scene, firing, memory)
        if finding is None and case is None:
            return
        parent = ("cost.spike", ("tenant", key[1]))
        if key[0] != "tenant" and stands(self.cases.get(parent), now_ms):
            if finding is not None:
                timeline.flagged[minute // HOUR_MINUTES] = True
            self._superseded(("cost.spike", key), self.cases[parent], now_ms, verdict)
            return
        self._step(rule, timeline, finding, now_ms, verdict)

    def _switched_off(self, name: tuple[str, Key], now_ms: int, verdict: Verdict) -> None:
        case = self.cases.pop(name, None)
        if case is not None and case.firing:
            verdict.anomalies.append(close(case, now_ms, "its rule was switched off"))

    def _parts(self, key: Key) -> list[Timeline]:
        if key[0] == "user":
            return []
        return [one for one in self.store.below(key[1], "model") if key[0] == "tenant" or one.key[2] == key[2]]

    def _latency(self, timeline: Timeline, minute: int, now_ms: int, verdict: Verdict) -> None:
        key = timeline.key
        rule = self._rule(LatencyP95, key)
        if rule is None:
            self._switched_off(("latency.p95", key), now_ms, verdict)
            return
        case = self.cases.get(("latency.p95", key))
        if case is None and minute not in timeline.minutes:
            return
        firing = case is not None and case.firing
        finding = rule.evaluate(
            timeline, minute, self.store.ring_start, firing, case.memory if case is not None else {}
        )
        if finding is None and case is None:
            return
        parent = slow_provider(self.cases, self.store, key, minute, now_ms) if not firing else None
        if parent is not None:
            self.cases.pop(("latency.p95", key), None)
            if finding is not None:
                timeline.flagged[minute // HOUR_MINUTES] = True
            if key[0] == "provider" and finding is not None:
                verdict.anomalies += also_slow(parent, key[2], finding, now_ms)
            return
        self._step(rule, timeline, finding, now_ms, verdict)

    def _price(self, timeline: Timeline, minute: int, now_ms: int, verdict: Verdict) -> None:
        rule = self._rule(PriceUnknown, timeline.key)
        if rule is None:
            self._switched_off(("price.unknown", timeline.key), now_ms, verdict)
            return
        slot = timeline.minutes.get(minute)
        if ("price.unknown", timeline.key) not in self.cases and (slot is None or not slot.unpriced):
            return
        self._step(rule, timeline, rule.evaluate(timeline, minute), now_ms, verdict)

    def _step(self, rule: Recipe, timeline: Timeline, finding: Finding | None, now_ms: int, verdict: Verdict) -> None:
        life = self._rules.life(rule.rule, timeline.key[0], tenant_of(timeline.key))
        name = (life.rule, timeline.key)
        case = self.cases.get(name) or Case()
        kept, anomaly = step(life, case, subject(timeline.key), finding, now_ms)
        if kept is None:
            self.cases.pop(name, None)
        else:
            self.cases[name] = kept
            self._flag(timeline, kept, now_ms)
        if anomaly is not None:
            if finding is not None and kept is not None and name == ("cost.spike", ("tenant", timeline.key[1])):
                anomaly = kept.last = self._explain(timeline, finding, anomaly)
            verdict.anomalies.append(anomaly)
            if anomaly.state == "open" and life.rule == "cost.spike" and timeline.key[0] == "tenant":
                self._close_children(timeline.key, kept or case, now_ms, verdict)

    def _flag(self, timeline: Timeline, case: Case, now_ms: int) -> None:
        """Hours that an open finding covers are no baseline; the new normal is one."""
        if case.last is None or case.last.rule == "price.unknown":
            return
        began = case.last.opened_at // HOUR_MS
        if case.state == "open":
            for hour in range(began, now_ms // HOUR_MS + 1):
                timeline.flagged[hour] = True
        elif case.state == "accepted":
            timeline.flagged = {hour: True for hour in timeline.flagged if hour < began}

    # -- one cause, one finding

    def _superseded(self, name: tuple[str, Key], parent: Case, now_ms: int, verdict: Verdict) -> None:
        case = self.cases.pop(name, None)
        if case is not None and case.firing and parent.last is not None:
            verdict.anomalies.append(
                close(case, now_ms, "explained by its tenant's finding", {"superseded_by": parent.last.id})
            )

    def _close_children(self, tenant: Key, parent: Case, now_ms: int, verdict: Verdict) -> None:
        for name in sorted(n for n in self.cases if n[0] == "cost.spike" and n[1] != tenant and n[1][1] == tenant[1]):
            self._superseded(name, parent, now_ms, verdict)

    def _explain(self, timeline: Timeline, finding: Finding, anomaly: Anomaly) -> Anomaly:
        """Name the features with the largest part in a tenant's cost."""
        place = LENGTHS.index(finding.details["minutes"])
        parts = []
        for other in self.store.below(timeline.key[1], "feature"):
            other.seek(timeline.cursor)
            if other.cost[place]:
                parts.append((-other.cost[place], other.key[2]))
        named = {name: round(-cost / NANO, 6) for cost, name in sorted(parts)[:5]}
        return msgspec.structs.replace(anomaly, details={**anomaly.details, "features_usd": named})

    # -- snapshots

    def state(self) -> JudgeState:
        """The state for a snapshot."""
        clock = self.clock
        return JudgeState(
            self.store.state(),
            self.closing.state,
            self.cases,
            clock.partitions,
            clock.first_at,
            clock.newest_at,
            clock.watermark,
            self._minute,
            self._pending,
        )

    def restore(self, state: JudgeState) -> None:
        """Continue from a state; the judge must be new."""
        self.store.restore(state.store)
        self.closing.state = state.closing
        self.cases = state.cases
        self.clock.partitions = state.partitions
        self.clock.first_at, self.clock.newest_at = state.first_at, state.newest_at
        self.clock.watermark, self._minute, self._pending = state.watermark, state.minute, state.pending
