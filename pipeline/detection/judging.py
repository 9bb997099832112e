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
from pipeline.detection import error_novel, readiness
from pipeline.detection.budgeting import BudgetWatch, WatchState
from pipeline.detection.casebook import Casebook
from pipeline.detection.causes import Name
from pipeline.detection.error_novel import ErrorNovel
from pipeline.detection.lifecycle import Case
from pipeline.detection.novelty import Novelty, Tenant
from pipeline.detection.rule import KeyRecipe, Taint, Undecided
from pipeline.detection.ruleset import Active
from pipeline.detection.scene import Scene
from pipeline.detection.versions import Versions
from pipeline.windows.closing import Closing, ClosingState
from pipeline.windows.keys import ORDER, spent_on, tenant_of
from pipeline.windows.rolling import Store, StoreState
from pipeline.windows.timeline import BLOCK_MINUTES, Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS, MergedClock, PartitionClock
from schemas.anomaly import Anomaly
from schemas.partial import Cell, Key, Partials
from schemas.window import Standing, Windows

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
    reviewed: int = 0
    kinds: dict[str, Tenant] = {}


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
        self._version, self._rules = self.versions.at(0)
        self.clock = MergedClock(partitions)
        self.store = Store(max_keys)
        # What has been found out about keys' warm-up, by key and hour, until the windows of that hour are closed.
        self._standings: dict[tuple[Key, int], Standing] = {}
        # The version of the rules that it was found out for.
        self._reviewed = 0
        self.closing = Closing(self.store, self._standings)
        self.book = Casebook(self.store)
        self.budgets = Budgets()
        self.spending = BudgetWatch()
        self.novelty = Novelty()
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
        self._version, self._rules = self.versions.at(appended_at)
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
            if change.failures and not cell.hour:
                self.novelty.take(cell.source, cell.start, change.failures.values())
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
            goes_on = self._pending.get(self._minute, {})
            now = {key: timeline for key, timeline in changed.items() if key in goes_on}
            now.update((key, timeline) for (_, key), timeline in late.items())
            self._judge_now(now, {key for _, key in late}, verdict)
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
            self._standings.clear()
        else:
            self.store.advance(now)

    def _judge_minute(self, minute: int, verdict: Verdict) -> None:
        now_ms = (minute + 1) * MINUTE_MS
        if (minute + 1) % HOUR_MINUTES == 0:
            self._review(minute)
        changed = self._pending.pop(minute, {})
        ends_block = minute % BLOCK_MINUTES == BLOCK_MINUTES - 1
        block = self.store.keys_in_block(minute // BLOCK_MINUTES) if ends_block else {}
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
        if ends_block:
            self._judge_silent(minute, block, now_ms, verdict)
            self._judge_kinds(minute, now_ms, verdict)
        if self.cases:
            self._close_unasked(now_ms, verdict)
            verdict.anomalies += self.book.joined(now_ms)

    def _judge_silent(self, minute: int, block: Mapping[Key, Timeline], now_ms: int, verdict: Verdict) -> None:
        """Ask about keys that had no call in a block, where a rule waits for silence; those with a case were asked."""
        self.store.complete = self.clock.is_complete
        dimensions = {dimension for dimension in ORDER if self._rules.hears_silence(dimension)}
        for key, timeline in sorted(
            (item for item in self.store.timelines.items() if item[0][0] in dimensions and item[0] not in block),
            key=lambda item: _order(item[0]),
        ):
            for rule in self._rules.active(key[0], tenant_of(key)):
                recipe = rule.recipe
                if not isinstance(recipe, KeyRecipe) or not recipe.of_silence or (rule.life.rule, key) in self.cases:
                    continue
                if (minute + 1) % recipe.every == 0 and recipe.may_be_silent(timeline, minute):
                    self._ask(rule, recipe, Scene(self.store, timeline, minute), now_ms, verdict)

    def _judge_kinds(self, minute: int, now_ms: int, verdict: Verdict) -> None:
        """Ask whether errors of the last hour are of a new kind."""
        rule, asked = ErrorNovel.rule, set[Key]()
        for name, tenant, kind in self.novelty.fresh(minute):
            recipe = self._rules.find(ErrorNovel, "template", name)
            if recipe is None:
                continue
            key = error_novel.key_of(name, kind)
            case = self.cases.get((rule, key))
            finding = recipe.evaluate(name, tenant, kind, minute, case is not None and case.firing)
            asked.add(key)
            verdict.anomalies += self.book.report(recipe.life, Taint.NONE, key, finding, minute, now_ms)
        for _, key in sorted(one for one in self.cases if one[0] == rule and one[1] not in asked):
            life = self._rules.life(rule, "template", key[1])
            verdict.anomalies += self.book.report(life, Taint.NONE, key, None, minute, now_ms)

    def _review(self, minute: int) -> None:
        """At the end of an hour: look which rules have enough to judge its keys by."""
        hour, now_ms = minute // HOUR_MINUTES, (minute + 1) * MINUTE_MS
        anew, self._reviewed = self._reviewed != self._version, self._version
        for key, timeline in self.store.keys_in_hours(hour, 1).items():
            scene = Scene(self.store, timeline, minute)
            if anew or readiness.is_due(key, hour, scene.age_hours()):
                rules = self._rules.active(key[0], tenant_of(key))
                standing = readiness.review(scene, rules, now_ms)
                if self._publishes and rules:
                    self._standings[key, hour] = standing

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
                    if key in late:
                        readiness.look_again(scene, recipe, self.clock.watermark)
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
        if rule.warms_up and case is None and rule.life.rule not in scene.timeline.ready:
            return
        finding = recipe.evaluate(scene, firing, case.memory if case is not None else {})
        if isinstance(finding, Undecided):
            verdict.anomalies += self.book.undecided(rule.life, scene.key, now_ms)
            return
        if finding is None and case is None:
            return
        found = self.book.report(rule.life, recipe.taint, scene.key, finding, scene.minute, now_ms)
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
            self.closing.state(),
            self.cases,
            clock.partitions,
            clock.first_at,
            clock.newest_at,
            clock.watermark,
            self._minute,
            self._pending,
            self.book.joining,
            self.spending.state(),
            self._reviewed,
            self.novelty.tenants,
        )

    def restore(self, state: JudgeState) -> None:
        """Continue from a state; the judge must be new."""
        self.store.restore(state.store)
        self.closing.restore(state.closing)
        self.book.cases, self.book.joining = state.cases, state.joining
        if state.spending is not None:
            self.spending.restore(state.spending)
        self.clock.partitions = state.partitions
        self.clock.first_at, self.clock.newest_at = state.first_at, state.newest_at
        self.clock.watermark, self._minute, self._pending = state.watermark, state.minute, state.pending
        self._reviewed = state.reviewed
        self.novelty.restore(state.kinds)


def _order(key: Key) -> tuple[int, Key]:
    return ORDER[key[0]], key
