"""Waits until everything that stood in the raw topic at a moment is accounted for by the sink's ledger.

Ticks are no events and may wait a minute for company, so positions that hold only ticks are not waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.cli.marks import SinkMarks
from pipeline.transport.admin import Epochs
from pipeline.transport.tail import Reader

if TYPE_CHECKING:
    from pipeline.settings import Settings

LOOK_EVERY_S: Final = 0.2
# More than this between mark and end is looked at again later rather than read.
MOST_READ: Final = 5_000


class _Kind(msgspec.Struct):
    kind: str = ""


_kind = msgspec.json.Decoder(_Kind)


def wait_settled(
    settings: Settings, ends: dict[int, int], timeout_s: float, tell: Callable[[int], None] = lambda _: None
) -> dict[int, int]:
    """Wait at most `timeout_s` seconds until the ledger has passed `ends` (by partition, of the present epoch).

    Args:
        settings: The installation.
        ends: Offset after the last record to wait for.
        timeout_s: How long.
        tell: Called with the number of positions that are not accounted for yet.

    Returns:
        By partition, how many positions are not accounted for; empty when all are.

    Raises:
        UnknownEpochError: The topic was recreated; `tokentrail migrate` was not run.
        RetryableError: Kafka does not answer.
    """
    epochs = Epochs(settings)
    epochs.check()
    epoch = epochs.current("calls.raw")
    deadline_s = time.monotonic() + timeout_s
    waiting = dict(ends)
    with SinkMarks(settings) as marks, Reader(settings) as reader:
        while True:
            left: dict[int, int] = {}
            for partition, end in waiting.items():
                state = marks.look(partition)
                mark = state.next if state.epoch == epoch else 0 if state.epoch < epoch else end
                if mark < end and not _only_ticks(reader, partition, mark, end):
                    left[partition] = end - mark
            waiting = {partition: waiting[partition] for partition in left}
            if not left or time.monotonic() >= deadline_s:
                return left
            tell(sum(left.values()))
            time.sleep(LOOK_EVERY_S)


def raw_ends(settings: Settings, partitions: int) -> dict[int, int]:
    """Offset that the next record of each raw partition will get."""
    with Reader(settings) as reader:
        return {number: reader.bounds("calls.raw", number)[1] for number in range(partitions)}


def _only_ticks(reader: Reader, partition: int, first: int, next: int) -> bool:
    """Whether the raw positions `first` to `next - 1` hold nothing but ticks."""
    return next - first <= MOST_READ and all(
        _is_tick(record.value) for record in reader.read("calls.raw", partition, first, next)
    )


def _is_tick(value: bytes | None) -> bool:
    try:
        return _kind.decode(value or b"").kind == "tick"
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
