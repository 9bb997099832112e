"""Legal holds: what they cover, what they never say, and what became of them."""

import msgspec
import pytest

from pipeline.control.holds import Hold, Holds, Placed, Released, Scope, placing, releasing, scope_of
from pipeline.intake.identify import Identifiers
from pipeline.keys import Keys
from schemas.control import Control

KEYS = Keys(bytes(range(32)))
WHEN = 1_795_000_000_000


def row(**more):
    return {"tenant": "acme", "received_at": WHEN, "user": "u", "run": "r", "id": "i", **more}


def pseudonym(user, version):
    return Identifiers(KEYS, lambda _: True, version).hashed("acme", "user", user, "pseudonym")


def record(control: Control, at_ms: int) -> tuple[int, Control]:
    """As it comes back from the log."""
    return at_ms, msgspec.json.decode(msgspec.json.encode(control), type=Control)


@pytest.mark.parametrize(
    ("scope", "covered", "not_covered"),
    [
        (Scope("acme"), row(), row(tenant="beta")),
        (Scope("acme", users=("u", "u2")), row(user="u2"), row(user="")),
        (Scope("acme", runs=("r",)), row(), row(run="other")),
        (Scope("acme", ids=("i",)), row(), row(id="j")),
        (Scope("acme", ids=("i",)), row(id="j", about="i"), row(id="j", about="k")),
        (Scope("acme", from_ms=WHEN), row(), row(received_at=WHEN - 1)),
        (Scope("acme", to_ms=WHEN), row(received_at=WHEN - 1), row()),
        (Scope("acme", users=("u",), from_ms=WHEN), row(), row(user="v")),
    ],
)
def test_a_hold_covers_what_fits_everything_it_names(scope, covered, not_covered):
    assert scope.covers(covered) and not scope.covers(not_covered)


def test_a_hold_on_a_person_does_not_cover_rows_that_name_nobody():
    assert not Scope("acme", users=("u",)).covers({"tenant": "acme", "received_at": WHEN})


def test_a_person_is_held_under_every_key_version_and_the_record_keeps_neither_name_nor_pseudonym():
    scope = scope_of(KEYS, "acme", user="jane@example.com")
    control = placing("h1", Placed(scope.marked(KEYS), "suit", "legal"), WHEN)
    holds = Holds(KEYS, [record(control, WHEN)])
    stored = msgspec.json.encode(control).decode()
    for version in (1, 2, 9):
        jane = pseudonym("jane@example.com", version)
        assert scope.covers(row(user=jane)) and holds.covers(row(user=jane))
        assert jane not in stored
    assert "jane" not in stored
    assert not holds.covers(row(user=pseudonym("joe@example.com", 1)))
    assert not holds.covers(row(user=""))


def test_a_marked_scope_of_which_nothing_is_found_covers_nothing():
    marked = scope_of(KEYS, "acme", run="run-7").marked(KEYS)
    assert not marked.resolved(KEYS, {"run": ["other"]}).covers(row(run="other"))


def test_the_hash_that_rows_show_names_a_person_too():
    shown = pseudonym("jane@example.com", 3)
    assert scope_of(KEYS, "acme", user=shown).covers(row(user=shown))


def test_a_call_is_held_by_its_id_however_that_is_stored():
    plain = "0195c0de-0000-7000-8000-000000000001"
    assert scope_of(KEYS, "acme", id=plain).ids == (plain,)
    stored = Identifiers(KEYS, lambda _: True).event_id("acme", "call-7")
    assert scope_of(KEYS, "acme", id="call-7").covers(row(id=stored))


def test_a_released_hold_covers_nothing_and_is_still_known():
    placed = Placed(Scope("acme"), "suit 7", "legal")
    records = [
        record(placing("h1", placed, 1), WHEN),
        record(placing("h2", Placed(Scope("beta"), "audit", "legal"), 1), WHEN + 1),
        record(releasing("h1", Released("settled", "legal"), 2), WHEN + 2),
    ]
    holds = Holds(KEYS, records)
    assert holds.all[0] == Hold("h1", placed, WHEN, Released("settled", "legal"), WHEN + 2)
    assert [hold.id for hold in holds.in_force] == ["h2"]
    assert not holds.covers(row()) and holds.covers(row(tenant="beta"))


def test_placing_and_releasing_have_keys_of_their_own_so_that_compaction_keeps_both():
    keys = {placing("h1", Placed(Scope("acme"), "", ""), 1).key(), releasing("h1", Released("", ""), 1).key()}
    assert len(keys) == 2


def test_a_hold_is_not_narrowed_by_writing_it_again():
    wide, narrow = (Placed(scope, "suit", "legal") for scope in (Scope("acme"), Scope("acme", ids=("i",))))
    holds = Holds(KEYS, [record(placing("h1", each, 1), WHEN) for each in (wide, narrow)])
    assert holds.covers(row(id="other"))
