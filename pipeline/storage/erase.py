"""Erase a subject: wait until every sink knows the request, change its rows lawfully, clear the rest, write a receipt.

The first sweep takes what stands; what was in flight, or came back, is taken by the last, when Kafka has forgotten the
subject. Every step can be ended and run again. Blocking.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Literal

import msgspec

from pipeline.control.erasures import Request
from pipeline.control.holds import Holds
from pipeline.errors import RetryableError
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.storage.change import Changed, change, finish
from pipeline.storage.client import Client
from pipeline.storage.ledgers import Ledger
from pipeline.storage.leftovers import Leftovers
from pipeline.storage.subject import RECORDS, Subject
from pipeline.transport.admin import Epochs
from pipeline.transport.erasures import longest_life_ms
from pipeline.transport.tail import Reader

Progress = Callable[[int, int, str], None]
StepName = Literal["found", "first", "again", "done"]

# A silent partition is accounted for once a minute, and so is what its sink knows.
PATIENCE_S: Final = 90.0
LOOK_S: Final = 0.2

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a receipt; times are milliseconds since 1970.

    Attributes:
        step: `found`: what to change is known; `first`: what stood is erased; `done`: nothing is left anywhere;
            `again`: as done, but a legal hold keeps rows.
        at: When it was finished.
        due_at: When Kafka will have forgotten the subject.
        rows: Changed or removed, by table.
        held: Rows that a legal hold keeps.
        not_cleared: Logs of the server that it did not let us clear.
        batches: (partition, ledger offset) of the records that name what was changed.
        related: Keyed hashes of what the changed records were tied to.
        engine: What did it.
    """

    step: StepName
    at: int
    due_at: int
    rows: dict[str, int]
    held: int
    not_cleared: tuple[str, ...]
    batches: tuple[tuple[int, int], ...]
    related: tuple[str, ...]
    engine: str


@dataclass(frozen=True, slots=True)
class Eraser:
    """What erases: an installation, a connection that may change rows and clear logs, and the holds to respect."""

    settings: Settings
    client: Client
    keys: Keys
    partitions: int
    holds: Holds

    def sweep(
        self, request: Request, *, last: bool, patience_s: float = PATIENCE_S, progress: Progress | None = None
    ) -> Step:
        """Erase what there is of a subject and write that down.

        Args:
            request: Whom.
            last: Whether Kafka has forgotten the subject, so that nothing can come after.
            patience_s: How long to wait for sinks.
            progress: Called with (rows done, rows in all, table).

        Raises:
            RetryableError: Something does not answer, or a sink does not know the request yet. The request stands, and
                the next sweep goes on.
        """
        finish(self.settings, self.client, self.keys, self.partitions)
        self._wait_adopted(request, patience_s)
        before = steps(self.client, request.id)
        related = {mark for step in before for mark in step.related}
        body = request.body
        subject = Subject(self.client, self.keys, body.tenant, body.kind, body.hashes, related)
        places = subject.places()
        if set(subject.related) - related:
            # Before anything is changed: what the rows were tied to cannot be read from bare ones.
            self._write(request, "found", Changed(), related=sorted(set(subject.related) - related))
        wanted = list(subject.wanted(places, self.holds))
        held = wanted.count(None)
        due = [each for each in wanted if each is not None]
        left = Leftovers(self.client, subject)
        changed = Changed()
        if due:
            arguments = (self.settings, self.client, self.keys, self.partitions, request.id)
            changed = change(*arguments, "erasure", due, progress)
        if not held:
            changed.rows.update(left.clear_findings())
        logs, not_cleared = left.clear_logs()
        changed.rows.update({f"system.{name}": rows for name, rows in logs.items()})
        held += self._kept_elsewhere(subject)
        self._wait_removed(left, patience_s if last else 0.0, must=last)
        step: StepName = "first" if not last else "again" if held else "done"
        return self._write(request, step, changed, held=held, not_cleared=not_cleared)

    def _wait_adopted(self, request: Request, patience_s: float) -> None:
        """Until no sink can put a row of the subject's into the tables any more that is not bare.

        A partition is through when its ledger counts the request, or when all that its raw log held is done.
        """
        deadline = time.monotonic() + patience_s
        epochs = Epochs(self.settings)
        epochs.check()
        epoch = epochs.current("calls.raw")
        with Reader(self.settings) as reader:
            ends = [reader.bounds("calls.raw", number)[1] for number in range(self.partitions)]
            waiting = [Ledger(reader, number) for number in range(self.partitions)]
            while True:
                for ledger in waiting:
                    ledger.catch_up()
                waiting = [ledger for ledger in waiting if not _is_through(ledger, request.number, (epoch, ends))]
                if not waiting:
                    return
                if time.monotonic() > deadline:
                    break
                time.sleep(LOOK_S)
        numbers = ", ".join(str(ledger.partition) for ledger in waiting)
        raise RetryableError(
            f"The sink of partition {numbers} has not taken request {request.id} in within {patience_s:.0f} s. "
            "The request stands. Is the sink running? `tokentrail erase resume` goes on, and so does `keep`."
        )

    def _wait_removed(self, left: Leftovers, patience_s: float, *, must: bool) -> None:
        """Until what was changed is off the disk, too."""
        deadline = time.monotonic() + patience_s
        while count := left.old_parts():
            if time.monotonic() > deadline:
                if must:
                    raise RetryableError(
                        f"ClickHouse keeps {count} parts of before the change on its disk (`old_parts_lifetime`, or a "
                        "query that reads them). The sweep is made again, and said to be done when they are gone."
                    )
                return
            time.sleep(5 * LOOK_S)

    def _kept_elsewhere(self, subject: Subject) -> int:
        """Rows of the subject's that outlive their cell under a hold."""
        return sum(subject.count(f"held_{name}") for name in RECORDS)

    def _write(
        self,
        request: Request,
        step: StepName,
        changed: Changed,
        *,
        held: int = 0,
        not_cleared: Sequence[str] = (),
        related: Sequence[str] = (),
    ) -> Step:
        at = self.client.now_ms()
        due_at = request.asked_at + longest_life_ms(self.settings)
        ((server,),) = self.client.rows("SELECT version()")
        engine = f"tokentrail {version('tokentrail-pipeline')}, ClickHouse {server}"
        row: dict[str, Any] = {
            "request": request.id,
            "tenant": request.body.tenant,
            "kind": request.body.kind,
            "asked_at": _time(request.asked_at),
            "asked_by": request.by,
            "reason": request.body.reason,
            "step": step,
            "at": _time(at),
            "due_at": _time(due_at),
            "rows": changed.rows,
            "held": held,
            "not_cleared": not_cleared,
            "batches": [{"partition": partition, "ledger_offset": offset} for partition, offset in changed.batches],
            "related": related,
            "engine": engine,
        }
        sql = f"INSERT INTO {self.client.database}.erasures FORMAT JSONEachRow"
        self.client.send(sql, _encode(row), {})
        return Step(
            step, at, due_at, changed.rows, held, tuple(not_cleared), tuple(changed.batches), tuple(related), engine
        )


def _is_through(ledger: Ledger, number: int, raw: tuple[int, Sequence[int]]) -> bool:
    epoch, ends = raw
    end, state = ends[ledger.partition], ledger.state
    return ledger.erasures >= number or end == 0 or (state.open is None and (state.epoch, state.next) >= (epoch, end))


def steps(client: Client, request: str) -> list[Step]:
    """What was done for a request until now, in order.

    Raises:
        ClickHouseError: The server does not answer.
    """
    found = client.rows(
        "SELECT step, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(due_at), rows, held, not_cleared, batches, "
        f"related, engine FROM {client.database}.erasures WHERE request = {{request:String}} ORDER BY at",
        {"request": request},
    )
    return [
        Step(
            step,
            int(at),
            int(due_at),
            {name: int(count) for name, count in rows.items()},
            int(held),
            tuple(not_cleared),
            tuple((int(partition), int(offset)) for partition, offset in map(_pair, batches)),
            tuple(related),
            engine,
        )
        for step, at, due_at, rows, held, not_cleared, batches, related, engine in found
    ]


def _pair(batch: Any) -> tuple[Any, Any]:
    """A named tuple as the driver gives it."""
    return (batch["partition"], batch["ledger_offset"]) if isinstance(batch, dict) else tuple(batch)


def _time(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"
