"""ClickHouse: does it answer, may our user write, is text kept from the auditor, are tables current, is there room."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pipeline.cli.checks import Finding, fail, ok, warn
from pipeline.cli.checks.kafka import MIGRATE
from pipeline.cli.formats import size
from pipeline.cli.times import duration
from pipeline.storage.client import ClickHouseError, Client, connect

if TYPE_CHECKING:
    from pipeline.settings import Settings

OLDEST: Final = (25, 3)
CLOCKS_MS: Final = 2_000
# Below this much room somebody should look; below a third of it it is urgent.
ROOM_BYTES: Final = 3_000_000_000
_UNKNOWN_TABLE: Final = (60, 81)


def reachable(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, which version it is, and whether its clock is ours."""
    where = f"{settings.clickhouse_host}:{settings.clickhouse_port}"
    try:
        client = _client(settings)
    except ClickHouseError as error:
        todo = "Start it (`tokentrail up`), or set TOKENTRAIL_CLICKHOUSE_HOST and _PORT to where it is."
        if error.code is not None:
            todo = f"Check TOKENTRAIL_CLICKHOUSE_USER ({settings.clickhouse_user}) and its password."
        yield fail("clickhouse", f"{where}: {error}.", todo)
        return
    ((version,),) = client.rows("SELECT version()")
    numbers = tuple(int(part) for part in str(version).split(".")[:2])
    if numbers < OLDEST:
        yield warn("clickhouse", f"{where} is version {version}.", f"Use {'.'.join(map(str, OLDEST))} or newer.")
    else:
        yield ok("clickhouse", f"{where} answers, version {version}, as {settings.clickhouse_user}.")
    before = time.time_ns() // 1_000_000
    there = client.now_ms()
    apart = there - (before + time.time_ns() // 1_000_000) // 2
    if abs(apart) > CLOCKS_MS:
        yield fail(
            "clickhouse clock",
            f"It is {duration(apart)} off this machine's.",
            "Let both follow one time server: inserts carry a deadline that ClickHouse checks by its own clock.",
        )
    else:
        yield ok("clickhouse clock", f"{duration(apart)} off this machine's.")


def grants(settings: Settings) -> Iterator[Finding]:
    """Whether our user may do its work."""
    client = _client(settings)
    needed = {"calls": "SELECT, INSERT", "call_content": "SELECT, INSERT", "windows": "SELECT, INSERT"}
    lacking = [
        f"{what} on {table}"
        for table, what in needed.items()
        if client.command(f"CHECK GRANT {what} ON {settings.database}.{table}") != "1"
    ]
    if lacking:
        yield fail("grants", f"{settings.clickhouse_user} lacks {', '.join(lacking)}.", "Grant it, then look again.")
    else:
        yield ok("grants", f"{settings.clickhouse_user} may read and write.")


def auditor(settings: Settings) -> Iterator[Finding]:
    """Whether the auditor may read metadata and not text, where this folder has an auditor."""
    from pipeline.cli.context import settings_for

    if settings.data_dir is None:
        return
    client = _client(settings_for(settings.data_dir, user="auditor"))
    may_read = client.command(f"CHECK GRANT SELECT ON {settings.database}.calls") == "1"
    may_read_text = client.command(f"CHECK GRANT SELECT(input) ON {settings.database}.call_content") == "1"
    if may_read_text:
        yield fail("auditor", "auditor may read text.", "Revoke SELECT on call_content from auditor.")
    elif not may_read:
        yield warn("auditor", "auditor may not read calls.", "Grant SELECT on the tables without text.")
    else:
        yield ok("auditor", "auditor reads metadata and is refused text.")


def migrations(settings: Settings) -> Iterator[Finding]:
    """Whether every numbered file is applied, unchanged."""
    from pipeline.storage.migrate import migrations as all_migrations

    client = _client(settings)
    try:
        applied = dict(client.rows(f"SELECT DISTINCT version, checksum FROM {settings.database}.schema_migrations"))
    except ClickHouseError as error:
        if error.code not in _UNKNOWN_TABLE:
            raise
        applied = {}
    known = all_migrations()
    missing = [each.name for each in known if each.version not in applied]
    changed = [each.name for each in known if applied.get(each.version, each.checksum) != each.checksum]
    newer = sorted(set(applied) - {each.version for each in known})
    if changed:
        yield fail("migrations", f"Changed since applied: {', '.join(changed)}.", "Restore those files.")
    if newer:
        yield fail("migrations", f"The database is newer (migrations {newer}).", "Use the version that made it.")
    if missing:
        yield fail("migrations", f"Not applied: {', '.join(missing)}.", MIGRATE)
    if not (changed or newer or missing):
        yield ok("migrations", f"{len(known)} applied.")


def room(settings: Settings) -> Iterator[Finding]:
    """How much is stored, and how much room its disks have."""
    client = _client(settings)
    ((stored, rows),) = client.rows(
        "SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND database = {db:String}",
        {"db": settings.database},
    )
    for name, free, total in client.rows("SELECT name, free_space, total_space FROM system.disks"):
        said = f"{size(float(stored))} in {int(rows):,} rows; disk {name} has {size(free)} of {size(total)} free."
        todo = "Free some room or let retention drop more: `tokentrail retention show`."
        if free < ROOM_BYTES / 3:
            yield fail("clickhouse room", said, todo)
        elif free < ROOM_BYTES or free < 0.05 * total:
            yield warn("clickhouse room", said, todo)
        else:
            yield ok("clickhouse room", said)


def redacted(settings: Settings) -> Iterator[Finding]:
    """Whether rows of the last day were stored without redaction, or with texts in doubt."""
    client = _client(settings)
    ((rows, unredacted, doubtful),) = client.rows(
        "SELECT count(), countIf(redaction_version = 'off'), countIf(notEmpty(redaction_failures)) "
        f"FROM {settings.database}.calls WHERE received_at > now() - INTERVAL 1 DAY"
    )
    if unredacted:
        yield fail(
            "redaction",
            f"{unredacted:,} of {rows:,} rows of the last day were stored with redaction off.",
            "That is for control runs only: set TOKENTRAIL_REDACTION=on and erase those rows.",
        )
    if doubtful:
        yield warn(
            "redaction",
            f"{doubtful:,} of {rows:,} rows of the last day have texts replaced whole because redaction was in doubt.",
            "See the log of the redact stage; tokentrail_redaction_failed_total says why.",
        )


def replays(settings: Settings) -> Iterator[Finding]:
    """Whether two runs of `replay` at once have processed a record again twice."""
    ((twice,),) = _client(settings).rows(
        "SELECT count() FROM (SELECT of_epoch, of_partition, of_offset, count() AS times "
        f"FROM {settings.database}.replays GROUP BY of_epoch, of_partition, of_offset HAVING times > 1)"
    )
    if twice:
        yield warn(
            "replays",
            f"{twice:,} positions were replayed more than once.",
            "Their rows stand twice; table `replays` says where. Run one `tokentrail replay` at a time.",
        )


def _client(settings: Settings) -> Client:
    return connect(settings, purpose="doctor", timeout_s=15)
