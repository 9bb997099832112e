"""Migrations on the real engine: applied once, never changed, and equal to what rows and leaves assume."""

from __future__ import annotations

import pytest

from pipeline.audit.tables import TABLES
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.storage import migrate as module
from pipeline.storage.client import Client
from pipeline.storage.migrate import Migration, migrate, migrations
from pipeline.storage.native import type_of

pytest_plugins = ["storage_support"]
pytestmark = pytest.mark.system


def test_a_second_run_does_nothing(clickhouse: Client, storage_settings: Settings) -> None:
    assert migrate(storage_settings, client=clickhouse) == []


def test_every_file_is_told_before_it_is_applied(clickhouse: Client, storage_settings: Settings) -> None:
    clickhouse.command(f"DROP DATABASE {clickhouse.database} SYNC")
    told: list[tuple[int, int, str]] = []
    done = migrate(storage_settings, lambda *step: told.append(step), client=clickhouse)
    files = migrations()
    assert told == [(number, len(files), file.name) for number, file in enumerate(files)]
    assert len(done) == len(files) >= 4


def test_a_changed_applied_file_is_an_error(
    clickhouse: Client, storage_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = migrations()
    changed = Migration(first.version, first.name, first.text + "\n-- a late thought\n")
    monkeypatch.setattr(module, "migrations", lambda: [changed, *others])
    with pytest.raises(UsageError, match="has changed since it was applied"):
        migrate(storage_settings, client=clickhouse)


def test_a_database_of_a_newer_version_is_an_error(
    clickhouse: Client, storage_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    *known, _ = migrations()
    monkeypatch.setattr(module, "migrations", lambda: known)
    with pytest.raises(UsageError, match="does not know"):
        migrate(storage_settings, client=clickhouse)


def test_a_crash_between_a_statement_and_its_record_is_repaired_by_running_again(
    clickhouse: Client, storage_settings: Settings
) -> None:
    last = migrations()[-1]
    clickhouse.command(
        f"ALTER TABLE {clickhouse.database}.schema_migrations DELETE WHERE version = {last.version}",
        settings={"mutations_sync": 1},
    )
    assert migrate(storage_settings, client=clickhouse) == [f"applied {last.name} to {clickhouse.database}"]


@pytest.mark.parametrize("name", TABLES)
def test_the_declared_columns_are_the_columns_of_the_table(clickhouse: Client, name: str) -> None:
    stored = clickhouse.rows(
        "SELECT name, type FROM system.columns WHERE database = {db:String} AND table = {table:String} "
        "AND default_kind = '' ORDER BY position",
        {"db": clickhouse.database, "table": name},
    )
    assert stored == [(column.name, type_of(column)) for column in TABLES[name].columns]


@pytest.mark.parametrize("name", TABLES)
def test_chained_tables_are_durable_partitioned_by_life_and_show_the_retention_date(
    clickhouse: Client, name: str
) -> None:
    ((engine, partition_key, sorting_key),) = clickhouse.rows(
        "SELECT engine_full, partition_key, sorting_key FROM system.tables "
        "WHERE database = {db:String} AND name = {table:String}",
        {"db": clickhouse.database, "table": name},
    )
    assert partition_key == "(retention_days, toMonday(received_at))"
    assert sorting_key.startswith("tenant") and sorting_key.endswith("epoch, partition, offset")
    for setting in (
        "fsync_after_insert = 1",
        "fsync_part_directory = 1",
        "non_replicated_deduplication_window = 10000",
        "ttl_only_drop_parts = 1",
    ):
        assert setting in engine
    assert clickhouse.rows(
        "SELECT default_kind FROM system.columns WHERE database = {db:String} AND table = {table:String} "
        "AND name = 'retention_date'",
        {"db": clickhouse.database, "table": name},
    ) == [("MATERIALIZED",)]


def test_every_view_can_be_asked(clickhouse: Client) -> None:
    views = clickhouse.rows(
        "SELECT name FROM system.tables WHERE database = {db:String} AND engine = 'View'", {"db": clickhouse.database}
    )
    assert {name for (name,) in views} >= {
        "cost_by_tenant",
        "cost_by_feature_daily",
        "latency_by_model_hourly",
        "calls_by_id",
        "producer_loss",
    }
    for (name,) in views:
        assert clickhouse.rows(f"SELECT * FROM {clickhouse.database}.{name} LIMIT 1") == []
