"""Legal holds on real Kafka and ClickHouse: what is held outlives its partition once, whoever is killed when."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from audit_samples import KEYS, MONDAY, NOW, call
from pydantic import SecretStr
from sink_support import ROOT, Sinks

from agents.keeping.expiry import Expiry
from agents.keeping.job import Keeping
from infra.embedded.servers import read_secret
from pipeline.audit.retention import ends_at_ms
from pipeline.audit.rows import DAY_MS
from pipeline.audit.tables import CHAINED
from pipeline.control.holds import Placed, Released, Scope, placing, releasing, scope_of
from pipeline.settings import Settings
from pipeline.storage import expire as module
from pipeline.storage.client import Client, connect
from pipeline.storage.covered import PREFIX, UNCHAINED
from pipeline.storage.expire import Expired, cells, drop_expired
from pipeline.transport.policies import append_control
from schemas.clean import Clean
from schemas.ledger import Cell

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

JANE, JOE = "1" * 32, "2" * 32
TEXT, CALLS = Cell("call_content", 7, MONDAY), Cell("calls", 30, MONDAY)
LATER = ends_at_ms(CALLS)
AT_ONCE = {"mutations_sync": 1}


def of(user: str, offset: int, **more: Any) -> Clean:
    """A call of somebody."""
    clean = call(offset, **more)
    return msgspec.structs.replace(clean, fact=msgspec.structs.replace(clean.fact, user=user))


def place(sinks: Sinks, id: str, scope: Scope) -> None:
    append_control(sinks.settings, placing(id, Placed(scope.marked(KEYS), "suit", "legal"), 0))


def release(sinks: Sinks, id: str) -> None:
    append_control(sinks.settings, releasing(id, Released("settled", "legal"), 0))


def as_keep(sinks: Sinks) -> Settings:
    """The installation as the process `keep` sees it, with the rights that it has."""
    assert sinks.settings.data_dir is not None
    password = SecretStr(read_secret(sinks.settings.data_dir, "custodian"))
    return sinks.settings.model_copy(update={"clickhouse_user": "custodian", "clickhouse_password": password})


def expire(sinks: Sinks, now_ms: int) -> Expired:
    settings = as_keep(sinks)
    client = connect(settings)
    try:
        return drop_expired(settings, client, 4, now_ms=now_ms)
    finally:
        client.close()


def store(sinks: Sinks, records: Sequence[Clean], partition: int = 0) -> None:
    sinks.send(records, partition)
    if not sinks.processes:
        sinks.start()
    sinks.wait()


def positions(sinks: Sinks, table: str) -> list[int]:
    """Offsets of partition 0, each as often as it stands."""
    found = sinks.client.rows(f"SELECT offset FROM {sinks.client.database}.{table} WHERE partition = 0 ORDER BY offset")
    return [int(offset) for (offset,) in found]


def told_to_the_server(sinks: Sinks, value: str) -> tuple[int, int]:
    """In how many logged queries of `keep`, and in how many mutations, a value stands."""
    sinks.client.command("SYSTEM FLUSH LOGS")
    ((queries,),) = sinks.client.rows(
        f"SELECT count() FROM system.query_log WHERE user = 'custodian' AND position(query, '{value}') > 0"
    )
    ((mutations,),) = sinks.client.rows(f"SELECT count() FROM system.mutations WHERE position(command, '{value}') > 0")
    return int(queries), int(mutations)


def without_ttl(client: Client) -> None:
    """Switch the engine's own expiry off, so that nothing but ours can have dropped a row."""
    for table in (*CHAINED, *UNCHAINED):
        client.command(f"ALTER TABLE {client.database}.{table} REMOVE TTL")


def test_with_the_engine_ttl_off_expired_partitions_are_gone_and_nothing_else_and_a_hold_keeps_its_rows(
    sinks: Sinks,
) -> None:
    without_ttl(sinks.client)
    users = {offset: JANE if offset % 10 == 0 else JOE for offset in range(100)}
    store(sinks, [of(user, offset) for offset, user in users.items()])
    store(sinks, [of(JOE, offset, partition=1, tenant="beta") for offset in range(20)], 1)
    store(sinks, [call(offset, partition=2, days=90) for offset in range(30)], 2)
    place(sinks, "jane", scope_of(KEYS, "acme", user=JANE))
    place(sinks, "call", scope_of(KEYS, "acme", id=call(7).fact.id))
    place(sinks, "run", scope_of(KEYS, "acme", run=call(13).fact.run))
    place(sinks, "beta", scope_of(KEYS, "beta"))
    place(sinks, "some of beta", scope_of(KEYS, "beta", to_ms=NOW + 1))
    standing = cells(sinks.client)
    sinks.client.command(
        f"INSERT INTO {sinks.client.database}.windows (tenant, dimension, subject_key, subject, start, "
        f"revision, retention_days) VALUES ('acme', 'user', 'jane', {{'user': '{JANE}'}}, '{MONDAY}', 1, 30), "
        f"('acme', 'user', 'joe', {{'user': '{JOE}'}}, '{MONDAY}', 1, 30)"
    )
    assert expire(sinks, ends_at_ms(TEXT) - 1).dropped == (), "nothing goes before its time"

    done = expire(sinks, LATER)
    # The run has a call in partition 2 as well, whose row lives longer than its text.
    assert {each.cell: (each.rows, each.held) for each in done.dropped if each.cell.table in CHAINED} == {
        TEXT: (150, 33), CALLS: (120, 32),
    }  # fmt: skip
    left = {cell: rows for cell, rows in standing.items() if cell not in (TEXT, CALLS)}
    assert cells(sinks.client) == left and sum(left.values()) == 30, "nothing else has gone"
    for table in ("calls", "call_content"):
        kept = [offset for offset, user in users.items() if user == JANE or offset in (7, 13)]
        assert positions(sinks, PREFIX + table) == kept
    ((held,),) = sinks.client.rows(f"SELECT groupArray(subject) FROM {sinks.client.database}.held_windows")
    assert held == [{"user": JANE}]
    assert sinks.verify(settled=True).problems == ()

    assert expire(sinks, LATER + 400 * DAY_MS).released == {}, "for as long as it holds"
    release(sinks, "jane")
    release(sinks, "beta")
    assert expire(sinks, LATER).released == {"windows": 1, "calls": 10, "call_content": 10}, "another holds beta's"
    assert expire(sinks, LATER).released == {}
    assert positions(sinks, "held_calls") == positions(sinks, "held_call_content") == [7, 13]
    assert sinks.client.rows(f"SELECT count() FROM {sinks.client.database}.held_calls") == [(23,)]
    assert sinks.verify(settled=True).problems == ()

    assert told_to_the_server(sinks, JANE) == (0, 0), "nor do the server's own notes keep her pseudonym"

    # Who changes or removes what is held is named like anybody else.
    held_calls = f"ALTER TABLE {sinks.client.database}.held_calls"
    sinks.client.command(f"{held_calls} UPDATE model = 'other' WHERE offset = 7 AND partition = 0", settings=AT_ONCE)
    sinks.client.command(f"{held_calls} DELETE WHERE offset = 3 AND partition = 1", settings=AT_ONCE)
    assert {(one.kind, one.table, one.position) for one in sinks.verify(settled=True).problems} == {
        ("row_changed", "held_calls", "1/0/7"), ("row_missing", "held_calls", "1/1/3"),
    }  # fmt: skip


def test_a_run_that_is_killed_between_copy_and_drop_loses_and_doubles_nothing(sinks: Sinks) -> None:
    store(sinks, [of(JANE, offset) for offset in range(50)])
    place(sinks, "jane", scope_of(KEYS, "acme", user=JANE, to_ms=NOW + 1))
    killed = (
        "import os, signal; from pipeline.storage import expire, held; from pipeline.settings import Settings; "
        "from pipeline.storage.client import connect; "
        "expire._drop_parts = lambda *_: os.kill(os.getpid(), signal.SIGKILL); "
        f"s = Settings(); expire.drop_expired(s, connect(s), 4, now_ms={LATER})"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", killed], env=sinks.environment(), cwd=ROOT, timeout=60, check=False
        )
        assert done.returncode == -9
        assert len(positions(sinks, "call_content")) == len(positions(sinks, "held_call_content")) == 50
        assert sinks.verify().problems == ()
    # The server may die in the middle of a copy, too.
    sinks.client.command(
        f"ALTER TABLE {sinks.client.database}.held_call_content DELETE WHERE offset < 20",
        settings=AT_ONCE,
    )
    expire(sinks, LATER)
    assert positions(sinks, "held_calls") == positions(sinks, "held_call_content") == list(range(50))
    assert cells(sinks.client) == {}
    assert sinks.verify(settled=True).problems == ()


def test_a_run_that_slept_through_the_end_of_a_cell_drops_nothing_that_came_since(
    sinks: Sinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped is a zombie: it goes on as if no time had passed."""
    now = int(time.time() * 1000)
    old = now - 40 * DAY_MS
    store(sinks, [call(offset, received_at=old, text=None) for offset in range(50)])
    asleep, wake = threading.Event(), threading.Event()
    drop = module._drop_parts
    zombies: list[threading.Thread] = []

    def sleeping(*arguments: Any) -> None:
        if threading.current_thread() in zombies:
            asleep.set()
            assert wake.wait(60)
        drop(*arguments)

    monkeypatch.setattr(module, "_drop_parts", sleeping)
    zombies.append(threading.Thread(target=expire, args=(sinks, now)))
    zombies[0].start()
    assert asleep.wait(60)
    Expiry().run(Keeping(sinks.settings, sinks.client, KEYS, 4))
    assert positions(sinks, "calls") == []
    store(sinks, [call(offset, received_at=old, text=None) for offset in range(50, 60)])
    wake.set()
    zombies[0].join(60)
    assert positions(sinks, "calls") == list(range(50, 60))
    assert sinks.verify(settled=True).problems == ()


def test_every_table_that_expires_has_one_for_what_is_held_without_a_life_of_its_own(clickhouse: Client) -> None:
    def columns(name: str) -> list[tuple[Any, ...]]:
        # What the server computes from other columns need not be copied.
        return clickhouse.rows(
            "SELECT name, type, default_kind, default_expression FROM system.columns WHERE database = {db:String} "
            "AND table = {table:String} AND name NOT IN ('hold', 'held_at') AND default_kind != 'MATERIALIZED' "
            "ORDER BY name",
            {"db": clickhouse.database, "table": name},
        )

    for table in (*CHAINED, *UNCHAINED):
        assert columns(PREFIX + table) == columns(table) != []
        ((engine,),) = clickhouse.rows(
            "SELECT engine_full FROM system.tables WHERE database = {db:String} AND name = {table:String}",
            {"db": clickhouse.database, "table": PREFIX + table},
        )
        assert "TTL" not in engine and engine.startswith("MergeTree")
