"""Wherever a sink ends, and however two of them interleave: every row stands exactly once and the ledger says so."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from ledger_model import Fate, Model, Process, call, gap, slots, tick

from schemas.clean import Clean

FATES: tuple[Fate, ...] = ("never", "landed", "first part only", "lands last")

# Two lives in one range, ticks in front, between and behind, a gap, duplicates and a hole that is repaired behind.
ORDINARY = [tick(0), call(1), call(2, days=60), call(3), tick(4), call(5), gap(6, 8), call(9), tick(10)]
REPAIRED = [call(0), call(1), call(4), call(5), call(1), call(2), call(3), call(4), call(5), call(6)]
RECREATED = [call(0), call(1), call(2), call(0, epoch=2), tick(1, epoch=2), call(2, epoch=2)]
# The same positions once more, made under another policy: the first record of a position counts.
OTHER_POLICY = [call(0), call(1), call(0, days=60), call(1, days=60), call(2, days=60), call(2), call(3)]
INPUTS = {"ordinary": ORDINARY, "repaired": REPAIRED, "recreated": RECREATED, "other policy": OTHER_POLICY}


def model_of(records: Sequence[Clean]) -> Model:
    return Model(slots(records))


def steps_of(records: Sequence[Clean]) -> int:
    """How many steps a process takes that nobody disturbs."""
    process = Process(model_of(records), "a")
    return next(number for number in itertools.count(1) if not process.step())


def finish(model: Model) -> None:
    """Whoever comes last, undisturbed, ends it."""
    model.deliveries.clear()
    last = Process(model, "last")
    last.run()
    assert last.ended == "finished"
    model.check()


@pytest.mark.parametrize("records", INPUTS.values(), ids=list(INPUTS))
def test_an_undisturbed_process_stores_everything_once(records: list[Clean]) -> None:
    model = model_of(records)
    process = Process(model, "a")
    process.run()
    assert process.ended == "finished"
    model.check()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("fate", FATES)
@pytest.mark.parametrize("keeps_tokens", [True, False])
def test_a_crash_at_any_step_loses_and_doubles_nothing(name: str, fate: Fate, keeps_tokens: bool) -> None:
    for crash_at in range(steps_of(INPUTS[name])):
        model = model_of(INPUTS[name])
        model.keeps_tokens = keeps_tokens
        first = Process(model, "a")
        for _ in range(crash_at):
            first.step()
        first.crash(fate)
        finish(model)


@pytest.mark.parametrize("fates", list(itertools.product(FATES, FATES)))
def test_two_crashes_at_any_two_steps_lose_and_double_nothing(fates: tuple[Fate, Fate]) -> None:
    total = steps_of(ORDINARY)
    for first_at, second_at in itertools.product(range(total), range(total + 4)):
        model = model_of(ORDINARY)
        for owner, crash_at, fate in (("a", first_at, fates[0]), ("b", second_at, fates[1])):
            process = Process(model, owner)
            for _ in range(crash_at):
                process.step()
            if process.ended is None:
                process.crash(fate)
        finish(model)


def test_a_zombie_that_wakes_at_any_step_of_its_successor_does_no_harm() -> None:
    total = steps_of(ORDINARY)
    outcomes = set()
    for asleep_at, woken_at in itertools.product(range(total), range(total + 4)):
        model = model_of(ORDINARY)
        zombie = Process(model, "zombie")
        for _ in range(asleep_at):
            zombie.step()
        heir = Process(model, "heir")
        for _ in range(woken_at):
            heir.step()
        zombie.run()
        heir.run()
        outcomes.add((zombie.ended, heir.ended))
        finish(model)
    assert ("fenced", "finished") in outcomes


@pytest.mark.parametrize("seed", range(150))
def test_two_owners_in_any_interleaving_do_no_harm(seed: int) -> None:
    rng = random.Random(seed)
    model = model_of(INPUTS[rng.choice(sorted(INPUTS))])
    processes = [Process(model, "a", chunk=rng.randint(1, 5))]
    for turn in range(400):
        living = [process for process in processes if process.ended is None]
        if not living or (len(living) < 2 and rng.random() < 0.05):
            processes.append(Process(model, f"p{turn}", chunk=rng.randint(1, 5)))
            continue
        chosen = rng.choice(living)
        if rng.random() < 0.03:
            chosen.crash(rng.choice(FATES))
        else:
            chosen.step()
    for process in processes:
        process.run()
    finish(model)


@pytest.mark.parametrize("how", ["lost", "landed but failed", "lands later"])
def test_a_ledger_record_of_unknown_fate_does_no_harm(how: str) -> None:
    for number in range(12):
        for later in range(0, 30, 3):
            model = model_of(ORDINARY)
            model.deliveries = ["ok"] * number + [how]  # type: ignore[list-item]
            process = Process(model, "a")
            for step in itertools.count():
                if step % 30 == later:
                    model.land_delayed()
                if not process.step():
                    break
            model.land_delayed()
            finish(model)


def test_a_late_record_of_a_dead_owner_does_no_harm() -> None:
    for number in range(8):
        for woken_at in range(40):
            model = model_of(ORDINARY)
            model.deliveries = ["ok"] * number + ["lands later"]
            first = Process(model, "a")
            while not model.delayed and first.step():
                pass
            if first.ended is None:
                first.crash()
            model.deliveries.clear()
            heir = Process(model, "heir")
            for _ in range(woken_at):
                heir.step()
            model.land_delayed()
            heir.run()
            finish(model)


@pytest.mark.parametrize("table", ["calls", "call_content"])
@pytest.mark.parametrize("refused", [{1}, {5}, {1, 2, 3}, {1, 2, 3, 5, 9}])
def test_refused_rows_become_dead_letters_wherever_the_process_ends(table: str, refused: set[int]) -> None:
    def model_with_refusals() -> Model:
        model = model_of(ORDINARY)
        model.refuses = lambda name, offset: name == table and offset in refused
        return model

    process = Process(model_with_refusals(), "a")
    total = next(number for number in itertools.count(1) if not process.step())
    assert process.ended == "finished"
    for crash_at in range(total):
        model = model_with_refusals()
        first = Process(model, "a")
        for _ in range(crash_at):
            first.step()
        first.crash(random.Random(crash_at).choice(FATES))
        finish(model)
        letters = sorted(o for cell, held in model.stored.items() if cell.table == "dead_letters" for _, o, _ in held)
        assert letters == sorted(o for o in refused if table == "calls" or o % 2)


@pytest.mark.parametrize("lost", range(1, 9))
@pytest.mark.parametrize("fate", ["never", "landed", "first part only"])
def test_a_ledger_that_lost_its_end_doubles_nothing(lost: int, fate: Fate) -> None:
    """A power failure took ledger records whose rows stand; inserts on their way have ended when the broker is back."""
    for crash_at in range(steps_of(ORDINARY)):
        model = model_of(ORDINARY)
        first = Process(model, "a", chunk=2)
        for _ in range(crash_at):
            first.step()
        first.crash(fate)
        del model.log[max(0, len(model.log) - lost) :]
        finish(model)


def test_a_ledger_that_is_gone_altogether_doubles_nothing() -> None:
    model = model_of(ORDINARY)
    Process(model, "a").run()
    model.log.clear()
    finish(model)
