"""Topics: their names, partition rule, life and settings. Knows no client; `pipeline.transport` creates them.

A topic is named by its logical name (`calls.raw`); the physical name adds the configurable prefix (`llm.`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000

EVENT_SCHEMA: Final = "tokentrail.event.v1"
FACT_SCHEMA: Final = "tokentrail.fact.v1"
CLEAN_SCHEMA: Final = "tokentrail.clean.v1"
ANOMALY_SCHEMA: Final = "tokentrail.anomaly.v1"
CONTROL_SCHEMA: Final = "tokentrail.control.v1"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the contract.

    Attributes:
        name: Logical name, without the prefix.
        spread: True when it has as many partitions as `calls.raw` and keeps their numbers; False for one partition.
        retention_ms: Life of a record; -1 for ever.
        settings: Further Kafka topic settings.
    """

    name: str
    spread: bool
    retention_ms: int
    settings: dict[str, str] = field(default_factory=dict)


# A raw record may be up to 1 MiB; its clean record up to twice that, because replacements can be longer than the value.
RAW_MAX_BYTES: Final = 1_048_576
CLEAN_MAX_BYTES: Final = 2 * RAW_MAX_BYTES + 65_536

TOPICS: Final[tuple[Topic, ...]] = (
    Topic(
        "calls.raw",
        True,
        7 * DAY_MS,
        {
            "message.timestamp.type": "LogAppendTime",
            "segment.ms": str(HOUR_MS),
            "max.message.bytes": str(RAW_MAX_BYTES + 65_536),
        },
    ),
    Topic("facts", True, 7 * DAY_MS, {"max.message.bytes": str(RAW_MAX_BYTES)}),
    Topic("calls", True, 7 * DAY_MS, {"max.message.bytes": str(CLEAN_MAX_BYTES)}),
    Topic("ledger", True, -1, {"max.message.bytes": str(RAW_MAX_BYTES)}),
    Topic("partials", False, 8 * DAY_MS, {"max.message.bytes": str(RAW_MAX_BYTES)}),
    Topic("windows", False, 7 * DAY_MS, {"max.message.bytes": str(RAW_MAX_BYTES)}),
    Topic("snapshots", True, 30 * DAY_MS, {"max.message.bytes": str(RAW_MAX_BYTES)}),
    Topic("anomalies", False, 30 * DAY_MS),
    Topic("controls", False, -1, {"cleanup.policy": "compact"}),
    Topic("deadletter", False, 30 * DAY_MS),
)

BY_NAME: Final = {topic.name: topic for topic in TOPICS}
