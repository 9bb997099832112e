"""The one table of grants: what each table holds, and what each role may do with it. Pure data.

The users file of the embedded server and of containers, the SQL for other servers and the sentences of
`tokentrail access show` are all made of it. A new table or view is one line in `TABLES`. Must not know any password.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Holds = Literal["calls", "records", "text", "findings", "controls", "costs", "held", "proof", "reads", "machinery"]

# What the kinds of content are, in the words of `access show`.
CONTENT: Final[dict[Holds, str]] = {
    "calls": "each call: who, what, how much, how it ended, without text",
    "records": "other records without text: evaluations, feedback, heartbeats, dead letters",
    "text": "the redacted text of calls",
    "findings": "closed windows, anomalies and late events",
    "controls": "switches, budgets, policies, holds: who set what, when and why",
    "costs": "sums of cost and tokens",
    "held": "what a legal hold keeps beyond its life",
    "proof": "what shows that nothing was changed: ledger, migrations, erasures",
    "reads": "who read text, when and why",
    "machinery": "nothing that anybody reads",
}


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view.

    Attributes:
        name: Its name.
        holds: What it holds; roles are granted kinds of content, not names.
        is_view: Views run with the reader's rights, so that the row policies of what they read hold.
        is_by_tenant: It has a column `tenant`, and a tenant's reader may see that tenant's rows.
        is_chained: The sink inserts into it by position.
    """

    name: str
    holds: Holds
    is_view: bool = False
    is_by_tenant: bool = False
    is_chained: bool = False


TABLES: Final = (
    Table("calls", "calls", is_by_tenant=True, is_chained=True),
    Table("call_content", "text", is_chained=True),
    Table("evaluations", "records", is_by_tenant=True, is_chained=True),
    Table("feedback", "records", is_by_tenant=True, is_chained=True),
    Table("heartbeats", "records", is_by_tenant=True, is_chained=True),
    Table("dead_letters", "records", is_by_tenant=True, is_chained=True),
    Table("replays", "records", is_by_tenant=True, is_chained=True),
    Table("repricings", "costs", is_by_tenant=True),
    Table("windows", "findings", is_by_tenant=True),
    Table("anomalies", "findings", is_by_tenant=True),
    Table("late_events", "findings", is_by_tenant=True),
    Table("controls_log", "controls"),
    Table("held_calls", "held"),
    Table("held_call_content", "text"),
    Table("held_evaluations", "held"),
    Table("held_feedback", "held"),
    Table("held_heartbeats", "held"),
    Table("held_dead_letters", "held"),
    Table("held_windows", "held"),
    Table("held_anomalies", "held"),
    Table("held_late_events", "held"),
    Table("held_controls_log", "held"),
    Table("held_replays", "held"),
    Table("held_repricings", "held"),
    Table("ledger", "proof"),
    Table("schema_migrations", "proof"),
    Table("installation", "proof"),
    Table("erasures", "proof"),
    Table("text_reads", "reads"),
    Table("text_reads_log", "machinery", is_view=True),
    Table("cost_by_tenant", "costs", is_view=True, is_by_tenant=True),
    Table("cost_by_feature_daily", "costs", is_view=True, is_by_tenant=True),
    Table("latency_by_model_hourly", "calls", is_view=True, is_by_tenant=True),
    Table("calls_by_id", "proof", is_view=True),
    Table("producer_loss", "records", is_view=True, is_by_tenant=True),
    Table("anomalies_now", "findings", is_view=True, is_by_tenant=True),
    Table("calls_priced", "calls", is_view=True, is_by_tenant=True),
    Table("cost_by_tenant_repriced", "costs", is_view=True, is_by_tenant=True),
    Table("cost_by_feature_daily_repriced", "costs", is_view=True, is_by_tenant=True),
    Table("dead_letters_now", "records", is_view=True, is_by_tenant=True),
)
BY_NAME: Final = {table.name: table for table in TABLES}
TEXT_TABLES: Final = tuple(table.name for table in TABLES if table.holds == "text")


@dataclass(frozen=True, slots=True)
class Role:
    """What one login may do.

    Attributes:
        name: Of the role; on the embedded server and in containers also of the user.
        does: What it is for, in the words of `access show`.
        reads: Kinds of content it may read.
        inserts: Tables it may add rows to.
        counts: Tables of which it may read positions, and nothing else.
        says_why: It must give a reason to read text.
        further: Grants that have no table; `{database}` stands for the database.
        is_reader: It can change nothing, whatever it is granted.
    """

    name: str
    does: str
    reads: tuple[Holds, ...] = ()
    inserts: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    says_why: bool = False
    further: tuple[str, ...] = ()
    is_reader: bool = False


_CHAINED: Final = tuple(table.name for table in TABLES if table.is_chained)
_WITHOUT_TEXT: Final = tuple(holds for holds in CONTENT if holds not in ("text", "machinery"))
# Tables of our own only: no engine that reads files or addresses.
_ENGINES: Final = (
    "MergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "VersionedCollapsingMergeTree",
    "Memory",
    "Null",
)
# The owner also looks after the server: parts on disk, what ran, and what should stop.
_OWNER: Final = (
    "GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, DROP DATABASE, "
    "DROP TABLE, DROP VIEW, DROP DICTIONARY, TRUNCATE, OPTIMIZE, dictGet ON {database}.*",
    "GRANT SELECT ON system.*",
    "GRANT CREATE TEMPORARY TABLE, KILL QUERY ON *.*",
    "GRANT SYSTEM FLUSH LOGS, SYSTEM MERGES ON *.*",
    *(f"GRANT TABLE ENGINE ON {engine}" for engine in _ENGINES),
)
# Drops partitions, takes out what was erased, keeps copies under a legal hold, and clears the server's own logs.
_CUSTODIAN: Final = (
    "GRANT SHOW, SELECT, INSERT, ALTER UPDATE, ALTER DELETE, OPTIMIZE ON {database}.*",
    "GRANT SELECT ON system.*",
    "GRANT ALTER DELETE ON system.query_log",
    "GRANT CREATE TEMPORARY TABLE ON *.*",
    "GRANT SYSTEM FLUSH LOGS ON *.*",
)

# Before it writes, a stage looks whose tables these are.
_WHOSE: Final = ("GRANT SELECT ON {database}.installation",)

OWNER: Final = "pipeline"
ROLES: Final = (
    Role(OWNER, "makes and changes tables, and runs the commands of operators", further=_OWNER),
    Role("ingest", "is the stage sink", inserts=_CHAINED, counts=_CHAINED, further=_WHOSE),
    Role(
        "archive", "is the stage act", inserts=("windows", "anomalies", "late_events", "controls_log"), further=_WHOSE
    ),
    Role("custodian", "is the process keep: expiry, erasure, legal holds", further=_CUSTODIAN),
    Role("auditor", "checks the records", reads=_WITHOUT_TEXT, is_reader=True),
    Role("investigator", "looks into a case", reads=(*_WITHOUT_TEXT, "text"), says_why=True, is_reader=True),
    Role("oncall", "looks after alarms", reads=("calls", "records", "findings", "controls", "costs"), is_reader=True),
    Role("finops", "looks after money", reads=("calls", "costs"), is_reader=True),
)
USERS: Final = tuple(role.name for role in ROLES)

# The login of each process that needs ClickHouse; the other stages never see it.
STAGE_USERS: Final = {"sink": "ingest", "act": "archive", "keep": "custodian"}

TENANT_READER: Final = "tenant_reader"
TENANT_READS: Final[tuple[Holds, ...]] = ("calls", "records", "findings", "costs")
# Taken from a tenant's reader again: some functions ask for the right to a whole table and then show its index, which
# knows every tenant. `SELECT *` leaves this column out, and it follows from two others.
WITHHELD_COLUMN: Final = "retention_date"

# What the sink compares with its ledger.
POSITION_COLUMNS: Final = ("epoch", "partition", "offset", "received_at", "retention_days")

# Row policies beyond the tables': the server's own lists would tell how many rows all tenants have together.
HIDDEN_FROM_TENANTS: Final = {
    "system.tables": "total_rows IS NULL AND total_bytes IS NULL",
    "system.columns": "data_compressed_bytes = 0",
}

REASON: Final = r"reason=\\S.{7,}"
ASKS_REASON: Final = (
    f"throwIf(NOT match(getSetting('log_comment'), '{REASON}'), "
    "'Reading text needs a reason: log_comment = reason=... (8 characters or more)') = 0"
)


@dataclass(frozen=True, slots=True)
class Limit:
    """One setting of a profile; `bound` says whether a user may change it."""

    name: str
    value: int | str
    bound: Literal["free", "fixed", "most"] = "free"


QUERY_MEMORY_BYTES: Final = 1 * 1024**3
_EVERYBODY: Final = (Limit("async_insert", 0),)
WRITER_LIMITS: Final = (
    *_EVERYBODY,
    Limit("log_queries", 1),
    Limit("max_memory_usage", QUERY_MEMORY_BYTES),
)
# 2: reads only, and may change settings, which drivers do; what must not change is fixed. Nobody reads unseen.
READER_LIMITS: Final = (
    *_EVERYBODY,
    Limit("readonly", 2),
    Limit("log_queries", 1, "fixed"),
    Limit("log_queries_probability", 1, "fixed"),
    Limit("log_queries_min_query_duration_ms", 0, "fixed"),
    Limit("query_cache_share_between_users", 0, "fixed"),
    Limit("allow_introspection_functions", 0, "fixed"),
    Limit("max_memory_usage", QUERY_MEMORY_BYTES, "fixed"),
    Limit("max_execution_time", 120),
)
