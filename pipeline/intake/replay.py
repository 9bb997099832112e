"""Headers of a raw record that is processed again: which position it stands for, and a proof that we wrote it.

A producer could write such headers too, and so call a stranger's dead letter healed; without the keyed hash over
position, time and value they mean nothing. Pure.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from pipeline.intake.decode import header
from pipeline.keys import Keys
from schemas.clean import Replay
from schemas.position import Position

OF: Final = "replay-of"
RECEIVED_AT: Final = "replay-received-at"
PROOF: Final = "replay-proof"

Headers = Sequence[tuple[str, bytes]]


def headers_of(replay: Replay, value: bytes, keys: Keys) -> list[tuple[str, bytes]]:
    """What a replayed record carries instead of its producer's headers."""
    return [
        (OF, str(replay.of).encode()),
        (RECEIVED_AT, str(replay.received_at).encode()),
        (PROOF, _proof(replay, value, keys).encode()),
    ]


def replay_of(headers: Headers | None, value: bytes | None, keys: Keys) -> Replay | None:
    """What a raw record stands for; None where it is an ordinary one, or says so without proof."""
    of = header(headers, OF)
    if of is None:
        return None
    parts = [*of.split("/"), header(headers, RECEIVED_AT) or ""]
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        return None
    epoch, partition, offset, received_at = map(int, parts)
    replay = Replay(Position(epoch, partition, offset), received_at)
    given = header(headers, PROOF) or ""
    is_ours = hmac.compare_digest(given.encode(), _proof(replay, value or b"", keys).encode())
    return replay if is_ours else None


def _proof(replay: Replay, value: bytes, keys: Keys) -> str:
    return keys.digest("replay", "", f"{replay.of}/{replay.received_at}\0".encode() + value)
