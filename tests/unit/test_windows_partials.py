"""The fold behind `meter`: absolute cells, late events, bounded memory, what goes out first."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from pipeline.audit.positions import Mark
from pipeline.windows import partials as module
from pipeline.windows.partials import FoldState, PartialFold
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Cell
from tests.streams import HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Facts

NOON = MIDNIGHT_MS + 12 * HOUR_MS
NOON_MINUTE = NOON // MINUTE_MS


@pytest.fixture
def fold() -> PartialFold:
    return PartialFold(Mark(1, 0))


def cells(fold: PartialFold, most: int | None = 1000) -> list[Cell]:
    return [cell for _, group in fold.flush(most) for cell in group]


def minute_of(found: list[Cell], *key: str) -> list[Cell]:
    return [cell for cell in found if cell.key == key and not cell.hour]


def test_a_call_is_counted_under_each_of_its_keys(fold: PartialFold) -> None:
    fold.fold(Facts().call(NOON, usd=0.5, user="u1", status="timeout", cached_tokens=40))
    found = {cell.key: cell for cell in cells(fold)}
    assert set(found) == {
        ("tenant", "acme"),
        ("provider", "openai", "gpt-4o"),
        ("feature", "acme", "chat"),
        ("model", "acme", "chat", "openai", "gpt-4o"),
        ("user", "acme", "u1"),
    }
    for cell in found.values():
        assert (cell.start, cell.since, cell.upto) == (NOON_MINUTE, 0, 0)
        bucket = cell.bucket
        assert (bucket.calls, bucket.cost_nano_usd, bucket.max_cost_nano_usd) == (1, 500_000_000, 500_000_000)
        assert (bucket.input_tokens, bucket.cached_tokens, bucket.output_tokens) == (100, 40, 10)
        assert bucket.errors == {"timeout": 1}


def test_an_unknown_price_is_counted_apart_and_never_as_zero_cost(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON, usd=None))
    fold.fold(facts.call(NOON, usd=0.2))
    (cell,) = minute_of(cells(fold), "tenant", "acme")
    assert (cell.bucket.calls, cell.bucket.unpriced, cell.bucket.cost_nano_usd) == (2, 1, 200_000_000)


def test_cells_are_absolute(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON))
    assert minute_of(cells(fold), "tenant", "acme")[0].bucket.calls == 1
    assert cells(fold) == []
    fold.fold(facts.call(NOON + 1))
    (cell,) = minute_of(cells(fold), "tenant", "acme")
    assert (cell.bucket.calls, cell.since, cell.upto) == (2, 0, 1)


def test_duplicates_and_facts_behind_a_hole_change_nothing(fold: PartialFold) -> None:
    facts = Facts()
    first, missing, later = facts.call(NOON), facts.call(NOON), facts.call(NOON)
    assert [fold.fold(one) for one in (first, first, later, missing, later)] == [True, False, False, True, True]
    assert minute_of(cells(fold), "tenant", "acme")[0].bucket.calls == 3


def test_history_is_counted_apart_and_moves_no_clock(fold: PartialFold) -> None:
    fold.fold(Facts().call(NOON, backfill=True))
    assert cells(fold) == []
    assert fold.watermark is None
    assert fold.counts == {"backfill": 1}


def test_a_clock_that_runs_ahead_cannot_push_the_watermark(fold: PartialFold) -> None:
    fold.fold(Facts().call(NOON + 40 * HOUR_MS, received_at=NOON))
    assert fold.watermark == NOON


def test_the_watermark_never_goes_back(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON))
    fold.fold(facts.call(NOON - HOUR_MS))
    fold.fold(facts.tick(NOON - 5))
    assert fold.watermark == NOON
    fold.fold(facts.tick(NOON + 7))
    assert fold.watermark == NOON + 7


def test_a_late_event_is_counted_and_corrects_its_minute(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON))
    fold.fold(facts.tick(NOON + 5 * MINUTE_MS))
    cells(fold)
    fold.fold(facts.call(NOON + 1))
    assert fold.counts == {"late": 1}
    (cell,) = minute_of(cells(fold), "tenant", "acme")
    assert (cell.start, cell.bucket.calls, cell.upto) == (NOON_MINUTE, 2, 2)


def test_a_minute_that_was_dropped_is_begun_again_for_a_late_event(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON))
    fold.fold(facts.tick(NOON + 40 * MINUTE_MS))
    assert minute_of(cells(fold), "tenant", "acme")[0].since == 0
    fold.fold(facts.call(NOON + 1))
    (cell,) = minute_of(cells(fold), "tenant", "acme")
    assert (cell.start, cell.since, cell.bucket.calls) == (NOON_MINUTE, 2, 1), "both cells count: another `since`"


def test_events_hours_late_go_into_their_hour_and_older_ones_are_only_counted(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.tick(NOON))
    fold.fold(facts.call(NOON - 5 * HOUR_MS))
    fold.fold(facts.call(NOON - 30 * HOUR_MS))
    (cell,) = [cell for cell in cells(fold) if cell.key == ("tenant", "acme")]
    assert (cell.hour, cell.start, cell.bucket.calls) == (True, NOON // HOUR_MS - 5, 1)
    assert fold.counts == {"late": 2, "expired": 1}


def test_an_hour_is_given_out_whole_when_its_minutes_are_closed(fold: PartialFold) -> None:
    facts = Facts()
    for minute in range(HOUR_MINUTES):
        fold.fold(facts.call(NOON + minute * MINUTE_MS))
        assert not any(cell.hour for cell in cells(fold))
    fold.fold(facts.tick(NOON + HOUR_MS + 16 * MINUTE_MS))
    (cell,) = [cell for cell in cells(fold) if cell.hour and cell.key == ("tenant", "acme")]
    assert (cell.start, cell.bucket.calls) == (NOON // HOUR_MS, HOUR_MINUTES)


def test_closed_minutes_always_go_out_and_open_ones_by_how_much_they_changed(fold: PartialFold) -> None:
    facts = Facts()
    for tenant, usd in (("a", 0.1), ("b", 9.0), ("c", 0.2)):
        fold.fold(facts.call(NOON, tenant=tenant, usd=usd, feature=None, provider=None, model=None))
    fold.fold(facts.call(NOON + MINUTE_MS, tenant="d", usd=0.001, feature=None, provider=None, model=None))
    fold.fold(facts.call(NOON + MINUTE_MS, tenant="e", usd=5.0, feature=None, provider=None, model=None))
    assert [cell.key[1] for cell in cells(fold, most=1)] == ["a", "b", "c", "e"]
    assert [cell.key[1] for cell in cells(fold, most=1)] == ["d"]


@pytest.mark.parametrize("kind", ["user", "key"])
def test_the_least_recent_keys_are_closed_beyond_the_bound_and_nothing_is_lost(kind: str) -> None:
    fold, facts = PartialFold(Mark(1, 0), max_keys=40, max_users=40), Facts()
    sums: Counter[tuple[str, ...]] = Counter()
    best: dict[tuple[tuple[str, ...], int, int], int] = {}
    for number in range(300):
        name = f"n{number % 100}"
        fields = {"user": name} if kind == "user" else {"feature": name}
        fold.fold(facts.call(NOON + number, **fields))
        for cell in cells(fold, most=3):
            if not cell.hour:
                best[cell.key, cell.start, cell.since] = cell.bucket.calls
    for cell in cells(fold, None):
        if not cell.hour:
            best[cell.key, cell.start, cell.since] = cell.bucket.calls
    for (key, _, _), calls in best.items():
        sums[key] += calls
    named = [key for key in sums if key[0] == ("user" if kind == "user" else "feature")]
    assert len(named) == 100
    assert {sums[key] for key in named} == {3}
    assert fold.counts[f"evicted_{kind}s"] >= 60
    assert max(fold.keys_held().values()) <= 40


def test_a_new_epoch_closes_the_old_one_and_begins_at_offset_zero(fold: PartialFold) -> None:
    old, new = Facts(epoch=1), Facts(epoch=2)
    fold.fold(old.call(NOON))
    fold.fold(new.call(NOON + 1))
    groups = dict(fold.flush(None))
    calls = {epoch: [c.bucket.calls for c in group if c.key == ("tenant", "acme") and not c.hour] for epoch, group in
             groups.items()}  # fmt: skip
    assert calls == {1: [1], 2: [1]}


def test_a_state_with_unpublished_cells_is_refused(fold: PartialFold) -> None:
    fold.fold(Facts().call(NOON))
    with pytest.raises(ValueError, match="flush first"):
        fold.state()


def test_a_fold_goes_on_from_its_state_as_if_nothing_had_happened(fold: PartialFold) -> None:
    facts = Facts()
    for second in range(0, 7200, 20):
        fold.fold(facts.call(NOON + second * 1000, user=f"u{second % 7}"))
    cells(fold, None)
    packed = msgspec.msgpack.encode(fold.state())
    again = PartialFold(Mark(0, 0))
    again.restore(msgspec.msgpack.decode(packed, type=FoldState))
    for second in range(7200, 9000, 20):
        fact = facts.call(NOON + second * 1000, user=f"u{second % 7}")
        assert fold.fold(fact) is again.fold(fact) is True
    key = lambda cell: (cell.key, cell.hour, cell.start, cell.since)  # noqa: E731
    assert sorted(cells(again, None), key=key) == sorted(cells(fold, None), key=key)


def test_idle_keys_leave_memory(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON, user="u1"))
    fold.fold(facts.tick(NOON + (module.HOURS_KEPT + 2) * HOUR_MS))
    fold.flush(None)
    assert fold.keys_held() == {"key": 0, "user": 0}
