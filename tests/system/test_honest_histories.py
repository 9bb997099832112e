"""Whatever is done lawfully, in whatever order, `verify` has nothing to say; and one record's proof holds after it.

Four partitions, so four ledgers; what happens to them is drawn by a seed. `HISTORIES=10` in the environment tries ten.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from audit_samples import KEYS, NOW, call, feedback, one_of_each, stub
from sink_support import Sinks
from test_tampering import MODES, PRICES, Kept

from pipeline.audit import evidence, heads
from pipeline.audit.erasing import bare_row
from pipeline.audit.leaves import leaf
from pipeline.audit.partition import Scope as Looked
from pipeline.audit.retention import ends_at_ms
from pipeline.audit.rows import DAY_MS, week
from pipeline.audit.tables import OFFSET, RECEIVED_AT, RETENTION_DAYS, TABLES
from pipeline.control.holds import Placed, Released, placing, releasing, scope_of
from pipeline.pricing import Overrides, PriceBook
from pipeline.storage import anchors, reprice
from pipeline.storage.change import Wanted, change
from pipeline.storage.check import check
from pipeline.storage.evidence import gather
from pipeline.storage.expire import drop_expired
from pipeline.storage.repricings import Scope
from pipeline.transport.policies import append_control
from schemas.clean import Clean
from schemas.ledger import Cell, Change

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

# Texts of then have had their life now, and calls of then at the end; the engine's own TTL is not reached.
OLD = NOW - 10 * DAY_MS
TENANTS = ("acme", "beta")


class History:
    """One installation, and everything that may lawfully happen to it."""

    def __init__(self, sinks: Sinks, folder: Path, seed: int) -> None:
        self.sinks = sinks
        self.kept = Kept(sinks, folder)
        self.rng = random.Random(seed)
        self.next = dict.fromkeys(range(4), 0)
        self.requests = 0
        self.since: Any = None
        self.now_ms = NOW

    def send(self) -> None:
        """Records of every kind, old and new, of short and of long life."""
        for partition in range(4):
            for _ in range(self.rng.randrange(1, 4)):
                first = self.next[partition]
                records = self._records(first, partition)
                self.sinks.send(records, partition)
                self.next[partition] = records[-1].fact.next_offset

    def _records(self, first: int, partition: int) -> list[Clean]:
        kind = self.rng.randrange(4)
        if kind == 0:
            return one_of_each(first, partition=partition)
        if kind == 1:
            return [feedback(first, partition=partition), stub(first + 1, partition=partition)]
        how: dict[str, Any] = {
            "partition": partition,
            "received_at": self.rng.choice((OLD, NOW)),
            "days": self.rng.choice((30, 60)),
            "tenant": self.rng.choice(TENANTS),
            "text": self.rng.choice(("hello", None)),
        }
        return [call(offset, **how) for offset in range(first, first + self.rng.randrange(20, 90))]

    def settle(self) -> None:
        self.sinks.wait()

    def kill(self) -> None:
        """End the sink in the middle of its work, and start another."""
        process = self.sinks.processes["sink"]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.sinks.start()

    def expire(self) -> None:
        drop_expired(self.sinks.settings, self.sinks.client, 4, now_ms=self.now_ms)

    def erase(self) -> None:
        """Some rows are bared, some texts removed, as an erasure does; a row may be named twice."""
        self.requests += 1
        wanted = []
        for name in ("calls", "call_content", "feedback"):
            table = TABLES[name]
            for partition in range(4):
                rows = self.kept.rows(table, partition)
                for row in self.rng.sample(rows, min(len(rows), 3)):
                    after = bare_row(table, row)
                    cell = Cell(name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))
                    now = leaf(table, after).hex() if after is not None else ""
                    wanted.append(Wanted(partition, Change(cell, row[0], row[OFFSET], leaf(table, row).hex(), now)))
        settings, client = self.sinks.settings, self.sinks.client
        change(settings, client, self.kept.keys, 4, f"request-{self.requests}", "erasure", wanted)

    def hold(self) -> None:
        scope = scope_of(KEYS, self.rng.choice(TENANTS))
        append_control(self.sinks.settings, placing("h", Placed(scope.marked(KEYS), "suit", "legal"), 0))

    def release(self) -> None:
        append_control(self.sinks.settings, releasing("h", Released("settled", "legal"), 0))

    def reprice(self) -> None:
        book = PriceBook(Overrides(PRICES.replace("10.0", f"{self.rng.randrange(1, 90)}.5")))
        reprice.apply(self.sinks.settings, self.sinks.client, self.kept.keys, book, Scope())

    def keep(self) -> None:
        self.kept.keep()

    def later(self) -> None:
        """Time passes until old calls of short life have had it, and all texts."""
        self.now_ms = ends_at_ms(Cell("calls", 30, week(OLD)))

    def verify(self) -> None:
        """Whole, without Kafka, and what came since."""
        for how in MODES:
            assert self.kept.verify(**how).problems == ()
        scope = Looked(4, chain=True, since=self.since)
        report, self.since = check(self.sinks.settings, scope)
        assert report.problems == ()


@pytest.mark.parametrize("seed", range(int(os.environ.get("HISTORIES", "1"))))
def test_an_honest_history_has_no_problems(sinks: Sinks, tmp_path: Path, seed: int) -> None:
    history = History(sinks, tmp_path, seed)
    sinks.start()
    history.send()
    if seed == 0:
        history.kill()
    history.settle()
    history.keep()
    history.verify()
    history.hold()
    steps = [history.send, history.erase, history.reprice, history.expire, history.keep, history.erase]
    history.rng.shuffle(steps)
    for step in steps:
        step()
    history.settle()
    history.later()
    history.expire()
    history.keep()
    history.verify()
    history.send()
    history.settle()
    history.keep()
    history.verify()
    history.release()
    history.send()
    history.settle()
    history.expire()
    history.reprice()
    history.keep()
    history.verify()
    if seed == 0:
        _prove(history)


def _prove(history: History) -> None:
    """Records that stand, that were bared and whose text is gone can all be proved, by ClickHouse alone."""
    client, public = history.sinks.client, heads.public_key(history.kept.keys)
    known = [anchor for _, anchor in anchors.get(history.kept.folder) if anchor is not None]
    rows = [row for partition in range(4) for row in history.kept.rows(TABLES["calls"], partition)]
    bared = [row for row in rows if row[6] == ""]
    whole = [row for row in rows if row[6] != ""]
    assert bared and whole
    for row in (*bared[:3], *whole[:3], whole[-1]):
        found = gather(client, public, (row[0], row[1], row[OFFSET]), with_text=True, known=known)
        document = evidence.write(found)
        assert evidence.check(document, public).ok
        assert found.anchor is not None and len(document) < 400_000
        forged = msgspec.structs.replace(found, position=(row[0], row[1], row[OFFSET] + 1))
        assert not evidence.check(evidence.write(forged), public).ok
