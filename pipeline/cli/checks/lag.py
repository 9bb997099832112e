"""How far each stage is behind, and how long until what it has not read is deleted (time to loss)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import OffsetSpec

from pipeline.cli.checks import Finding, fail, ok, warn
from pipeline.cli.checks.kafka import ANSWER_S, REQUEST_S, admin
from pipeline.cli.marks import SinkMarks
from pipeline.cli.times import duration
from pipeline.transport.tail import Reader
from schemas.topics import BY_NAME

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

    from pipeline.settings import Settings

# What each stage reads; a test holds it against the stages.
SOURCES: Final = {
    "measure": "calls.raw",
    "redact": "calls.raw",
    "sink": "calls",
    "guard": "facts",
    "meter": "facts",
    "judge": "partials",
    "act": "anomalies",
}
# Being behind for less is everyday.
BEHIND_MS: Final = 60_000
# Share of a topic's life that may be used up before somebody should look, and before it is urgent.
EARLY, LATE = 0.25, 0.75


@dataclass(frozen=True, slots=True)
class Lag:
    """One stage on one partition.

    Attributes:
        records: Not worked off yet; ticks count.
        age_ms: How long the oldest of them has waited.
        lost: Records that were deleted before the stage read them.
    """

    stage: str
    partition: int
    records: int
    age_ms: int
    lost: int = 0


def lags(settings: Settings) -> Iterator[Finding]:
    """One finding a stage."""
    client = admin(settings)
    with Reader(settings) as reader:
        for stage, source in SOURCES.items():
            yield judged(stage, source, list(_of_stage(settings, client, reader, stage, source)))


def sink_marks(settings: Settings) -> Iterator[Finding]:
    """How far rows are behind the raw topic, by the ledger, which is the truth."""
    client = admin(settings)
    behind, owed = {}, []
    with SinkMarks(settings) as marks:
        for number, (_, end) in sorted(_bounds(client, settings.topic("calls.raw")).items()):
            state = marks.look(number)
            behind[number] = max(0, end - state.next)
            if state.open is not None:
                owed.append(number)
    counts = ", ".join(f"{count:,}" for count in behind.values())
    said = f"Rows are {counts} positions (ticks too) behind the raw topic, by partition"
    yield ok("ledger", said + (f"; ranges are open in {owed}." if owed else "."))


def _of_stage(settings: Settings, client: AdminClient, reader: Reader, stage: str, source: str) -> Iterator[Lag]:
    group, topic = settings.group(stage), settings.topic(source)
    asked = [ConsumerGroupTopicPartitions(group)]
    found = client.list_consumer_group_offsets(asked, request_timeout=REQUEST_S)[group].result(ANSWER_S)
    committed = {place.partition: place.offset for place in found.topic_partitions if place.topic == topic}
    now_ms = time.time_ns() // 1_000_000
    for number, (start, end) in sorted(_bounds(client, topic).items()):
        place = max(0, committed.get(number, 0))
        lost = max(0, start - place) if place or number in committed else 0
        age_ms = 0
        if max(place, start) < end:
            record = next(iter(reader.read(source, number, max(place, start), max(place, start) + 1)), None)
            age_ms = max(0, now_ms - record.timestamp) if record else 0
        yield Lag(stage, number, end - max(place, start), age_ms, lost)


def judged(stage: str, source: str, found: list[Lag]) -> Finding:
    """What the lags of one stage amount to."""
    part = f"lag {stage}"
    said = ", ".join(f"{lag.partition}: {lag.records:,}" for lag in found)
    oldest = max((lag.age_ms for lag in found if lag.records), default=0)
    waits = f"; the oldest has waited {duration(oldest)}" if oldest > 2_000 else ""
    lost, life_ms = sum(lag.lost for lag in found), BY_NAME[source].retention_ms
    if lost:
        return fail(
            part,
            f"{lost:,} records of {source} were deleted before {stage} had read them ({said}).",
            "They become proven gaps. Start more workers of this stage, or give the topic a longer life.",
        )
    used = oldest / life_ms if life_ms > 0 else 0.0
    left = f", and {duration(life_ms - oldest)} are left until it is deleted" if life_ms > 0 else ""
    if used >= EARLY:
        make = fail if used >= LATE else warn
        return make(part, f"{said}{waits}{left}.", f"Start more workers: `tokentrail worker --stage {stage}`.")
    if oldest > BEHIND_MS:
        return warn(
            part, f"{said}{waits}{left}.", f"See its log; more workers help: `tokentrail worker --stage {stage}`."
        )
    return ok(part, f"{said} records by partition{waits}.")


def deadletters(settings: Settings) -> Iterator[Finding]:
    """How many records could not be used."""
    client = admin(settings)
    count = sum(end for _, end in _bounds(client, settings.topic("deadletter")).values())
    if count:
        yield warn("dead letters", f"{count:,} so far.", "`tokentrail query dead-letters` says which and why.")
    else:
        yield ok("dead letters", "none.")


def _bounds(client: AdminClient, topic: str) -> dict[int, tuple[int, int]]:
    """Log start and log end of every partition; one request for all is quicker than one for each."""
    places = [
        TopicPartition(topic, number)
        for number in client.list_topics(topic, timeout=REQUEST_S).topics[topic].partitions
    ]

    def ask(which: OffsetSpec) -> dict[int, int]:
        answers = client.list_offsets(dict.fromkeys(places, which), request_timeout=REQUEST_S)
        return {place.partition: answer.result(ANSWER_S).offset for place, answer in answers.items()}

    starts, ends = ask(OffsetSpec.earliest()), ask(OffsetSpec.latest())
    return {number: (starts[number], ends[number]) for number in starts}
