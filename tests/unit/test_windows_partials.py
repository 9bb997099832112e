"""The fold behind `meter`: absolute cells, late events, bounded memory, what goes out first."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from pipeline.audit.positions import Mark
from pipeline.windows import partials as module
from pipeline.windows import sketch
from pipeline.windows.keys import keys_of
from pipeline.windows.partials import FoldState, PartialFold
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Cell
from tests.streams import HOUR_MS, MIDNIGHT_MS, MINUTE_MS, NANO, Facts

NOON = MIDNIGHT_MS + 12 * HOUR_MS
NOON_MINUTE = NOON // MINUTE_MS


@pytest.fixture
def fold() -> PartialFold:
    return PartialFold(Mark(1, 0))


CALL = ("call", "acme", "chat", "openai", "gpt-4o", "", "", "", "", "")


def cells(fold: PartialFold, most: int | None = None) -> list[Cell]:
    changed, _ = fold.flush(most)
    return [cell for _, group in changed for cell in group]


def of(found: list[Cell], *source: str) -> list[Cell]:
    return [cell for cell in found if cell.source == source]


def calls(found: list[Cell]) -> list[Cell]:
    return [cell for cell in found if cell.source[0] == "call"]


def test_a_call_is_counted_once_as_what_it_is_and_once_for_its_user(fold: PartialFold) -> None:
    fold.fold(Facts().call(NOON, usd=0.5, user="u1", status="timeout", cached_tokens=40))
    found = cells(fold)
    assert [cell.source for cell in found] == [CALL, ("user", "acme", "u1")]
    for cell in found:
        assert (cell.start, cell.since, cell.upto) == (NOON_MINUTE, 0, 0)
        bucket = cell.bucket
        assert (bucket.calls, bucket.cost_nano_usd, bucket.max_cost_nano_usd) == (1, 500_000_000, 500_000_000)
        assert (bucket.input_tokens, bucket.cached_tokens, bucket.output_tokens) == (100, 40, 10)
        assert bucket.errors == {"timeout": 1}


def test_a_source_has_a_key_for_each_identifier_it_names() -> None:
    assert keys_of(("call", "acme", "chat", "openai", "gpt-4o", "greet", "7", "b")) == (
        ("provider", "openai", "gpt-4o"),
        ("tenant", "acme"),
        ("feature", "acme", "chat"),
        ("model", "acme", "chat", "openai", "gpt-4o"),
        ("prompt", "acme", "greet", "7"),
        ("variant", "acme", "chat", "b"),
    )
    assert keys_of(("call", "acme", "", "", "", "", "", "")) == (("tenant", "acme"),)
    assert keys_of(("judged", "acme", "", "", "", "", "", "")) == (("feature", "acme", ""),)
    assert keys_of(("judged", "acme", "chat", "openai", "gpt-4o", "", "", "")) == (("feature", "acme", "chat"),)
    assert keys_of(("canary", "acme", "chat", "x", "y", "", "", "")) == (("canary", "acme", "chat", "x", "y"),)
    assert keys_of(("user", "acme", "u1")) == (("user", "acme", "u1"),)


def test_an_unknown_price_is_counted_apart_and_never_as_zero_cost(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON, usd=None))
    fold.fold(facts.call(NOON, usd=0.2))
    (cell,) = calls(cells(fold))
    assert (cell.bucket.calls, cell.bucket.unpriced, cell.bucket.cost_nano_usd) == (2, 1, 200_000_000)


def test_cells_are_absolute(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON))
    assert calls(cells(fold))[0].bucket.calls == 1
    assert cells(fold) == []
    fold.fold(facts.call(NOON + 1))
    (cell,) = calls(cells(fold))
    assert (cell.bucket.calls, cell.since, cell.upto) == (2, 0, 1)


def test_duplicates_and_facts_behind_a_hole_change_nothing(fold: PartialFold) -> None:
    facts = Facts()
    first, missing, later = facts.call(NOON), facts.call(NOON), facts.call(NOON)
    assert [fold.fold(one) for one in (first, first, later, missing, later)] == [True, False, False, True, True]
    assert calls(cells(fold))[0].bucket.calls == 3


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
    (cell,) = calls(cells(fold))
    assert (cell.start, cell.bucket.calls, cell.upto) == (NOON_MINUTE, 2, 2)


def test_a_minute_that_was_dropped_is_begun_again_for_a_late_event(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON))
    fold.fold(facts.tick(NOON + 40 * MINUTE_MS))
    assert calls(cells(fold))[0].since == 0
    fold.fold(facts.call(NOON + 1))
    (cell,) = calls(cells(fold))
    assert (cell.start, cell.since, cell.bucket.calls) == (NOON_MINUTE, 2, 1), "both cells count: another `since`"


def test_events_hours_late_go_into_their_hour_and_older_ones_are_only_counted(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.tick(NOON))
    fold.fold(facts.call(NOON - 5 * HOUR_MS))
    fold.fold(facts.call(NOON - 30 * HOUR_MS))
    (cell,) = cells(fold)
    assert (cell.hour, cell.start, cell.bucket.calls) == (True, NOON // HOUR_MS - 5, 1)
    assert fold.counts == {"late": 2, "expired": 1}


def test_an_hour_holds_only_what_came_too_late_for_its_minute(fold: PartialFold) -> None:
    facts = Facts()
    for minute in range(HOUR_MINUTES):
        fold.fold(facts.call(NOON + minute * MINUTE_MS))
    fold.fold(facts.tick(NOON + 4 * HOUR_MS))
    out = cells(fold)
    assert sum(cell.bucket.calls for cell in out) == HOUR_MINUTES and not any(cell.hour for cell in out)
    fold.fold(facts.call(NOON + 1))
    fold.fold(facts.call(NOON + 2))
    (cell,) = cells(fold)
    assert (cell.hour, cell.start, cell.bucket.calls) == (True, NOON // HOUR_MS, 2)


def test_minutes_that_are_over_always_go_out_and_of_others_a_glimpse_of_what_changed_most(fold: PartialFold) -> None:
    facts = Facts()
    for tenant, usd in (("a", 0.1), ("b", 9.0), ("c", 0.2)):
        fold.fold(facts.call(NOON, tenant=tenant, usd=usd, user="u"))
    for tenant, usd in (("d", 0.001), ("e", 5.0)):
        fold.fold(facts.call(NOON + MINUTE_MS, tenant=tenant, usd=usd, user="u"))
    changed, glimpses = fold.flush(1)
    assert [cell.source[1] for _, group in changed for cell in group] == ["a", "a", "b", "b", "c", "c"]
    assert [(one.source[1], one.calls, one.cost_nano_usd) for one in glimpses] == [("e", 1, 5 * NANO)]
    assert [one.source[1] for one in fold.flush(1)[1]] == ["d"]
    assert fold.flush(9)[1] == [], "nothing has changed since"
    fold.fold(facts.call(NOON + MINUTE_MS, tenant="e", usd=1.0))
    assert [(one.calls, one.max_cost_nano_usd) for one in fold.flush(9)[1]] == [(2, 5 * NANO)]
    fold.fold(facts.tick(NOON + 2 * MINUTE_MS))
    assert {cell.source[1] for cell in cells(fold, most=9)} == {"d", "e"}, "glimpses are no substitute"


@pytest.mark.parametrize("kind", ["user", "key"])
def test_the_least_recent_keys_are_closed_beyond_the_bound_and_nothing_is_lost(kind: str) -> None:
    fold, facts = PartialFold(Mark(1, 0), max_keys=40, max_users=40), Facts()
    best: dict[tuple[tuple[str, ...], int, int], int] = {}
    for number in range(300):
        name = f"n{number % 100}"
        fold.fold(facts.call(NOON + number, **({"user": name} if kind == "user" else {"feature": name})))
        for cell in cells(fold, most=3):
            best[cell.source, cell.start, cell.since] = cell.bucket.calls
    for cell in cells(fold):
        best[cell.source, cell.start, cell.since] = cell.bucket.calls
    sums: Counter[str] = Counter()
    for (source, _, _), count in best.items():
        if source[0] == ("user" if kind == "user" else "call"):
            sums[source[2]] += count
    assert len(sums) == 100
    assert set(sums.values()) == {3}
    assert fold.counts[f"evicted_{kind}s"] >= 60
    assert max(fold.keys_held()[name] for name in ("key", "user")) <= 40


def test_a_new_epoch_closes_the_old_one_and_begins_at_offset_zero(fold: PartialFold) -> None:
    old, new = Facts(epoch=1), Facts(epoch=2)
    fold.fold(old.call(NOON))
    fold.fold(new.call(NOON + 1))
    changed, _ = fold.flush(None)
    assert {epoch: [cell.bucket.calls for cell in group] for epoch, group in changed} == {1: [1], 2: [1]}


def test_a_state_with_unpublished_cells_is_refused(fold: PartialFold) -> None:
    fold.fold(Facts().call(NOON))
    with pytest.raises(ValueError, match="flush first"):
        fold.state()


def test_a_fold_goes_on_from_its_state_as_if_nothing_had_happened(fold: PartialFold) -> None:
    facts = Facts()
    for second in range(0, 7200, 20):
        fold.fold(facts.call(NOON + second * 1000, user=f"u{second % 7}"))
    cells(fold)
    packed = msgspec.msgpack.encode(fold.state())
    again = PartialFold(Mark(0, 0))
    again.restore(msgspec.msgpack.decode(packed, type=FoldState))
    for second in range(7200, 9000, 20):
        fact = facts.call(NOON + second * 1000, user=f"u{second % 7}")
        assert fold.fold(fact) is again.fold(fact) is True
    key = lambda cell: (cell.source, cell.hour, cell.start, cell.since)  # noqa: E731
    assert sorted(cells(again), key=key) == sorted(cells(fold), key=key)


def test_idle_keys_leave_memory(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.call(NOON, user="u1"))
    fold.fold(facts.tick(NOON + (module.HOURS_KEPT + 2) * HOUR_MS))
    fold.flush(None)
    assert fold.keys_held() == {"key": 0, "user": 0, "run": 0}


# -- what is counted of a call beyond numbers, and of what is said about calls


def test_quality_and_shape_of_a_call_are_counted(fold: PartialFold) -> None:
    facts = Facts()
    common = {"response_model": "gpt-4o-2024-08-06", "output_label": "bill"}
    fold.fold(facts.call(NOON, **common, refusal=True, finish_reason="stop", language="en",
                         length_bucket=9, topics=(3, 60), schema_valid=False, guardrails_triggered=2,
                         guardrails=("pii", "topic"), retrieval_requested=8, retrieval_hits=0))  # fmt: skip
    fold.fold(facts.call(NOON + 1, **common, schema_valid=True, guardrails_triggered=0, retrieval_hits=3,
                         status="rate_limited", retries=2))  # fmt: skip
    (cell,) = cells(fold)
    bucket, quality, shape = cell.bucket, cell.bucket.quality, cell.bucket.shape
    assert quality is not None and shape is not None
    assert (quality.refusals, quality.schema_checked, quality.schema_invalid) == (1, 2, 1)
    assert (quality.guarded, quality.guard_hits, quality.guardrails) == (2, 1, {"pii": 1, "topic": 1})
    assert (quality.retrievals, quality.requested, quality.hits, quality.misses) == (2, 8, 3, 1)
    assert quality.samples == {"refusal": 0, "schema": 0, "guardrail": 0, "retrieval": 0}
    assert (shape.labels, shape.languages, shape.finishes) == ({"bill": 2}, {"en": 1}, {"stop": 1})
    assert (shape.models, shape.lengths, shape.topics) == ({"gpt-4o-2024-08-06": 1}, {9: 1}, {3: 1, 60: 1})
    assert (bucket.errors, bucket.failed_at, bucket.retries) == ({"rate_limited": 1}, 1, 2)


def test_what_is_said_about_calls_is_counted_apart_and_is_no_call(fold: PartialFold) -> None:
    facts = Facts()
    fold.fold(facts.judgement(NOON, "feedback", rating=1.0))
    fold.fold(facts.judgement(NOON, "feedback", label="down"))
    fold.fold(facts.judgement(NOON, "feedback", label="h_unknown"))
    fold.fold(facts.judgement(NOON, "evaluation", evaluation_name="safety", score=0.5, label="unsafe"))
    fold.fold(facts.judgement(NOON, "evaluation", evaluation_name="safety", score=-1.5, feature=None))
    named, nameless = cells(fold)
    assert (named.source[:3], nameless.source[:3]) == (("judged", "acme", "chat"), ("judged", "acme", ""))
    assert (named.bucket.calls, named.bucket.facts) == (0, 4) and named.bucket.quality is not None
    quality = named.bucket.quality
    assert (quality.rated, quality.liked, quality.disliked) == (3, 1, 1)
    judged = quality.judged["safety"]
    assert (judged.count, judged.thousandths, judged.squares, judged.labels) == (1, 500, 250, {"unsafe": 1})


def test_maps_of_a_cell_are_bounded(fold: PartialFold) -> None:
    facts = Facts()
    for number in range(100):
        fold.fold(facts.call(NOON, output_label=f"l{number}", response_model=f"m{number}"))
        fold.fold(facts.judgement(NOON, "evaluation", evaluation_name=f"e{number}", score=1.0))
    call, judged = cells(fold)
    assert call.bucket.shape is not None and judged.bucket.quality is not None
    for counts in (call.bucket.shape.labels, call.bucket.shape.models):
        assert sum(counts.values()) == 100 and len(counts) <= 25 and counts["other"] > 70
    assert len(judged.bucket.quality.judged) <= 17


def test_a_canary_is_counted_apart(fold: PartialFold) -> None:
    fold.fold(Facts().judgement(NOON, "canary", status="error", latency_ms=3.0))
    (cell,) = cells(fold)
    assert (cell.source[0], cell.bucket.calls, cell.bucket.errors) == ("canary", 1, {"error": 1})


def test_a_run_is_measured_from_its_first_call_to_its_last_once_it_has_been_quiet(fold: PartialFold) -> None:
    facts = Facts()
    for second in (0, 30, 90):
        fold.fold(facts.call(NOON + second * 1_000, run="r1", latency_ms=5_000.0))
    fold.fold(facts.call(NOON, run="alone"))
    cells(fold)
    fold.fold(facts.tick(NOON + 10 * MINUTE_MS))
    assert cells(fold) == []
    fold.fold(facts.tick(NOON + 12 * MINUTE_MS))
    (cell,) = cells(fold)
    assert cell.source == ("judged", *CALL[1:]) and cell.start == NOON_MINUTE + 12
    assert cell.bucket.quality is not None
    assert sketch.quantile(cell.bucket.quality.runs, 0.5) == pytest.approx(95_000, rel=0.01)
    assert fold.keys_held()["run"] == 0


@pytest.mark.parametrize(
    ("told_s", "gaps_s", "counted"),
    [(None, (0.1, 0.1), (0, 2)), (None, (0.6, 1.0), (2, 0)), (None, (1.0, 1.0), (1, 1)), (5.0, (1.0, 6.0), (1, 1))],
)
def test_who_comes_back_after_a_rate_limit_was_patient_or_not(
    fold: PartialFold, told_s: float | None, gaps_s: tuple[float, ...], counted: tuple[int, int]
) -> None:
    facts, at_ms = Facts(), float(NOON)
    fold.fold(facts.call(at_ms, run="r1", status="rate_limited", retry_after_s=told_s))
    for gap_s in gaps_s:
        at_ms += gap_s * 1_000
        fold.fold(facts.call(at_ms, run="other"))
        fold.fold(facts.call(at_ms, run="r1", status="rate_limited", retry_after_s=told_s))
    (cell,) = calls(cells(fold))
    assert (cell.bucket.patient, cell.bucket.impatient) == counted


def test_errors_are_kept_by_their_hashed_words_and_not_more_than_a_few_of_them(fold: PartialFold) -> None:
    facts = Facts()
    for number in range(30):
        words = (f"m{number % 6}", "aa", "bb", "*")
        fold.fold(facts.call(NOON, status="error", error_type="X", http_status=500, error_words=words))
    (cell,) = cells(fold)
    assert cell.bucket.quality is not None
    failures = cell.bucket.quality.failures
    assert set(failures) == {"m0", "m1", "m2", "m3"}
    assert (failures["m0"].count, failures["m0"].words, failures["m0"].at) == (5, ("aa", "bb", "*"), 24)


def test_records_stay_far_below_the_message_limit() -> None:
    fold, facts = PartialFold(Mark(1, 0)), Facts()
    for number in range(4_000):
        words = (f"message{number % 4}", *(f"{word:08x}" for word in range(40)))
        fold.fold(facts.call(NOON, feature=f"f{number % 1_000}", status="error", error_words=words))
    sizes = [len(msgspec.json.encode(record)) for record in module.records(fold, 0)]
    assert max(sizes) < 900_000 and len(sizes) > 3
