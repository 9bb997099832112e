"""Glimpses are of what has changed most, as if all cells were looked through every time."""

from __future__ import annotations

import random

from pipeline.windows.glimpses import Glimpses
from schemas.partial import Bucket, Cell, Source


def test_they_are_those_that_looking_through_all_cells_would_give() -> None:
    dice = random.Random(5)
    glimpses, waiting, shown = Glimpses(), dict[Source, Cell](), dict[Source, tuple[int, int]]()
    for at in range(3_000):
        source = ("call", f"t{dice.randrange(60)}")
        cell = waiting.get(source)
        if cell is None:
            cell = waiting[source] = Cell(source, False, 1, at, at, Bucket())
        cell.upto = at
        cell.bucket.calls += 1
        cell.bucket.cost_nano_usd += dice.choice((0, 1, 7, 1_000))
        glimpses.change(cell)
        if dice.random() < 0.02:
            # Evicted, and perhaps begun again.
            waiting.pop(dice.choice(list(waiting)))
        if dice.random() < 0.2:
            behind = [one for one in waiting.values() if shown.get(one.source, (-1, 0))[0] < one.upto]
            behind.sort(key=lambda one: (shown.get(one.source, (-1, 0))[1] - one.bucket.cost_nano_usd, one.since))
            most = dice.randrange(1, 9)
            found = glimpses.take(most, waiting)
            assert [one.source for one in found] == [one.source for one in behind[:most]]
            for one in found:
                cell = waiting[one.source]
                assert (one.since, one.upto, one.calls) == (cell.since, cell.upto, cell.bucket.calls)
                shown[one.source] = (one.upto, one.cost_nano_usd)
        assert len(glimpses._heap) <= 4 * 60 + 3_000 // 10


def test_a_new_minute_begins_with_nothing_shown_and_what_went_out_is_not_shown() -> None:
    glimpses, source = Glimpses(), ("call", "a")
    cell = Cell(source, False, 1, 0, 0, Bucket(calls=1, cost_nano_usd=5))
    glimpses.change(cell)
    assert len(glimpses.take(9, {source: cell})) == 1
    glimpses.change(cell)
    assert glimpses.take(9, {source: cell}) == [], "nothing has changed since"
    cell.upto = 3
    glimpses.change(cell)
    glimpses.settle()
    assert glimpses.take(9, {source: cell}) == []
    other = Cell(source, False, 2, 1, 1, Bucket(calls=1, cost_nano_usd=1))
    glimpses.forget()
    glimpses.change(other)
    assert [one.start for one in glimpses.take(9, {source: other})] == [2]
