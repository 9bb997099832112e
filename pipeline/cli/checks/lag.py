"""How far each stage is behind, and how long until what it has not read is deleted (time to loss)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pipeline.cli.checks import Finding, fail, ok, warn
from pipeline.cli.checks.kafka import admin
from pipeline.cli.marks import SinkMarks
from pipeline.cli.times import duration
from pipeline.transport.losses import SOURCES, Lag, bounds, lives, urgency
from pipeline.transport.losses import lags as lags_of
from schemas.topics import BY_NAME

if TYPE_CHECKING:
    from pipeline.settings import Settings

# Being behind for less is everyday: the sink accounts for silence once a minute.
BEHIND_MS: Final = 90_000


def lags(settings: Settings) -> Iterator[Finding]:
    """One finding a stage."""
    client = admin(settings)
    life_ms = lives(settings, client)
    for (stage, source), found in lags_of(settings, client).items():
        yield judged(stage, source, found, life_ms[source])


def sink_marks(settings: Settings) -> Iterator[Finding]:
    """How far rows are behind the raw topic, by the ledger, which is the truth."""
    client = admin(settings)
    behind, owed = {}, []
    with SinkMarks(settings) as marks:
        for number, (_, end) in sorted(bounds(client, settings.topic("calls.raw")).items()):
            state = marks.look(number)
            behind[number] = max(0, end - state.next)
            if state.open is not None:
                owed.append(number)
    counts = ", ".join(f"{count:,}" for count in behind.values())
    said = f"Rows are {counts} positions (ticks too) behind the raw topic, by partition"
    yield ok("ledger", said + (f"; ranges are open in {owed}." if owed else "."))


def judged(stage: str, source: str, found: list[Lag], life_ms: int | None = None) -> Finding:
    """What the lags of one stage amount to; the topic's life is the contract's unless `life_ms` says otherwise."""
    part = f"lag {stage}" if SOURCES.get(stage) == source else f"lag {stage} {source}"
    said = ", ".join(f"{lag.partition}: {lag.records:,}" for lag in found)
    oldest = max((lag.age_ms for lag in found if lag.records), default=0)
    waits = f"; the oldest has waited {duration(oldest)}" if oldest > 2_000 else ""
    lost = sum(lag.lost for lag in found)
    life_ms = BY_NAME[source].retention_ms if life_ms is None else life_ms
    if lost:
        return fail(
            part,
            f"{lost:,} records of {source} were deleted before {stage} had read them ({said}).",
            "They become proven gaps. Start more workers of this stage, or give the topic a longer life.",
        )
    left = f", and {duration(life_ms - oldest)} are left until it is deleted" if life_ms > 0 else ""
    if (urgent := urgency(oldest, life_ms)) != "none":
        make = fail if urgent == "late" else warn
        return make(part, f"{said}{waits}{left}.", f"Start more workers: `tokentrail worker --stage {stage}`.")
    if oldest > BEHIND_MS:
        return warn(
            part, f"{said}{waits}{left}.", f"See its log; more workers help: `tokentrail worker --stage {stage}`."
        )
    return ok(part, f"{said} records by partition{waits}.")


def deadletters(settings: Settings) -> Iterator[Finding]:
    """How many records could not be used."""
    client = admin(settings)
    count = sum(end for _, end in bounds(client, settings.topic("deadletter")).values())
    if count:
        todo = "`tokentrail query dead-letters` says which and why, `tokentrail replay --dry-run` which can be saved."
        yield warn("dead letters", f"{count:,} so far.", todo)
    else:
        yield ok("dead letters", "none.")
