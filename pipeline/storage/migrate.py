"""Bring the database to the state of the numbered .sql files, once each; a second run does nothing.

An applied file must never change: what it did is done, and a change belongs into a file of its own. Every statement
can be repeated (IF NOT EXISTS, OR REPLACE), because a crash can fall between a statement and its record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Final

from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.storage.client import Client, connect
from pipeline.storage.identity import register

_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; `checksum` is SHA-256 over its text as it stands in the repository."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal digits."""
        return sha256(self.text.encode()).hexdigest()

    def statements(self, database: str) -> list[str]:
        """The statements, with the database's name filled in and comments taken out."""
        lines = [line for line in self.text.splitlines() if not line.lstrip().startswith("--")]
        parts = "\n".join(lines).replace("{database}", database).split(";\n")
        return [part.strip().rstrip(";") for part in parts if part.strip().rstrip(";")]


def migrations() -> list[Migration]:
    """All migrations of this version, in order."""
    found = [
        Migration(int(match.group(1)), file.name, file.read_text("utf-8"))
        for file in resources.files("schemas").joinpath("migrations").iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    return sorted(found, key=lambda migration: migration.version)


def migrate(settings: Settings, progress: Progress | None = None, *, client: Client | None = None) -> list[str]:
    """Apply what is missing; returns one sentence for each file applied.

    Args:
        settings: Which database.
        progress: Called with (files done, files in all, name of the file) before each one.
        client: A client to use; by default one is opened and closed.

    Raises:
        UsageError: An applied file has changed, or the database has files that this version does not know.
        ClickHouseError: The server refused a statement.
    """
    own = client or connect(settings, purpose="migrate")
    try:
        done = _migrate(own, migrations(), progress)
        register(settings, own)
        return done
    finally:
        if client is None:
            own.close()


def _migrate(client: Client, known: list[Migration], progress: Progress | None) -> list[str]:
    database = client.database
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    client.command(
        f"CREATE TABLE IF NOT EXISTS {database}.schema_migrations "
        "(version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) "
        "ENGINE = MergeTree ORDER BY version SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
    )
    applied = dict(client.rows(f"SELECT DISTINCT version, checksum FROM {database}.schema_migrations"))
    _check(applied, known)
    done = []
    for number, migration in enumerate(known):
        if migration.version in applied:
            continue
        if progress is not None:
            progress(number, len(known), migration.name)
        for statement in migration.statements(database):
            client.command(statement)
        client.command(
            f"INSERT INTO {database}.schema_migrations (version, name, checksum) "
            f"VALUES ({migration.version}, '{migration.name}', '{migration.checksum}')"
        )
        done.append(f"applied {migration.name} to {database}")
    return done


def _check(applied: dict[int, str], known: list[Migration]) -> None:
    by_version = {migration.version: migration for migration in known}
    for version, checksum in sorted(applied.items()):
        migration = by_version.get(version)
        if migration is None:
            raise UsageError(
                f"The database has migration {version:04}, which this version of tokentrail does not know. "
                "Use the version that made it, or a newer one."
            )
        if migration.checksum != checksum:
            raise UsageError(
                f"{migration.name} has changed since it was applied. Restore the file; a change belongs into a new one."
            )
