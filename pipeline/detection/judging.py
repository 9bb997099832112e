"""Partials in, anomalies and closed windows out: the pure core of `judge`.

Everything happens when a record of `llm.partials` is applied, never by wall time or by how records were fetched, so the
same log gives the same anomalies with the same revisions, whatever crashes and restarts lie between. The rules are
those that were in force when the record was appended.

Moments of judgement: when the merged watermark has passed a minute, its keys are judged with that minute complete, by
rules that look at blocks of five minutes when the minute ends one; when a partial changes a key in the current minute,
rules that are asked at once are; and keys without calls are looked at by rules that wait for silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pipeline.control.budgets import Budgets
from pipeline.control.forecast import Hours
from pipeline.detection.budgeting import BudgetWatch, WatchState
from pipeline.detection.casebook import Casebook
from pipeline.detection.causes import Name
from pipeline.detection.lifecycle import Case
from pipeline.detection.rule import KeyRecipe
from pipeline.detection.ruleset import Active, Ruleset
from pipeline.detection.scene import Scene
from pipeline.detection.versions import Versions
from pipeline.windows.closing import Closing, ClosingState
from pipeline.windows.keys import ORDER, spent_on, tenant_of
from pipeline.windows.rolling import Store, StoreState
from pipeline.windows.timeline import BLOCK_MINUTES, Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS, MergedClock, PartitionClock
from schemas.anomaly import Anomaly
from schemas.partial import Cell, Key, Partials
from schemas.window import Windows

# The watermark may jump (a quiet system without ticks): only this many minutes are judged one by one.
LONGEST_STEP: Final = 180
# Minutes between thorough looks of rules that are asked every minute.
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
    cases: dict[Name, Case]
    partitions: dict[int, PartitionClock]
    first_at: int | None
    newest_at: int
    watermark: int | None
    minute: int
    pending: dict[int, dict[Key, bool]]
    joining: dict[Name, dict[str, float]] = {}
    spending: WatchState | None = None


class Judge:
    """The fold of `llm.partials`.

    Args:
        partitions: Number of source partitions.
        versions: The rules; may be replaced by one that knows more versions. So may `budgets`.
        max_keys: Most keys held.
        publishes: Whether closed windows are asked for.
    """

    def __init__(
        self, partitions: int, versions: Versions | None = None, max_keys: int = 50_000, *, publishes: bool = True
    ) -> None:
        self.versions = versions or Versions()
        self._rules: Ruleset = self.versions.at(0)[1]
        self.clock = MergedClock(partitions)
        self.store = Store(max_keys)
        self.closing = Closing(self.store)
        self.book = Casebook(self.store)
        self.budgets = Budgets()
        self.spending = BudgetWatch()
        self._publishes = publishes
        # Minutes that are not over yet, with the keys that were counted in them.
        self._pending: dict[int, dict[Key, bool]] = {}
        self._minute = -1

    @property
    def cases(self) -> dict[Name, Case]:
        """All cases by rule and key."""
        return self.book.cases

    def apply(self, record: Partials, appended_at: int) -> Verdict:
        """Apply one record; `appended_at` is its time in the log, in ms."""
        self._rules = self.versions.at(appended_at)[1]
        verdict = Verdict()
        changed: dict[Key, Timeline] = {}
        late: dict[tuple[int, Key], Timeline] = {}
        for cell in record.cells:
            change = self.store.upsert(record, cell)
            if change is None:
                continue
            if change.cost:
                self._spend(cell, change.cost)
            for timeline in change.timelines:
                if self._publishes:
                    self.closing.changed(timeline.key, cell.hour, cell.start)
                if not cell.hour:
                    self._take(timeline, cell.start, changed, late)
        for seen in record.glimpses:
            change = self.store.glimpse(record, seen)
            for timeline in change.timelines if change is not None else ():
                self._take(timeline, seen.start, changed, late)
        self.store.flushed(record)
        if record.watermark is not None and record.maker == "meter":
            watermark = self.clock.update(record.partition, record.watermark, appended_at)
            if watermark is not None:
                self._advance(watermark, verdict)
        if self._minute >= 0:
            self._judge_now(changed, {key for _, key in late}, verdict)
            for minute, key in sorted(late, key=lambda one: (one[0], _order(one[1]))):
                self._judge_late(late[minute, key], minute, verdict)
            assert self.clock.watermark is not None
            verdict.anomalies += self.spending.judge(
                self.clock.watermark, appended_at, self.budgets, self._rules, self._hours
            )
        return verdict

    def _spend(self, cell: Cell, cost: int) -> None:
        """Count money for the budgets; `cost` is what is new in a cell."""
        source, day = cell.source, (cell.start if cell.hour else cell.start // HOUR_MINUTES) // 24
        route = spent_on(source)
        if route is not None:
            self.spending.spent(source[1], route, day, cost)
        elif source[0] == "user":
            self.spending.spent_by(source[1], source[2], day, cost)

    def _hours(self, selector: Mapping[str, str], day: int) -> Hours | None:
        """How a past day's money was spread over its hours: of the feature where one is named, else of the tenant."""
        tenant, feature = selector.get("tenant", ""), selector.get("feature", "")
        timeline = self.store.timelines.get(("feature", tenant, feature) if feature else ("tenant", tenant))
        if timeline is None:
            return None
        known = [timeline.book.hour(24 * day + hour) for hour in range(24)]
        return tuple(one.cost if one is not None else 0.0 for one in known) if any(known) else None

    def _take(
        self, timeline: Timeline, minute: int, changed: dict[Key, Timeline], late: dict[tuple[int, Key], Timeline]
    ) -> None:
        key = timeline.key
        changed[key] = timeline
        if minute >= self._minute:
            self._pending.setdefault(minute, {})[key] = True
        else:
            late[minute, key] = timeline

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
        # Rules look back over blocks, so they are added up only after the minutes have been judged.
        for minute in range(begin, now):
            self._judge_minute(minute, verdict)
        if self._publishes:
            verdict.windows += self.closing.advance(now, watermark)
        else:
            self.store.advance(now)

    def _judge_minute(self, minute: int, verdict: Verdict) -> None:
        now_ms = (minute + 1) * MINUTE_MS
        changed = self._pending.pop(minute, {})
        ends_block = minute % BLOCK_MINUTES == BLOCK_MINUTES - 1
        block = self.store.keys_in(minute - BLOCK_MINUTES + 1, BLOCK_MINUTES) if ends_block else {}
        open_keys = {key for _, key in self.cases}
        for key in sorted({*changed, *block, *open_keys}, key=_order):
            timeline = self.store.timelines.get(key)
            if timeline is None:
                continue
            scene = Scene(self.store, timeline, minute, thorough=not minute % THOROUGH_EVERY)
            has_case = key in open_keys
            for rule in self._rules.active(key[0], tenant_of(key)):
                recipe = rule.recipe
                if not isinstance(recipe, KeyRecipe) or (minute + 1) % recipe.every:
                    continue
                if key in changed or key in block or (has_case and (rule.life.rule, key) in self.cases):
                    self._ask(rule, recipe, scene, now_ms, verdict)
        if self.cases:
            self._close_unasked(now_ms, verdict)
            verdict.anomalies += self.book.joined(now_ms)

    def _judge_now(self, changed: dict[Key, Timeline], late: set[Key], verdict: Verdict) -> None:
        """Ask what is asked at once in the minute that is not over: only about keys that have just changed.

        A late event's own minute has been judged already, and perhaps nothing comes after it.
        """
        assert self.clock.watermark is not None
        for key in sorted(changed, key=_order):
            for rule in self._rules.active(key[0], tenant_of(key)):
                recipe = rule.recipe
                if isinstance(recipe, KeyRecipe) and recipe.at_once and (rule.life.rule, key) not in self.cases:
                    scene = Scene(self.store, changed[key], self._minute, thorough=key in late)
                    self._ask(rule, recipe, scene, self.clock.watermark, verdict)

    def _judge_late(self, timeline: Timeline, minute: int, verdict: Verdict) -> None:
        key = timeline.key
        for rule in self._rules.active(key[0], tenant_of(key)):
            recipe = rule.recipe
            if isinstance(recipe, KeyRecipe) and recipe.late:
                self._ask(rule, recipe, Scene(self.store, timeline, minute), self._minute * MINUTE_MS, verdict)

    def _ask(self, rule: Active, recipe: KeyRecipe, scene: Scene, now_ms: int, verdict: Verdict) -> None:
        case = self.cases.get((rule.life.rule, scene.key))
        firing = case is not None and case.firing
        finding = recipe.evaluate(scene, firing, case.memory if case is not None else {})
        if finding is None and case is None:
            return
        found = self.book.report(rule.life, recipe.taint, scene.timeline, finding, scene.minute, now_ms)
        if found and finding is not None and found[0].state != "resolved":
            found[0] = self.book.enrich((rule.life.rule, scene.key), found[0], recipe.explain(scene, finding))
        verdict.anomalies += found

    def _close_unasked(self, now_ms: int, verdict: Verdict) -> None:
        """Resolve the findings of rules that are not asked any more, and of keys that are not known any more."""
        for name in sorted(self.cases):
            rule, key = name
            asked = {one.life.rule for one in self._rules.active(key[0], tenant_of(key))}
            if rule not in asked:
                verdict.anomalies += self.book.switched_off(name, now_ms)

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
            self.book.joining,
            self.spending.state(),
        )

    def restore(self, state: JudgeState) -> None:
        """Continue from a state; the judge must be new."""
        self.store.restore(state.store)
        self.closing.state = state.closing
        self.book.cases, self.book.joining = state.cases, state.joining
        if state.spending is not None:
            self.spending.restore(state.spending)
        self.clock.partitions = state.partitions
        self.clock.first_at, self.clock.newest_at = state.first_at, state.newest_at
        self.clock.watermark, self._minute, self._pending = state.watermark, state.minute, state.pending


def _order(key: Key) -> tuple[int, Key]:
    return ORDER[key[0]], key
