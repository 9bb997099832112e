"""The matrix as `users.xml`, for the embedded server and for containers. Takes hashes of passwords, never passwords."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

from infra.access.matrix import READER_LIMITS, WRITER_LIMITS, Limit
from infra.access.rights import DATABASE, Login, logins

# `default` is the name under which the server's own session logs in, without a password; it cannot be had otherwise.
# It may start the listener and nothing else, and its quota is used up by that and by the query that keeps the server
# alive, so that nobody else on this machine reads or stops anything as `default`. (31 bits of seconds: 63 years.)
_DEFAULT_USER = """\
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>writer</profile>
      <quota>itself</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>
    </default>
"""
_NO_DEFAULT_USER = '    <default remove="remove"/>\n'
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
      <databases>
{policies}
      </databases>
    </{user}>
"""

_USERS_XML = """\
<clickhouse>
  <profiles>
    <default/>
{profiles}
  </profiles>
  <quotas>
{quotas}  </quotas>
  <users>
{users}  </users>
</clickhouse>
"""

_BOUND = {"fixed": "<readonly/>", "most": "<max>{value}</max>"}

# Of clickhouse-local, which the embedded server is: a table function that runs Python, and settings that name files,
# which a server proper looks for in a folder of its own and clickhouse-local on the whole machine.
_EMBEDDED = (
    Limit("allow_python_table_function", 0, "fixed"),
    Limit("format_schema", "", "fixed"),
    Limit("format_template_resultset", "", "fixed"),
    Limit("format_template_row", "", "fixed"),
    Limit("output_format_schema", "", "fixed"),
    Limit("input_format_record_errors_file_path", "", "fixed"),
)


def embedded_users_xml(
    password_hashes: Mapping[str, str], database: str = DATABASE, readers: Mapping[str, str] | None = None
) -> str:
    """Return `users.xml` of the embedded server, reached from this machine only.

    Args:
        password_hashes: SHA-256 of each user's password, in hex.
        database: Where the tables are.
        readers: Tenant's readers: user to tenant.
    """
    users = [
        _user(login, f"<password_sha256_hex>{password_hashes[login.name]}</password_sha256_hex>", network="127.0.0.1")
        for login in logins(database, readers)
    ]
    return _USERS_XML.format(
        profiles=_profiles(_EMBEDDED), quotas=_QUOTA + _DEFAULT_QUOTA, users=_DEFAULT_USER + "".join(users)
    )


def container_users_xml(database: str = DATABASE, readers: Mapping[str, str] | None = None) -> str:
    """Return a `users.d` file for a ClickHouse container: the same users; hashes come from its environment."""
    users = [
        _user(login, f'<password_sha256_hex from_env="{hash_variable(login.name)}"/>', network="::/0")
        for login in logins(database, readers)
    ]
    return _USERS_XML.format(profiles=_profiles(()), quotas=_QUOTA, users=_NO_DEFAULT_USER + "".join(users))


def hash_variable(user: str) -> str:
    """Return the environment variable that holds the SHA-256 of a user's password in a container."""
    return f"TOKENTRAIL_SHA256_{user.upper()}"


def _profiles(further: tuple[Limit, ...]) -> str:
    return "\n".join((_profile("writer", WRITER_LIMITS + further), _profile("reader", READER_LIMITS + further)))


def _profile(name: str, limits: tuple[Limit, ...]) -> str:
    values = "".join(f"      <{limit.name}>{limit.value}</{limit.name}>\n" for limit in limits)
    bounds = "".join(
        f"        <{limit.name}>{_BOUND[limit.bound].format(value=limit.value)}</{limit.name}>\n"
        for limit in limits
        if limit.bound != "free"
    )
    constraints = f"      <constraints>\n{bounds}      </constraints>\n" if bounds else ""
    return f"    <{name}>\n{values}{constraints}    </{name}>"


def _user(login: Login, password: str, *, network: str) -> str:
    return _USER.format(
        user=login.name,
        password=password,
        network=network,
        profile="reader" if login.is_reader else "writer",
        grants="\n".join(f"        <query>{escape(grant)}</query>" for grant in login.grants),
        policies=_policies(login),
    )


def _policies(login: Login) -> str:
    by_database: dict[str, list[str]] = {}
    for place, condition in login.policies:
        database, table = place.split(".")
        by_database.setdefault(database, []).append(
            f"          <{table}><filter>{escape(condition)}</filter></{table}>\n"
        )
    return "\n".join(
        f"        <{database}>\n{''.join(rows)}        </{database}>" for database, rows in by_database.items()
    )
