"""The installation's identity in ClickHouse: registered with the tables, compared by every stage that writes rows."""

from __future__ import annotations

from pipeline.identity import Identity, of, require_same
from pipeline.settings import Settings
from pipeline.storage.client import ClickHouseError, Client

_NOT_MIGRATED = (60, 81)  # no such table, no such database


def register(settings: Settings, client: Client) -> None:
    """Write down whose tables these are, if nobody has.

    Raises:
        UsageError: They are another installation's.
        ClickHouseError: The server refused it.
    """
    own, there = of(settings), _registered(client)
    if there is not None:
        require_same(there, own, _where(settings))
        if there.key or not own.key:
            return
    client.command(
        f"INSERT INTO {client.database}.installation (environment, key) VALUES ({{name:String}}, {{key:String}})",
        {"name": own.environment, "key": own.key},
    )


def check(settings: Settings, client: Client) -> None:
    """Compare the settings with what is registered; what is not migrated yet is nobody else's.

    Raises:
        UsageError: The tables are another installation's.
        ClickHouseError: The server cannot be asked.
    """
    try:
        there = _registered(client)
    except ClickHouseError as error:
        if error.code in _NOT_MIGRATED:
            return
        raise
    if there is not None:
        require_same(there, of(settings), _where(settings))


def _where(settings: Settings) -> str:
    return f"ClickHouse at {settings.clickhouse_host} with the database {settings.database}"


def _registered(client: Client) -> Identity | None:
    sql = f"SELECT environment, key FROM {client.database}.installation ORDER BY registered_at DESC LIMIT 1"
    rows = client.rows(sql)
    return Identity(str(rows[0][0]), str(rows[0][1])) if rows else None
