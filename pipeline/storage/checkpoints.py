"""Where the last successful check of an installation ended: a small file in the data folder, with a MAC.

Who has the file but not the key root cannot make a check begin later than it should; who deletes it makes the next one
begin at the beginning.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from pipeline.audit.sources import Checkpoint
from pipeline.errors import UsageError
from pipeline.keys import Keys
from pipeline.settings import Settings

NAME: Final = "verified.json"


class Verified(msgspec.Struct, frozen=True):
    """What the last successful check saw; `at_ms` is milliseconds since 1970."""

    at_ms: int
    installation: str
    partitions: Mapping[int, Checkpoint]


class _File(msgspec.Struct, frozen=True):
    verified: msgspec.Raw
    mac: str


def path_of(settings: Settings) -> Path:
    """The file of an installation.

    Raises:
        UsageError: There is no data folder.
    """
    if settings.data_dir is None:
        raise UsageError("Where should the last check be remembered? Name a folder with --data or TOKENTRAIL_DATA_DIR.")
    return settings.data_dir / NAME


def load(settings: Settings, keys: Keys) -> Verified | None:
    """What the last successful check saw; None when there was none.

    Raises:
        UsageError: The file was changed, or is another installation's.
    """
    path = path_of(settings)
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        verified = msgspec.json.decode(file.verified, type=Verified)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, OSError) as error:
        raise UsageError(f"{path} cannot be read. Delete it and run the whole check.") from error
    if not hmac.compare_digest(file.mac, _mac(keys, bytes(file.verified))):
        raise UsageError(f"{path} was changed since it was written. Delete it and run the whole check.")
    if verified.installation != _installation(settings):
        raise UsageError(f"{path} is of {verified.installation}. Name another folder with --data.")
    return verified


def save(settings: Settings, keys: Keys, at_ms: int, partitions: Mapping[int, Checkpoint]) -> None:
    """Remember a successful check."""
    body = msgspec.json.encode(Verified(at_ms, _installation(settings), partitions))
    path = path_of(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_bytes(msgspec.json.encode(_File(msgspec.Raw(body), _mac(keys, body))))
    beside.replace(path)


def _installation(settings: Settings) -> str:
    return f"{settings.prefix}/{settings.database}"


def _mac(keys: Keys, body: bytes) -> str:
    return keys.digest("seal", "verified", body)
