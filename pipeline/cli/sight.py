"""Who sees which class of records, out of the table of grants. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infra.access.matrix import ROLES, TENANT_READS, Holds
from pipeline.control.policy import Class

# What the table of grants calls the content of each class.
_CONTENT: Final[Mapping[Class, Holds]] = {
    "text": "text",
    "metadata": "calls",
    "anomalies": "findings",
    "controls": "controls",
}
_ALL: Final = "{database}.*"


@dataclass(frozen=True, slots=True)
class Sight:
    """Who sees a class.

    Attributes:
        roles: That may read it.
        with_reason: Those of them that must say why.
        machines: Logins that may read everything, because they make, drop and change tables.
        tenants: Whether a tenant's reader sees that tenant's.
    """

    roles: tuple[str, ...]
    with_reason: tuple[str, ...]
    machines: tuple[str, ...]
    tenants: bool

    def __str__(self) -> str:
        said = [name + (" (who must say why)" if name in self.with_reason else "") for name in self.roles]
        if self.tenants:
            said.append("each tenant's reader its own")
        names = ", ".join(said) or "nobody who only reads"
        return f"Who sees it: {names}; and {' and '.join(self.machines)}, which keep the tables."


def sights() -> dict[Class, Sight]:
    """Who sees each class."""
    machines = tuple(role.name for role in ROLES if any("SELECT" in grant and _ALL in grant for grant in role.further))
    found = {}
    for name, content in _CONTENT.items():
        readers = [role for role in ROLES if content in role.reads]
        says_why = [role.name for role in readers if role.says_why and content == "text"]
        found[name] = Sight(tuple(role.name for role in readers), tuple(says_why), machines, content in TENANT_READS)
    return found
