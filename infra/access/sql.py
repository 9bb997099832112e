"""The matrix as SQL for a server whose users are kept by SQL: roles, grants, row policies, profiles and users.

Every statement can be repeated. A user without a password's hash is made so that nobody can log in as it.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.access.matrix import READER_LIMITS, TENANT_READER, WRITER_LIMITS, Limit
from infra.access.rights import DATABASE, Login, logins, quoted, tenant_grants

_BOUND = {"free": "", "fixed": " CONST", "most": " MAX {value}"}


def statements(
    database: str = DATABASE,
    readers: Mapping[str, str] | None = None,
    password_hashes: Mapping[str, str] | None = None,
    user_prefix: str = "",
) -> list[str]:
    """Statements in the order they must run in, by somebody with ACCESS MANAGEMENT.

    Args:
        database: Where the tables are; names of roles and profiles begin with it, so that two installations on one
            server do not share them.
        readers: Tenant's readers: user to tenant.
        password_hashes: SHA-256 of passwords by user, in hex.
        user_prefix: Before every user's name.
    """
    found = logins(database, readers)
    hashes = password_hashes or {}
    done = [
        _profile(f"{database}_writer", WRITER_LIMITS),
        _profile(f"{database}_reader", READER_LIMITS),
    ]
    for login in found:
        if login.role != TENANT_READER:
            done += _role(database, login.role, login.grants, login.is_reader)
    done += _role(database, TENANT_READER, tuple(tenant_grants(database)), True)
    for login in found:
        done += _user(database, login, user_prefix + login.name, hashes.get(login.name))
    for login in found:
        grantee = user_prefix + login.name if login.role == TENANT_READER else f"{database}_{login.role}"
        done += [_policy(database, login.name, place, condition, grantee) for place, condition in login.policies]
    return done


def _profile(name: str, limits: tuple[Limit, ...]) -> str:
    settings = ", ".join(
        f"{limit.name} = {limit.value}{_BOUND[limit.bound].format(value=limit.value)}" for limit in limits
    )
    return f"CREATE SETTINGS PROFILE OR REPLACE {name} SETTINGS {settings}"


def _role(database: str, role: str, grants: tuple[str, ...], is_reader: bool) -> list[str]:
    name = f"{database}_{role}"
    profile = f"{database}_{'reader' if is_reader else 'writer'}"
    # Not OR REPLACE: that would make another role, which the users of the old one do not have.
    made = [f"CREATE ROLE IF NOT EXISTS {name} SETTINGS PROFILE {profile}", f"REVOKE ALL ON *.* FROM {name}"]
    return made + [f"{grant} {'FROM' if grant.startswith('REVOKE') else 'TO'} {name}" for grant in grants]


def _user(database: str, login: Login, name: str, password_hash: str | None) -> list[str]:
    if password_hash is None:
        made = f"CREATE USER IF NOT EXISTS {name} IDENTIFIED WITH sha256_hash BY '{'0' * 64}' HOST NONE"
    else:
        made = f"CREATE USER OR REPLACE {name} IDENTIFIED WITH sha256_hash BY {quoted(password_hash)}"
    role = f"{database}_{login.role}"
    return [made, f"GRANT {role} TO {name}", f"SET DEFAULT ROLE {role} TO {name}"]


def _policy(database: str, login: str, place: str, condition: str, grantee: str) -> str:
    name = f"{database}_{login}"
    return f"CREATE ROW POLICY OR REPLACE {name} ON {place} FOR SELECT USING {condition} TO {grantee}"
