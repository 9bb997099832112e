"""Waits until events that were sent stand in ClickHouse: until the sink's ledger has passed their positions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.marks import SinkMarks
from pipeline.cli.progress import Progress
from pipeline.cli.times import duration
from pipeline.errors import RetryableError
from pipeline.transport.tail import end_offset

if TYPE_CHECKING:
    from pipeline.cli.sender import Tally
    from pipeline.settings import Settings

LOOK_EVERY_S: Final = 0.2


def wait_for_rows(settings: Settings, tally: Tally, timeout_s: float) -> dict[str, Any]:
    """Wait until every delivered event is a row or a counted dead letter, at most `timeout_s` seconds.

    Returns:
        `arrived` (whether all are), `missing` (source positions the ledger has not passed), `seconds` and a `sentence`.

    Raises:
        UnknownEpochError: The topic was recreated; `tokentrail migrate` was not run.
        RetryableError: Kafka does not answer.
    """
    from pipeline.transport.admin import Epochs

    epochs = Epochs(settings)
    epochs.check()
    epoch = epochs.current("calls.raw")
    begun = time.monotonic()
    with SinkMarks(settings) as marks:
        # Where the broker did not say how far, everything that is there now is waited for.
        ends = tally.ends | {number: end_offset(settings, "calls.raw", number) for number in tally.unplaced}
        first = missing = _missing(marks, epoch, ends)
        with Progress("in ClickHouse", max(first, 1)) as progress:
            while missing and time.monotonic() - begun < timeout_s:
                time.sleep(LOOK_EVERY_S)
                missing = _missing(marks, epoch, ends)
                progress.update(first - missing, f"{missing:,} events on their way")
    seconds = time.monotonic() - begun
    if missing:
        said = (
            f"{missing:,} positions are not in ClickHouse after {duration(1000 * seconds)}; "
            "`tokentrail doctor` says which stage is behind."
        )
    else:
        said = f"All of them are in ClickHouse, {duration(1000 * seconds)} after the last was acknowledged."
    return {"arrived": not missing, "missing": missing, "seconds": round(seconds, 3), "sentence": said}


def _missing(marks: SinkMarks, epoch: int, ends: dict[int, int]) -> int:
    """Source positions between the ledger's marks and `ends`."""
    missing = 0
    for partition, end in ends.items():
        try:
            state = marks.look(partition)
        except RetryableError:
            missing += 1
            continue
        if state.epoch < epoch:
            missing += end
        elif state.epoch == epoch:
            missing += max(0, end - state.next)
    return missing
