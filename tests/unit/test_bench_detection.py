"""`bench detection` measures what it says: its cells are those that `meter` makes, and its scores count as stated."""

from __future__ import annotations

import numpy as np
import pytest

from bench.detection.cells import INPUT_TOKENS, OUTPUT_TOKENS, Places, cells
from bench.detection.naive import told
from bench.detection.play import Played, Series, Told
from bench.detection.score import score
from bench.detection.traffic import (
    DAY,
    FINISHES,
    LABELS,
    LANGUAGES,
    STATUSES,
    Columns,
    Effects,
    Feature,
    Tenant,
    answers,
    calls_of,
    flat_week,
)
from bench.detection.truth import Event, visibility
from bench.detection.worlds import world
from pipeline.audit.positions import Mark
from pipeline.windows import bucket as buckets
from pipeline.windows.partials import PartialFold, records
from schemas.partial import Bucket
from tests.streams import Facts

NOTHING = Series()


def a_day(dice: np.random.Generator, *, with_answers: bool) -> tuple[Tenant, Columns]:
    feature = Feature("f", ("openai", "large"), 1.0, 1.0, (900.0, 0.5), 0.1, answers(dice) if with_answers else None)
    tenant = Tenant("acme", 3.0, 300, (feature,), flat_week(dice))
    return tenant, calls_of(tenant, 0, Effects(), 0, np.full(DAY, 0.2), dice)


@pytest.mark.parametrize("with_answers", [False, True])
def test_cells_are_those_that_meter_would_have_made(with_answers: bool) -> None:
    tenant, columns = a_day(np.random.default_rng(3), with_answers=with_answers)
    base = 20_402 * DAY
    ours = [cell for found in cells(tenant, columns, 0, base, Places()).values() for cell in found]
    fold, facts = PartialFold(Mark(1, 0)), Facts()
    for at in np.argsort(columns["minute"], kind="stable").tolist():
        row = {name: values[at].item() for name, values in columns.items()}
        fold.fold(facts.call((base + row["minute"]) * 60_000, **_fields(row, with_answers)))
    fold.fold(facts.tick((base + 2 * DAY) * 60_000))
    theirs = [cell for record in records(fold, 0, None) for cell in record.cells if not cell.hour]
    assert [(one.source, one.start) for one in ours] == [
        (one.source, one.start) for one in sorted(theirs, key=lambda one: one.start)
    ]
    assert _plain([one.bucket for one in ours], with_answers) == _plain([one.bucket for one in theirs], with_answers)


def _fields(row: dict[str, object], with_answers: bool) -> dict[str, object]:
    status = STATUSES[int(row["status"])]  # type: ignore[call-overload]
    fields: dict[str, object] = {
        "tenant": "acme", "feature": "f", "provider": "openai", "model": "large", "status": status, "usd": 0.0,
        "latency_ms": row["latency"], "input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS,
        "cost_nano_usd": row["nano"],
    }  # fmt: skip
    if with_answers:
        well = status == "ok"
        fields |= {
            "refusal": bool(row["refused"] and well) or None,
            "schema_valid": not row["invalid"] if well else None,
            "guardrails_triggered": int(bool(row["guarded"])),
            "retrieval_requested": 4,
            "retrieval_hits": 0 if row["missed"] else 4,
            "output_label": LABELS[int(row["label"])] if well else None,  # type: ignore[call-overload]
            "language": LANGUAGES[int(row["language"])] if well else None,  # type: ignore[call-overload]
            "finish_reason": FINISHES[int(row["finish"])] if well else None,  # type: ignore[call-overload]
            "topics": (row["topic"],) if well else (),
            "length_bucket": row["length"],
        }
    return fields


def _plain(made: list[Bucket], with_answers: bool) -> list[object]:
    total = buckets.merged(made)
    shape, quality = total.shape, total.quality
    plain: list[object] = [
        total.calls, total.facts, total.cost_nano_usd, total.cost_squares, total.max_cost_nano_usd, total.errors,
        total.latency, total.input_tokens, total.output_tokens,
    ]  # fmt: skip
    if with_answers:
        assert shape is not None and quality is not None
        plain += [
            shape.labels, shape.languages, shape.finishes, shape.topics, shape.lengths, shape.models,
            quality.refusals, quality.schema_checked, quality.schema_invalid, quality.guarded, quality.guard_hits,
            quality.retrievals, quality.misses, quality.hits, quality.requested,
        ]  # fmt: skip
    return plain


def test_truth_is_the_same_however_often_it_is_made() -> None:
    one, two = world("money", "office", 2), world("money", "office", 2)
    assert [repr(event) for event in one.events] == [repr(event) for event in two.events]
    assert sum(event.positive for event in one.events) > 40


def test_an_anomaly_of_another_tenant_or_an_hour_too_late_is_false() -> None:
    event = Event("cost.spike", True, 1_000, 1_100, "acme", excess_usd=3.0)
    negative = Event("cost.spike", False, 3_000, 3_100, "acme", kind="a busy day")
    right = Told("cost.spike", 1_030, "acme", "chat")
    wrong = [Told("cost.spike", 1_030, "globex"), Told("cost.spike", 1_221, "acme"), Told("cost.spike", 3_050, "acme")]
    found = score([Played("", 2, 30, [event, negative], [right, *wrong], NOTHING)], "cost.spike")
    assert (found.positives, found.found, found.negatives, found.taken, found.right, found.false) == (1, 1, 1, 1, 1, 3)
    assert (found.delays, found.recall, found.precision, found.tenant_months) == ([30], 1.0, 0.25, 2.0)
    missed = score([Played("", 2, 30, [event], wrong[:2], NOTHING)], "cost.spike")
    assert (missed.found, missed.recall, missed.usd, missed.usd_found) == (0, 0.0, 3.0, 0.0)


def test_what_follows_from_another_event_is_neither_right_nor_false() -> None:
    event = Event("cost.spike", True, 1_000, 1_100, "acme")
    day = Played("", 1, 30, [event], [Told("cost.daily", 1_050, "acme"), Told("error.rate", 1_050, "acme")], NOTHING)
    assert (score([day], "cost.daily").false, score([day], "error.rate").false) == (0, 1)


def test_larger_incidents_at_larger_tenants_are_easier_to_see() -> None:
    dice = np.random.default_rng(1)
    small = Tenant("s", 1.0, 100, (), flat_week(dice))
    large = Tenant("l", 1_000.0, 30_000, (), flat_week(dice))
    seen = [visibility(one, 0, 600, 660, ratio)[0] for one in (small, large) for ratio in (2.1, 8.0)]
    assert seen[0] < seen[1] and seen[2] < seen[3] and seen[1] < seen[3] and seen[0] < 2 < 5.15 < seen[3]


def test_naive_rules_see_a_tripling_and_a_quiet_week_leaves_them_silent() -> None:
    cost = 0.01 + 0.002 * np.sin(np.arange(10 * DAY) / 90)
    assert [list(told(Series({"acme": cost}), name, "cost.spike")) for name in ("fixed", "twice")] == [[], []]
    cost[8 * DAY + 600 : 8 * DAY + 720] *= 4
    for name in ("fixed", "sigma", "twice"):
        (found,) = told(Series({"acme": cost}), name, "cost.spike")
        assert 8 * DAY + 600 < found.minute <= 8 * DAY + 665
