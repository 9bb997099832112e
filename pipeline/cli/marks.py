"""How far the sink is: the mark of every partition, folded from the end of `llm.ledger`. Reads only."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from pipeline.audit.ledger import Follower
from pipeline.transport.tail import Reader

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from schemas.ledger import State

LEDGER: Final = "ledger"


class SinkMarks:
    """Follows the ledger of all partitions; the first look reads its tail, later ones what came since."""

    def __init__(self, settings: Settings) -> None:
        self._reader = Reader(settings)
        self._followers: dict[int, Follower] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, error, trace)

    def look(self, partition: int) -> State:
        """The folded state of a partition as of now; `epoch`, `next` is the source position that comes next.

        Raises:
            RetryableError: Kafka does not answer.
        """
        start, end = self._reader.bounds(LEDGER, partition)
        follower = self._followers.get(partition) or self._begin(partition, start, end)
        for record in self._reader.read(LEDGER, partition, follower.end, end):
            follower.fold(record.offset, record.value or b"")
        self._followers[partition] = follower
        return follower.state

    def _begin(self, partition: int, start: int, end: int) -> Follower:
        """A follower at the state that the last readable record carries, else at the beginning."""
        if end > start:
            for record in self._reader.read(LEDGER, partition, end - 1, end):
                follower = Follower.from_tail(partition, record.value or b"")
                if follower is not None:
                    return follower
        return Follower(partition, end=start)
