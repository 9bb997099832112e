"""The matrix, worked out for one database: grants, row policies and limits of every login. Pure.

Both renderings (`users_xml`, `sql`) are made of these values, so that they cannot say different things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.access.matrix import (
    ASKS_REASON,
    HIDDEN_FROM_TENANTS,
    POSITION_COLUMNS,
    READER_LIMITS,
    ROLES,
    TABLES,
    TENANT_READER,
    TENANT_READS,
    WITHHELD_COLUMN,
    WRITER_LIMITS,
    Limit,
    Role,
)

DATABASE = "tokentrail"
EVERY_ROW = "1"


@dataclass(frozen=True, slots=True)
class Login:
    """What one user may do.

    Attributes:
        name: User.
        role: Role of the matrix; `tenant_reader` for those that see one tenant.
        grants: GRANT and REVOKE in order, without the user.
        policies: (database.table, condition): which rows it sees.
        is_reader: It has the readers' limits.
    """

    name: str
    role: str
    grants: tuple[str, ...]
    policies: tuple[tuple[str, str], ...]
    is_reader: bool

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Settings of its profile."""
        return READER_LIMITS if self.is_reader else WRITER_LIMITS


def logins(database: str = DATABASE, readers: Mapping[str, str] | None = None) -> tuple[Login, ...]:
    """Every login of an installation.

    Args:
        database: Where the tables are.
        readers: Tenant's readers: user to tenant.
    """
    found = [Login(role.name, role.name, _grants(role, database), _policies(role, database), role.is_reader)
             for role in ROLES]  # fmt: skip
    for name, tenant in sorted((readers or {}).items()):
        grants = tuple(tenant_grants(database))
        found.append(Login(name, TENANT_READER, grants, tuple(tenant_policies(database, tenant).items()), True))
    return tuple(found)


def tenant_grants(database: str) -> list[str]:
    """What every tenant's reader is granted, whichever tenant it is."""
    grants = []
    for table in TABLES:
        if table.is_by_tenant and table.holds in TENANT_READS:
            grants.append(f"GRANT SELECT ON {database}.{table.name}")
            if not table.is_view:
                grants.append(f"REVOKE SELECT({WITHHELD_COLUMN}) ON {database}.{table.name}")
    return grants


def tenant_policies(database: str, tenant: str) -> dict[str, str]:
    """Which rows a tenant's reader sees; views have none of their own, because they read with its rights."""
    only = f"tenant = {quoted(tenant)}"
    return {f"{database}.{name}": only for name in _restricted()} | HIDDEN_FROM_TENANTS


def quoted(text: str) -> str:
    """A string as a literal of ClickHouse."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _restricted() -> list[str]:
    """Tables of which somebody sees only a part, so that everybody else needs a policy too."""
    return [table.name for table in TABLES if table.is_by_tenant and not table.is_view]


def _grants(role: Role, database: str) -> tuple[str, ...]:
    reads = [f"GRANT SELECT ON {database}.{table.name}" for table in TABLES if table.holds in role.reads]
    columns = ", ".join(f"`{column}`" for column in POSITION_COLUMNS)
    counts = [f"GRANT SELECT({columns}) ON {database}.{name}" for name in role.counts]
    inserts = [f"GRANT INSERT ON {database}.{name}" for name in role.inserts]
    return (*reads, *counts, *inserts, *(grant.format(database=database) for grant in role.further))


def _policies(role: Role, database: str) -> tuple[tuple[str, str], ...]:
    """Where a table has a policy for anybody, who has none sees nothing; so all others are told that they see all."""
    rows = {f"{database}.{name}": EVERY_ROW for name in _restricted()} | dict.fromkeys(HIDDEN_FROM_TENANTS, EVERY_ROW)
    for table in TABLES:
        if table.holds == "text":
            rows[f"{database}.{table.name}"] = ASKS_REASON if role.says_why else EVERY_ROW
    return tuple(rows.items())
