"""A request to erase that comes at any moment: each range is built by one number of requests, whoever builds it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from ledger_model import KEYS, Model, Process, call, slots

from pipeline.audit.batch import build
from pipeline.audit.effects import Build, Effect
from pipeline.audit.erasing import Subjects, mark
from pipeline.audit.ledger import Follower
from schemas.clean import Clean
from schemas.control import Erasure
from schemas.ledger import Intent

REQUEST = Erasure("r1", "acme", "user", (mark(KEYS, "acme", "user", "somebody"),))
CHUNK = 3
RECORDS = 9


def record(offset: int) -> Clean:
    """Every other call is the subject's, and has text."""
    clean = call(offset)
    user = "somebody" if offset % 2 else "another"
    return msgspec.structs.replace(clean, fact=msgspec.structs.replace(clean.fact, user=user, run=f"run-{user}"))


@dataclass
class Knowing(Model):
    """An outside in which the request becomes known while things go on."""

    known: int = 0

    def perform(self, effect: Effect) -> Any:
        if isinstance(effect, Build):
            count = self.known if effect.erasures is None else effect.erasures
            assert count <= self.known, "a build waits until it knows the requests that it needs"
            subjects = Subjects(KEYS, [REQUEST][:count])
            return build(effect.slots, effect.first, effect.input_next, KEYS, effect.refused, subjects), []
        return super().perform(effect)


def finished(model: Model) -> list[Intent]:
    follower, found = Follower(0), []
    for offset, value in enumerate(model.log):
        open_ = follower.state.open
        verdict = follower.fold(offset, value)
        if verdict.accepted and verdict.entry is not None and verdict.entry.done is not None:
            assert open_ is not None
            found.append(open_)
    return found


def check(model: Knowing) -> list[int]:
    """Hold what stands to what the ranges' own numbers of requests give; those numbers, in order."""
    model.pass_time(60_000)
    ranges = finished(model)
    expected: Counter[tuple[Any, ...]] = Counter()
    for intent in ranges:
        chosen = [slot for slot in model.input if intent.first <= slot.clean.fact.position.offset < intent.next]
        batch = build(chosen, intent.first, 0, KEYS, erased=Subjects(KEYS, [REQUEST][: intent.erasures]))
        assert tuple(part.root for part in intent.parts) == tuple(part.root for part in batch.parts)
        expected.update((part.cell, 1, row[2], repr(row).encode()) for part in batch.parts for row in part.rows)
    assert Counter((cell, *row) for cell, held in model.stored.items() for row in held) == expected
    assert ranges[-1].next == RECORDS
    return [intent.erasures for intent in ranges]


@pytest.mark.parametrize("fate", ["never", "landed", "first part only", "lands last"])
def test_a_range_that_was_announced_before_the_request_is_adopted_without_it(fate):
    adopted = 0
    for crash_at in range(1, 200):
        model = Knowing(slots([record(offset) for offset in range(RECORDS)]))
        first = Process(model, "a", CHUNK)
        if not all(first.step() for _ in range(crash_at)):
            break
        first.crash(fate)
        owed = Follower(0)
        for offset, value in enumerate(model.log):
            owed.fold(offset, value)
        model.known = 1
        second = Process(model, "b", CHUNK)
        second.run()
        assert second.ended == "finished"
        numbers = check(model)
        assert (numbers == sorted(numbers) and numbers[-1] == 1) or owed.state.range * CHUNK >= RECORDS - CHUNK
        if owed.state.open is not None:
            adopted += 1
            assert numbers[owed.state.range] == 0
    assert adopted > 3


def test_who_knows_a_request_in_the_middle_makes_bare_rows_from_the_next_range_on():
    for known_at in range(1, 60):
        model = Knowing(slots([record(offset) for offset in range(RECORDS)]))
        process = Process(model, "a", CHUNK)
        for _ in range(known_at):
            process.step()
        model.known = 1
        process.run()
        numbers = check(model)
        assert numbers == sorted(numbers)
