"""Who may do what in ClickHouse: the roles of the design as users, each with constant grants.

The auditor and those like it read metadata and never text: `call_content` stands in one list only.
Grants on tables that do not exist yet are accepted and hold as soon as they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

DATABASE = "tokentrail"

AUDITOR_TABLES = (
    "calls",
    "evaluations",
    "feedback",
    "windows",
    "anomalies",
    "dead_letters",
    "ledger",
    "heartbeats",
    "late_events",
    "schema_migrations",
)
AUDITOR_VIEWS = ("cost_by_tenant", "cost_by_feature_daily", "latency_by_model_hourly", "calls_by_id")
TEXT_TABLES = ("call_content",)


def _reads(*tables: str) -> tuple[str, ...]:
    return tuple(f"GRANT SELECT ON {DATABASE}.{table}" for table in tables)


_METADATA = _reads(*AUDITOR_TABLES, *AUDITOR_VIEWS)

_ENGINES = (
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
_OWNER = (
    f"GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, CREATE DICTIONARY, DROP DATABASE, "
    f"DROP TABLE, DROP VIEW, DROP DICTIONARY, TRUNCATE, OPTIMIZE, dictGet ON {DATABASE}.*",
    "GRANT SELECT ON system.*",
    "GRANT CREATE TEMPORARY TABLE, KILL QUERY ON *.*",
    "GRANT SYSTEM FLUSH LOGS, SYSTEM MERGES ON *.*",
    # Tables of our own only: no engine that reads files or addresses.
    *(f"GRANT TABLE ENGINE ON {engine}" for engine in _ENGINES),
)
_WRITER = (f"GRANT SHOW, SELECT, INSERT ON {DATABASE}.*", "GRANT CREATE TEMPORARY TABLE ON *.*")

OWNER = "pipeline"
GRANTS: Mapping[str, tuple[str, ...]] = {
    OWNER: _OWNER,
    "ingest": _WRITER,
    "auditor": _METADATA,
    "investigator": _METADATA + _reads(*TEXT_TABLES),
    "oncall": _METADATA,
    "finops": _METADATA,
}
USERS = tuple(GRANTS)
_WRITERS = (OWNER, "ingest")

# `default` is the name under which the server's own session logs in, without a password; it cannot be had otherwise.
# It may start the listener and nothing else, and its quota is used up by that and by the query that keeps the server
# alive, so that nobody else on this machine reads or stops anything as `default`. (31 bits of seconds: 63 years.)
_DEFAULT_USER = """\
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>itself</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>
    </default>
"""

_USERS_XML = """\
<clickhouse>
  <profiles>
    <default>
      <async_insert>0</async_insert>
      <log_queries>1</log_queries>
      <max_memory_usage>{query_memory_bytes}</max_memory_usage>
    </default>
    <reader>
      <readonly>2</readonly>
      <async_insert>0</async_insert>
      <log_queries>1</log_queries>
      <max_memory_usage>{query_memory_bytes}</max_memory_usage>
      <max_execution_time>120</max_execution_time>
    </reader>
  </profiles>
  <quotas>
    <default/>
    <itself><interval><duration>2000000000</duration><queries>2</queries></interval></itself>
  </quotas>
  <users>
{users}  </users>
</clickhouse>
"""


def users_xml(password_hashes: Mapping[str, str], *, query_memory_bytes: int) -> str:
    """Return the content of `users.xml`.

    Args:
        password_hashes: SHA-256 of each user's password, in hex.
        query_memory_bytes: what one query may use.
    """
    users = _DEFAULT_USER + "".join(_user_xml(user, password_hashes[user]) for user in USERS)
    return _USERS_XML.format(users=users, query_memory_bytes=query_memory_bytes)


def _user_xml(user: str, password_hash: str) -> str:
    grants = "".join(f"<query>{escape(grant)}</query>" for grant in GRANTS[user])
    profile = "default" if user in _WRITERS else "reader"
    return (
        f"    <{user}><password_sha256_hex>{password_hash}</password_sha256_hex>"
        f"<networks><ip>127.0.0.1</ip></networks><profile>{profile}</profile><quota>default</quota>"
        f"<grants>{grants}</grants></{user}>\n"
    )
