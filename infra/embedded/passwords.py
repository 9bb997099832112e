"""Passwords of the ClickHouse users: made once, kept in one file of mode 0600, told to nobody else.

They never stand on a command line, in an environment or in a log; ClickHouse gets only their SHA-256 (they are long
and random, so that the hash tells nothing).
"""

from __future__ import annotations

import hashlib
import json
import secrets

from infra.embedded.errors import EmbeddedError
from infra.embedded.folder import Folder, write_private


def ensure(folder: Folder, users: tuple[str, ...]) -> dict[str, str]:
    """Return every user's password, making those that are missing.

    Raises:
        NotWritable: if the folder cannot be written.
        EmbeddedError: if the file is damaged.
    """
    known = _load(folder) if folder.secrets_file.exists() else {}
    missing = [user for user in users if user not in known]
    if missing:
        known |= {user: secrets.token_urlsafe(24) for user in missing}
        write_private(folder.secrets_file, json.dumps(known, indent=2) + "\n")
    folder.secrets_file.chmod(0o600)
    return known


def read(folder: Folder, user: str) -> str:
    """Return one user's password.

    Raises:
        EmbeddedError: if there is no such user, or no file yet.
    """
    known = _load(folder)
    if user not in known:
        raise EmbeddedError(
            f"There is no user {user!r} in {folder.secrets_file}; there are: {', '.join(sorted(known))}."
        )
    return known[user]


def sha256_hex(password: str) -> str:
    """Return what `users.xml` holds in a password's place."""
    return hashlib.sha256(password.encode()).hexdigest()


def _load(folder: Folder) -> dict[str, str]:
    try:
        loaded = json.loads(folder.secrets_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EmbeddedError(f"There are no passwords in {folder.root}: no server has been started there yet.") from None
    except (OSError, ValueError) as error:
        # The content is not quoted: it may hold passwords.
        raise EmbeddedError(f"{folder.secrets_file} cannot be read ({type(error).__name__}).") from None
    return {str(user): str(password) for user, password in loaded.items()}
