"""What a job of `keep` is given, and what it has to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.storage.client import Client


@dataclass(frozen=True)
class Keeping:
    """The installation that is kept.

    Attributes:
        settings: Which Kafka, which ClickHouse.
        client: A connection that may drop partitions and change rows.
        keys: The key store.
        partitions: How many partitions the raw topic and the ledger have.
    """

    settings: Settings
    client: Client
    keys: Keys
    partitions: int


class Job(Protocol):
    """A periodic job. Blocking; it is run again after `every_s`, or soon after a failure."""

    @property
    def name(self) -> str:
        """For logs and metrics."""

    @property
    def every_s(self) -> float:
        """Seconds between two runs."""

    def run(self, at: Keeping) -> None:
        """Do what is due.

        Raises:
            TokentrailError: It could not be done; told, counted and tried again.
        """
