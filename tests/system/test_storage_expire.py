"""Retention on real Kafka and ClickHouse: what has had its life goes, nothing else, and `verify` knows why."""

from __future__ import annotations

import pytest
from audit_samples import MONDAY, NOW, call
from sink_support import Sinks

from pipeline.audit.retention import ends_at_ms
from pipeline.audit.rows import DAY_MS, week
from pipeline.storage.expire import cells, drop_expired
from schemas.ledger import Cell

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

# The whole week of it had its 30 days at `NOW`; the engine's margin of two weeks is not over.
OLD = NOW - 33 * DAY_MS


def expire(sinks: Sinks, now_ms: int) -> dict[Cell, int]:
    found = drop_expired(sinks.settings, sinks.client, 4, now_ms=now_ms)
    return {dropped.cell: dropped.rows for dropped in found.dropped}


def test_an_expired_partition_is_dropped_and_only_that_one(honest: Sinks) -> None:
    text = Cell("call_content", 7, MONDAY)
    before = cells(honest.client)
    assert text in before and len(before) > 4
    assert expire(honest, ends_at_ms(text) - 1) == {}
    assert cells(honest.client) == before
    told: list[tuple[int, int, str]] = []
    done = drop_expired(
        honest.settings, honest.client, 4, now_ms=ends_at_ms(text), progress=lambda *step: told.append(step)
    )
    assert [(one.cell, one.rows) for one in done.dropped] == [(text, before[text])]
    assert told == [(0, 1, str(text))]
    assert cells(honest.client) == {cell: rows for cell, rows in before.items() if cell != text}
    report = honest.verify(settled=True)
    assert report.problems == ()
    assert sum(partition.expired_rows for partition in report.partitions) == before[text]


def test_while_it_works_a_running_sink_loses_nothing_and_puts_nothing_into_what_goes(sinks: Sinks) -> None:
    sinks.start()
    sinks.send([call(offset, received_at=OLD, text=None) for offset in range(100)])
    sinks.wait()
    sinks.send([call(offset, text=None) for offset in range(100, 300)])
    assert sum(expire(sinks, NOW).values()) == 100
    sinks.send([call(offset, text=None) for offset in range(300, 500)])
    sinks.wait()
    assert sinks.counts()["calls"] == 400
    # Records that come when their time is already over are stored, and go with the next run.
    sinks.send([call(offset, received_at=OLD, text=None) for offset in range(500, 510)])
    sinks.wait()
    assert sinks.counts()["calls"] == 410
    assert sinks.verify().problems == ()
    assert sum(expire(sinks, NOW).values()) == 10
    assert sinks.verify().problems == ()


def test_a_run_that_was_ended_in_the_middle_is_finished_by_the_next(
    sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks.send([call(offset, received_at=OLD, text=None) for offset in range(100)])
    sinks.start()
    sinks.wait()
    for ended_at in ("before the drop", "after the drop"):
        with monkeypatch.context() as patch:
            _end(patch, ended_at)
            with pytest.raises(KeyboardInterrupt):
                expire(sinks, NOW)
        assert sinks.verify().problems == ()
    assert list(expire(sinks, NOW)) == [Cell("calls", 30, week(OLD))]
    assert sinks.ledger().state.expiring == ()
    assert sinks.verify().problems == ()


def _end(patch: pytest.MonkeyPatch, where: str) -> None:
    from pipeline.storage import expire as module

    drop = module._drop_parts

    def ending(*arguments: object) -> None:
        if where == "after the drop":
            drop(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    patch.setattr(module, "_drop_parts", ending)
