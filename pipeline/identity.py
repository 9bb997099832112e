"""Which installation this is: its environment and a fingerprint of its key root, registered once by `migrate`.

A worker of staging that was given the address of production has other keys or another environment, and is refused
before it reads or writes anything. The fingerprint is a keyed hash: it says whether two roots are the same, no more.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import keys
from pipeline.errors import UsageError
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells installations apart.

    Attributes:
        environment: As the settings have it; empty where there is but one.
        key: Fingerprint of the key root, 16 hexadecimal digits; empty where no root was named.
    """

    environment: str
    key: str


def of(settings: Settings) -> Identity:
    """The identity that the settings claim.

    Raises:
        UsageError: A key root is named and cannot be used.
    """
    has_root = settings.key_root_file is not None or settings.key_root.get_secret_value()
    key = keys.load(settings).hash("fingerprint", "", "installation", "")[:16] if has_root else ""
    return Identity(settings.environment, key)


def require_same(registered: Identity, own: Identity, where: str) -> None:
    """Refuse whoever belongs to another installation.

    Raises:
        UsageError: The environment differs, or both name a key root and they differ.
    """
    if registered.environment != own.environment:
        raise UsageError(
            f"{where} belongs to the environment {_named(registered.environment)}, and this process to "
            f"{_named(own.environment)}: nothing was read or written. Look at TOKENTRAIL_ENVIRONMENT and the addresses."
        )
    if registered.key and own.key and registered.key != own.key:
        raise UsageError(
            f"{where} was made with another key root (fingerprint {registered.key}, here {own.key}): nothing "
            "was read or written. Look at TOKENTRAIL_KEY_ROOT_FILE and at the addresses."
        )


def _named(environment: str) -> str:
    return repr(environment) if environment else "without a name"
