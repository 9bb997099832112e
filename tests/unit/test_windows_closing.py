"""Closed windows: once when the watermark has passed them, again when a late event came, never for nothing."""

from __future__ import annotations

import pytest

from pipeline.windows.closing import SIZES
from schemas.window import Window
from tests.streams import DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, NANO, Plant

NOON = MIDNIGHT_MS + 12 * HOUR_MS


def of(plant: Plant, dimension: str, size_s: int) -> list[Window]:
    return [one for one in plant.windows if one.dimension == dimension and one.size_s == size_s]


@pytest.fixture
def plant() -> Plant:
    made = Plant()
    made.until(NOON)
    return made


def test_a_window_is_published_once_its_end_has_passed(plant: Plant) -> None:
    plant.call(NOON + 10_000, usd=0.25, latency_ms=800.0)
    plant.call(NOON + 20_000, usd=0.5, latency_ms=1_200.0, status="error")
    plant.until(NOON + MINUTE_MS - 1)
    assert of(plant, "tenant", 60) == []
    plant.until(NOON + MINUTE_MS)
    (window,) = of(plant, "tenant", 60)
    assert (window.start, window.revision, window.calls) == (NOON, 1, 2)
    assert window.cost_nano_usd == 3 * NANO // 4
    assert window.errors == {"error": 1}
    assert window.subject == {"tenant": "acme"}
    assert window.latency_ms.p50 == pytest.approx(800, rel=0.01)


def test_every_length_stands_on_its_own_grid(plant: Plant) -> None:
    for minute in range(0, 180, 2):
        plant.call(NOON + minute * MINUTE_MS, user="u1", prompt_name="p", prompt_version="1", variant="a")
    plant.until(MIDNIGHT_MS + DAY_MS + MINUTE_MS)
    for dimension in ("tenant", "provider", "feature", "model", "user", "prompt", "variant"):
        for size in SIZES[dimension]:
            windows = of(plant, dimension, size * 60)
            assert sum(window.calls for window in windows) == 90, (dimension, size)
            grid = min(size * MINUTE_MS, DAY_MS)
            assert all(window.start % grid == 0 for window in windows)
            assert {window.revision for window in windows} == {1}


def test_a_week_is_the_seven_days_before_each_midnight(plant: Plant) -> None:
    for day in range(9):
        plant.call(NOON + day * DAY_MS, usd=1.0)
    plant.until(MIDNIGHT_MS + 9 * DAY_MS + MINUTE_MS)
    weeks = of(plant, "tenant", 7 * 86_400)
    assert [one.start for one in weeks] == [MIDNIGHT_MS + day * DAY_MS for day in range(-6, 3)]
    assert [one.calls for one in weeks] == [1, 2, 3, 4, 5, 6, 7, 7, 7]
    assert weeks[-1].cost_nano_usd == 7 * NANO


def test_a_late_event_makes_a_revision_of_each_window_it_is_in(plant: Plant) -> None:
    plant.call(NOON + 10_000)
    plant.until(NOON + HOUR_MS + 5 * MINUTE_MS)
    before = len(plant.windows)
    plant.folds[0].fold(plant.facts[0].call(NOON + 20_000))
    plant.until(NOON + HOUR_MS + 8 * MINUTE_MS)
    revised = [window for window in plant.windows[before:] if window.start <= NOON + 20_000]
    assert {(window.size_s, window.revision, window.calls) for window in revised if window.dimension == "tenant"} == {
        (60, 2, 2), (300, 2, 2), (3600, 2, 2)}  # fmt: skip


def test_many_late_events_make_few_revisions_and_the_last_one_is_right(plant: Plant) -> None:
    for minute in range(0, 60, 5):
        plant.call(NOON + minute * MINUTE_MS)
    plant.until(NOON + 90 * MINUTE_MS)
    for number in range(200):
        at_ms = NOON + (number % 60) * MINUTE_MS
        plant.folds[0].fold(plant.facts[0].call(at_ms, received_at=int(plant.now_ms)))
        plant.until(NOON + (90 + number // 10) * MINUTE_MS)
    plant.until(NOON + 4 * HOUR_MS)
    hours = [one for one in of(plant, "tenant", 3_600) if one.start == NOON]
    assert hours[-1].calls == 212
    assert [one.revision for one in hours] == list(range(1, len(hours) + 1)) and len(hours) <= 7


def test_hour_cells_that_say_nothing_new_make_no_revision(plant: Plant) -> None:
    for minute in range(0, 300, 3):
        plant.call(NOON + minute * MINUTE_MS)
    plant.until(NOON + 8 * HOUR_MS)
    assert {window.revision for window in plant.windows} == {1}


def test_an_event_hours_late_corrects_its_hour_from_the_hour_cell(plant: Plant) -> None:
    plant.call(NOON + 10_000)
    plant.until(NOON + 6 * HOUR_MS)
    plant.folds[1].fold(plant.facts[1].call(NOON + 20_000))
    plant.until(NOON + 6 * HOUR_MS + 3 * MINUTE_MS)
    assert [(one.start, one.revision, one.calls) for one in of(plant, "tenant", 3600)] == [(NOON, 1, 1), (NOON, 2, 2)]


def test_what_was_sent_before_the_first_watermark_is_closed_too() -> None:
    plant = Plant(partitions=1, flush_ms=30 * MINUTE_MS)
    for minute in range(25):
        plant.call(NOON + minute * MINUTE_MS)
    plant.until(NOON + 2 * HOUR_MS)
    assert sum(one.calls for one in of(plant, "tenant", 60)) == 25


def test_empty_windows_are_not_published(plant: Plant) -> None:
    plant.call(NOON)
    plant.until(NOON + 3 * HOUR_MS)
    assert all(window.calls for window in plant.windows)
    assert len(of(plant, "tenant", 60)) == 1
