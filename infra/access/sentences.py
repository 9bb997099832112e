"""The matrix in plain sentences: who can see what, who can change what. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from infra.access.matrix import CONTENT, ROLES, TABLES, TENANT_READS, Holds, Role


def sentences(readers: Mapping[str, str] | None = None) -> list[str]:
    """One sentence or two for each login.

    Args:
        readers: Tenant's readers: user to tenant.
    """
    said = [_sentence(role) for role in ROLES]
    said += [
        f"{user} sees of {tenant}, and of no other tenant: {_content(TENANT_READS, by_tenant=True)}. No text. "
        "It changes nothing."
        for user, tenant in sorted((readers or {}).items())
    ]
    return said


def _sentence(role: Role) -> str:
    said = f"{role.name} {role.does}."
    if role.is_reader:
        said += f" It sees {_content(role.reads)}."
        said += " For text it must say why, and that is kept." if role.says_why else " No text."
        return said + " It changes nothing."
    if role.inserts:
        said += f" It adds rows to {_and(role.inserts)}, and changes and removes none."
        return said + (" It sees their positions." if role.counts else " It sees none.")
    return said + " It can see everything in the database."


def _content(kinds: tuple[Holds, ...], *, by_tenant: bool = False) -> str:
    there = {table.holds for table in TABLES if table.is_by_tenant or not by_tenant}
    return "; ".join(CONTENT[kind] for kind in kinds if kind in there)


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
