"""Signed heads and anchors: true of one key and one history, and of nothing else; and the check of a ledger by them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline.audit import anchors, copies, heads
from pipeline.audit.chain import Chain
from pipeline.audit.leaves import seal_key
from pipeline.audit.ledger import Follower, encode
from pipeline.audit.sources import Anchored, Trust
from pipeline.keys import Keys
from schemas.ledger import Claim, Entry, Signed

KEYS, OTHER = Keys(bytes(range(32))), Keys(bytes(32))
PUBLIC = heads.public_key(KEYS)
TRUST = Trust(seal_key(KEYS), PUBLIC)
NOW = 1_795_000_000_000
SAID = heads.sign(heads.private_key(KEYS), 3, Signed(7, "ab" * 32, 5, NOW, "", "", ""))


class Log:
    """One partition's ledger with its copy."""

    def __init__(self) -> None:
        self.follower = Follower(0)
        self.values: list[bytes] = []
        self.copied: list[tuple[Any, ...]] = []
        self.previous = ""

    def claim(self) -> None:
        self._write(claim=Claim(self.follower.state.owner))

    def sign(self, keys: Keys = KEYS, **false: Any) -> Signed:
        state = self.follower.state
        said = Signed(self.follower.end, state.head, state.accepted, NOW, self.previous, "", "")
        signed = heads.sign(heads.private_key(keys), 0, msgspec.structs.replace(said, **false))
        self.previous = heads.digest(0, signed)
        self._write(signed=signed)
        return signed

    def _write(self, **steps: Any) -> None:
        value = encode(Entry(0, "w", self.follower.end, self.follower.state, **steps))
        offset = self.follower.end
        verdict = self.follower.fold(offset, value)
        self.values.append(value)
        self.copied.append(copies.row(TRUST.seal_key, 0, offset, NOW, value, verdict, self.follower.state))


def found(log: Log, *anchored: Signed) -> list[tuple[str, str]]:
    """(kind, position) of what a check of the log tells."""
    told: list[tuple[str, str]] = []
    chain = Chain(
        0,
        TRUST,
        lambda kind, why, table, position: told.append((kind, position)),
        log.copied,
        [Anchored("anchor-1", 0, each) for each in anchored],
    )
    for offset, value in enumerate(log.values):
        chain.fold(offset, value)
    chain.end()
    return told


def history() -> Log:
    log = Log()
    for _ in range(3):
        log.claim()
    log.sign()
    for _ in range(3):
        log.claim()
    log.sign()
    return log


def test_a_statement_is_fixed_for_ever() -> None:
    assert heads.key_id(PUBLIC) == SAID.key
    assert heads.statement(3, SAID) == b"tokentrail.head.v1\0" + msgspec.msgpack.encode(
        [3, 7, "ab" * 32, 5, NOW, "", SAID.key]
    )


@pytest.mark.parametrize("field", Signed.__struct_fields__)
def test_a_signature_is_over_every_field_and_the_partition(field: str) -> None:
    assert heads.is_signed(PUBLIC, 3, SAID)
    assert not heads.is_signed(PUBLIC, 2, SAID)
    assert not heads.is_signed(heads.public_key(OTHER), 3, SAID)
    value = getattr(SAID, field)
    other = value + 1 if isinstance(value, int) else "0" + value[1:] if value else "00"
    changed = msgspec.structs.replace(SAID, **{field: other})
    assert changed == SAID or not heads.is_signed(PUBLIC, 3, changed)
    if field == "signature":
        assert not heads.is_signed(PUBLIC, 3, msgspec.structs.replace(SAID, signature=value.upper()))


def test_an_honest_ledger_its_copy_and_its_anchors_are_true() -> None:
    log = history()
    assert found(log, log_signed(log, 3), log_signed(log, 7)) == []
    log.copied += log.copied[2:4]
    log.copied.sort(key=lambda row: row[copies.OFFSET])
    assert found(log) == [], "two processes may copy the same"


def log_signed(log: Log, offset: int) -> Signed:
    signed = msgspec.json.decode(log.values[offset], type=Entry).signed
    assert signed is not None
    return signed


def test_a_head_of_another_key_another_history_or_out_of_order_is_told() -> None:
    log = history()
    log.sign(OTHER)
    assert found(log) == [("head_forged", "ledger 0/8")]
    log = history()
    log.sign(head="00" * 32)
    assert found(log) == [("head_false", "ledger 0/8")]
    log = history()
    log.previous = ""
    log.sign()
    assert found(log) == [("head_unchained", "ledger 0/8")]


def test_two_who_sign_at_the_same_time_are_both_right() -> None:
    log = history()
    state, end = log.follower.state, log.follower.end
    said = Signed(end, state.head, state.accepted, NOW, log.previous, "", "")
    for at_ms in (NOW, NOW + 1):
        signed = heads.sign(heads.private_key(KEYS), 0, msgspec.structs.replace(said, at_ms=at_ms))
        log._write(signed=signed)
    assert found(log) == []


def test_an_anchor_of_another_history_and_one_that_the_ledger_does_not_reach_are_told() -> None:
    log, other = history(), Log()
    for _ in range(4):
        other.claim()
    assert found(log, other.sign()) == [("anchor_differs", "ledger 0/4")]
    longer = history()
    longer.claim()
    assert found(log, longer.sign()) == [("anchor_differs", "ledger 0/9")]


def test_a_copy_that_was_changed_cut_or_added_to_is_told() -> None:
    log = history()
    last = log.copied.pop()
    assert found(log) == [], "the last record may be on its way"
    assert log.copied.pop() is not last
    assert found(log) == [("copy_missing", "ledger 0/6")], "what was signed had been copied"
    log = history()
    del log.copied[1]
    assert found(log) == [("copy_missing", "ledger 0/1")]
    log = history()
    for index, name in enumerate(copies.LEDGER.names):
        if name in ("partition", "ledger_offset"):
            continue
        changed = list(log.copied[4])
        changed[index] = changed[index] + changed[index][:1] if isinstance(changed[index], str | bytes) else 77
        with_change = history()
        with_change.copied[4] = tuple(changed)
        assert found(with_change) == [("copy_changed", "ledger 0/4")], name
    log.copied.append((*log.copied[-1][:1], 99, *log.copied[-1][2:]))
    assert found(log) == [("copy_unexpected", "ledger 0/99")]


def test_an_anchor_is_signed_as_a_whole_and_read_back() -> None:
    anchor = anchors.make(heads.private_key(KEYS), "cluster/llm.", NOW, {3: SAID})
    assert anchors.read(anchors.write(anchor)) == anchor
    assert anchors.is_signed(PUBLIC, anchor) and not anchors.is_signed(heads.public_key(OTHER), anchor)
    for change in ({"installation": "x"}, {"made_at_ms": 1}, {"heads": ()}, {"public_key": "00"}, {"signature": "00"}):
        assert not anchors.is_signed(PUBLIC, msgspec.structs.replace(anchor, **change))
    assert anchors.is_name(anchors.name(anchor)) and anchors.is_of_day([anchors.name(anchor)], NOW)
    assert not anchors.is_of_day([anchors.name(anchor)], NOW + 86_400_000)
    with pytest.raises(ValueError, match="not an anchor"):
        anchors.read(b"{}")
