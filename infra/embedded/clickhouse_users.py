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
AUDITOR_VIEWS = (
    "cost_by_tenant",
    "cost_by_feature_daily",
    "latency_by_model_hourly",
    "calls_by_id",
    "anomalies_now",
    "producer_loss",
)
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
      <profile>default</profile>
      <quota>itself</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>
    </default>
"""
_QUOTA = "    <default/>\n"
_DEFAULT_QUOTA = "    <itself><interval><duration>2000000000</duration><queries>2</queries></interval></itself>\n"

_USER = """\
    <{user}>
      {password}
      <networks><ip>{network}</ip></networks>
      <profile>{profile}</profile>
      <quota>default</quota>
      <grants>
{grants}
      </grants>
    </{user}>
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
{quotas}  </quotas>
  <users>
{users}  </users>
</clickhouse>
"""

QUERY_MEMORY_BYTES = 1 * 1024**3


def embedded_users_xml(password_hashes: Mapping[str, str]) -> str:
    """Return `users.xml` of the embedded server, reached from this machine only.

    Args:
        password_hashes: SHA-256 of each user's password, in hex.
    """
    users = [
        _user(name, f"<password_sha256_hex>{password_hashes[name]}</password_sha256_hex>", network="127.0.0.1")
        for name in USERS
    ]
    return _USERS_XML.format(
        users=_DEFAULT_USER + "".join(users), quotas=_QUOTA + _DEFAULT_QUOTA, query_memory_bytes=QUERY_MEMORY_BYTES
    )


def container_users_xml() -> str:
    """Return a `users.d` file for a ClickHouse container: the same users; hashes come from its environment."""
    users = [_user(name, f'<password_sha256_hex from_env="{hash_variable(name)}"/>', network="::/0") for name in USERS]
    return _USERS_XML.format(
        users='    <default remove="remove"/>\n' + "".join(users),
        quotas=_QUOTA,
        query_memory_bytes=QUERY_MEMORY_BYTES,
    )


def hash_variable(user: str) -> str:
    """Return the environment variable that holds the SHA-256 of a user's password in a container."""
    return f"TOKENTRAIL_SHA256_{user.upper()}"


def _user(user: str, password: str, *, network: str) -> str:
    return _USER.format(
        user=user,
        password=password,
        network=network,
        profile="default" if user in _WRITERS else "reader",
        grants="\n".join(f"        <query>{escape(grant)}</query>" for grant in GRANTS[user]),
    )
