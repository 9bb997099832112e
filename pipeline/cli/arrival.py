"""Waits until events that were sent stand in ClickHouse: until the sink's ledger has passed their positions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pipeline.cli.progress import Progress
from pipeline.cli.settle import wait_settled
from pipeline.cli.times import duration
from pipeline.transport.tail import end_offset

if TYPE_CHECKING:
    from pipeline.cli.sender import Tally
    from pipeline.settings import Settings


def wait_for_rows(settings: Settings, tally: Tally, timeout_s: float) -> dict[str, Any]:
    """Wait until every delivered event is a row or a counted dead letter, at most `timeout_s` seconds.

    Returns:
        `arrived` (whether all are), `missing` (source positions the ledger has not passed), `seconds` and a `sentence`.

    Raises:
        UnknownEpochError: The topic was recreated; `tokentrail migrate` was not run.
        RetryableError: Kafka does not answer.
    """
    # Where the broker did not say how far, everything that is there now is waited for.
    ends = tally.ends | {number: end_offset(settings, "calls.raw", number) for number in tally.unplaced}
    begun = time.monotonic()
    with Progress("in ClickHouse", tally.delivered) as progress:

        def tell(left: int) -> None:
            progress.update(max(0, tally.delivered - left), f"{left:,} positions on their way")

        missing = sum(wait_settled(settings, ends, timeout_s, tell).values())
    seconds = time.monotonic() - begun
    if missing:
        said = (
            f"{missing:,} positions are not in ClickHouse after {duration(1000 * seconds)}; "
            "`tokentrail doctor` says which stage is behind."
        )
    else:
        said = f"All of them are in ClickHouse, {duration(1000 * seconds)} after the last was acknowledged."
    return {"arrived": not missing, "missing": missing, "seconds": round(seconds, 3), "sentence": said}
