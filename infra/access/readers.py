"""Tenants' readers: a file with one line each, `user = "tenant"`. Each sees that tenant's rows and no text."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from infra.access.matrix import USERS

FILE_NAME = "tenant_readers.toml"
_USER = re.compile(r"[a-z][a-z0-9_]{0,40}")


class ReadersError(ValueError):
    """The file of tenants' readers cannot be used; the message says which line and why."""


def load(path: Path) -> dict[str, str]:
    """User to tenant; empty when there is no such file.

    Raises:
        ReadersError: It is no TOML, or a name in it cannot be a user's.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReadersError(f"The tenants' readers in {path} cannot be read: {error}.") from None
    for user, tenant in found.items():
        if not _USER.fullmatch(user) or user in (*USERS, "default"):
            raise ReadersError(
                f"{path}: {user!r} cannot be a reader's name: small letters, digits and _, and no name of "
                f"{', '.join(USERS)}."
            )
        if not isinstance(tenant, str) or not tenant:
            raise ReadersError(f'{path}: {user} must name one tenant, as {user} = "acme".')
    return found
