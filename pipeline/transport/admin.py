"""Create the topics of the contract and keep the epoch registry.

Never alters the partitions of a topic that is there.
"""

from __future__ import annotations

from pipeline.settings import Settings


def migrate_topics(settings: Settings) -> list[str]:
    """Create what is missing and register new incarnations; returns one sentence for each thing done. Blocking."""
    raise NotImplementedError


class Epochs:
    """Ordinals of topic incarnations, from 1, by the `epoch` controls that `migrate_topics` wrote."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def current(self, topic: str) -> int:
        """Ordinal of the incarnation that is there now; `topic` is the logical name.

        Raises:
            UnknownEpochError: The topic is not in the registry.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Compare the topics' ids with the registry. Blocking.

        Raises:
            UnknownEpochError: A topic's id is not the registered one.
        """
        raise NotImplementedError
