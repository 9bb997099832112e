"""Whose records become bare, and what a bare record is."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from pipeline.audit.batch import Slot, build
from pipeline.audit.erasing import BARED, Subjects, bare_row, bared, mark
from pipeline.audit.tables import CALL_CONTENT, CALLS, CHAINED
from pipeline.control import erasures
from pipeline.errors import UsageError
from pipeline.intake.identify import Identifiers
from schemas.clean import Clean
from schemas.control import Control, Erasure

sys.path.insert(0, str(Path(__file__).parent.parent / "system"))
from audit_samples import KEYS, call, feedback, one_of_each, stored

USER = "maria-4711"


def asked(kind: str, value: str, tenant: str = "acme", request: str = "r1") -> Erasure:
    control = erasures.ask(KEYS, request, tenant, kind, value, by="dpo", reason="ticket 12", set_at=1)  # type: ignore[arg-type]
    return msgspec.convert(control.body, Erasure)


def of_user(offset: int, user: str = USER, version: int = 1, tenant: str = "acme") -> Clean:
    who = Identifiers(KEYS, lambda _: True, version)
    clean = call(offset, tenant=tenant)
    fact = msgspec.structs.replace(clean.fact, user=who.hashed(tenant, "user", user, "pseudonym"))
    return msgspec.structs.replace(clean, fact=fact)


@pytest.mark.parametrize("version", [1, 2, 17, 32])
def test_a_person_is_known_under_every_version_of_the_keys(version):
    subjects = Subjects(KEYS, [asked("user", USER)])
    assert subjects.names(of_user(0, version=version).fact)


def test_nobody_else_is_meant():
    subjects = Subjects(KEYS, [asked("user", USER)])
    assert not subjects.names(of_user(0, user="maria-4712").fact)
    assert not subjects.names(of_user(0, tenant="globex").fact)
    assert not any(subjects.names(clean.fact) for clean in one_of_each())


def test_a_run_is_known_by_its_name_and_a_call_by_its_id_or_by_what_is_said_of_it():
    who = Identifiers(KEYS, lambda _: True)
    clean = call(7)
    in_run = msgspec.structs.replace(clean.fact, run=who.hashed("acme", "run", "run-9"))
    assert Subjects(KEYS, [asked("run", "run-9")]).names(in_run)
    assert not Subjects(KEYS, [asked("run", "run-9")]).names(clean.fact)
    of_id = Subjects(KEYS, [asked("id", clean.fact.id or "")])
    said = msgspec.structs.replace(feedback(8).fact, about=clean.fact.id)
    assert of_id.names(clean.fact) and of_id.names(said)
    assert not of_id.names(feedback(8).fact)


def test_a_request_holds_neither_the_value_nor_a_pseudonym():
    request = asked("user", USER)
    body = msgspec.json.encode(request)
    assert USER.encode() not in body
    for version in range(1, 33):
        assert (of_user(0, version=version).fact.user or "?").encode() not in body


def test_a_reason_that_says_the_person_is_refused():
    with pytest.raises(UsageError, match="must not say"):
        erasures.ask(KEYS, "r", "acme", "user", USER, by="dpo", reason=f"letter of {USER.upper()}", set_at=1)
    with pytest.raises(UsageError, match="empty"):
        erasures.ask(KEYS, "r", "acme", "user", " ", by="dpo", reason="x", set_at=1)


def test_a_bare_record_gives_a_row_without_text_and_without_anything_that_ties_it():
    slots = [Slot(offset, clean, 10) for offset, clean in enumerate((of_user(0), call(1)))]
    subjects = Subjects(KEYS, [asked("user", USER)])
    batch = build(slots, 0, 2, KEYS, erased=subjects)
    parts = {part.cell.table: part for part in batch.parts}
    assert parts["call_content"].offsets == [1] and parts["calls"].offsets == [0, 1]
    row = dict(zip(CALLS.names, parts["calls"].rows[0], strict=True))
    whole = dict(zip(CALLS.names, build(slots, 0, 2, KEYS).parts[1].rows[0], strict=True))
    assert all(row[name] == "" for name in bared(CALLS))
    changed = {name for name in row if row[name] != whole[name]}
    assert changed == {"user", "run", "session", "id", "content_commitment", "seal"}
    assert batch.erasures == 1 and batch.intent(1, 1, 0, 1, 0).erasures == 1


def test_without_requests_nothing_is_different():
    slots = [Slot(offset, clean, 10) for offset, clean in enumerate(one_of_each())]
    assert build(slots, 0, 8, KEYS, erased=Subjects(KEYS, [])) == build(slots, 0, 8, KEYS)


def test_of_a_stored_row_the_same_columns_are_emptied_and_text_goes():
    for name, row in stored(of_user(3)):
        left = bare_row(CHAINED[name], row)
        if name == "call_content":
            assert left is None
        else:
            values = dict(zip(CALLS.names, left or (), strict=True))
            assert {column for column in BARED if column in values} == set(bared(CALLS))
            assert all(values[column] == "" for column in bared(CALLS))
    assert bared(CALL_CONTENT) == ()


def test_requests_are_numbered_by_the_log_and_one_that_nobody_can_read_keeps_its_number():
    one = erasures.ask(KEYS, "r1", "acme", "user", USER, by="dpo", reason="", set_at=1)
    odd = Control("erasure", {"request": "r2"}, "dpo", 1, {"kind": "planet"})
    two = erasures.ask(KEYS, "r3", "acme", "run", "x", by="dpo", reason="", set_at=3)
    found = erasures.read([(10, one), (20, odd), (30, two)])
    assert [(request.number, request.id, request.asked_at) for request in found] == [
        (1, "r1", 10), (2, "", 20), (3, "r3", 30),
    ]  # fmt: skip
    assert one.key() != two.key()
    assert mark(KEYS, "acme", "user", "a") != mark(KEYS, "acme", "run", "a")
