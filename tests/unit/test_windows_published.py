"""What is remembered of published windows: the last revision of each, in 16 bytes, and across snapshots of any age."""

from __future__ import annotations

import random

import msgspec

from pipeline.windows.closing import Closing, ClosingState
from pipeline.windows.published import Published
from pipeline.windows.rolling import Store

TENANT, USER = ("tenant", "acme"), ("user", "acme", "u1")
NOON = 20_400 * 1_440 + 720


def test_it_says_the_last_revision_of_every_window_and_zeros_of_others() -> None:
    dice, published = random.Random(1), Published()
    expected: dict[tuple[tuple[str, ...], tuple[int, int]], tuple[int, int]] = {}
    for revision in range(2_000):
        key, span = dice.choice((TENANT, USER)), (dice.choice((1, 5, 60, 1_440, 10_080)), NOON + dice.randrange(90))
        published.put(key, span, revision, facts := dice.randrange(2**40))
        expected[key, span] = (revision, facts)
    for (key, span), known in expected.items():
        assert published.get(key, span) == known
    assert published.get(TENANT, (5, NOON + 90)) == published.get(("tenant", "b"), (5, NOON)) == (0, 0)
    assert sum(map(len, published.records.values())) == 16 * len(expected)


def test_what_ended_too_long_ago_is_forgotten_by_its_length() -> None:
    published = Published()
    for start in range(NOON, NOON + 120, 5):
        published.put(TENANT, (5, start), 1, 1)
    published.put(TENANT, (60, NOON), 2, 9)
    published.put(USER, (5, NOON), 1, 1)
    published.trim(lambda size: NOON + (100 if size < 60 else 0))
    assert [published.get(TENANT, (5, NOON + at))[0] for at in (90, 95, 115)] == [0, 1, 1]
    assert published.get(TENANT, (60, NOON)) == (2, 9)
    assert list(published.records) == [TENANT], "a key of which nothing is left is gone"


def test_snapshots_that_name_windows_are_still_restored() -> None:
    named = msgspec.msgpack.encode({
        "minute": NOON, "published": {TENANT: {(5, NOON): (3, 7), (60, NOON): (1, 9)}},
        "changed": {USER: {(60, NOON): NOON + 2}}, "due": {NOON + 2: [(USER, (60, NOON))]},
    })  # fmt: skip
    first, second = Closing(Store()), Closing(Store())
    first.restore(msgspec.msgpack.decode(named, type=ClosingState))
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state()), type=ClosingState))
    for closing in (first, second):
        assert closing.minute == NOON
        assert closing.published.get(TENANT, (5, NOON)) == (3, 7)
        assert closing.published.get(TENANT, (60, NOON)) == (1, 9)
    assert first.state() == second.state()
