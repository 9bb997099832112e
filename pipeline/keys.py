"""The key store: one root, everything else derived from it by HKDF-SHA256 (RFC 5869) for purpose, tenant and version.

The root is a file of mode 0600 or a reference to the environment. Nothing here is ever printed; keys live as long as
the rows that carry what was made with them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import UsageError
from pipeline.settings import Settings

Purpose = Literal[
    "pseudonym", "identifier", "route", "fingerprint", "deadletter", "salt", "seal", "sign", "replay", "erasure"
]

ROOT_BYTES: Final = 32
# Of longer values no hash is remembered: they are texts.
REMEMBERED_CHARS: Final = 128


class Keys:
    """Derived keys and the keyed hashes made with them.

    Memory: at most 16,384 derived keys and as many hashes of values are remembered (about 8 MB); a new hash costs about
    5 us.
    """

    def __init__(self, root: bytes) -> None:
        if len(root) < ROOT_BYTES:
            raise UsageError(f"The key root has {len(root)} bytes; it needs at least {ROOT_BYTES}.")
        self._root = root
        self.derive = lru_cache(maxsize=16_384)(self._derive)
        # Runs, sessions and users come again and again.
        self._remembered = lru_cache(maxsize=16_384)(self._hash)

    def _derive(self, purpose: Purpose, tenant: str = "", version: int = 1) -> bytes:
        info = b"\x1f".join(
            (b"tokentrail", purpose.encode(), tenant.encode("utf-8", "surrogatepass"), str(version).encode())
        )
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._root)

    def hash(self, purpose: Purpose, tenant: str, kind: str, value: str, version: int = 1) -> str:
        """Keyed hash of one value: 32 hexadecimal digits (128 bits of HMAC-SHA256).

        The value is NFKC-normalised, so that the same person typed in two ways is one pseudonym; `kind` keeps the same
        value in two fields apart.
        """
        make = self._remembered if len(value) <= REMEMBERED_CHARS else self._hash
        return make(purpose, tenant, kind, value, version)

    def _hash(self, purpose: Purpose, tenant: str, kind: str, value: str, version: int) -> str:
        normal = value if value.isascii() else unicodedata.normalize("NFKC", value)
        data = f"{kind}\x1f{normal}".encode("utf-8", "surrogatepass")
        return self.digest(purpose, tenant, data, version)

    def digest(self, purpose: Purpose, tenant: str, data: bytes, version: int = 1) -> str:
        """Keyed hash of bytes as they are: 32 hexadecimal digits."""
        return hmac.digest(self.derive(purpose, tenant, version), data, "sha256").hex()[:32]


def create_root(path: Path) -> None:
    """Write a new random root to `path` with mode 0600; an existing file is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(ROOT_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def load(settings: Settings) -> Keys:
    """The key store that the settings name.

    Raises:
        UsageError: No root is named, it cannot be read, others may read it, or it is no base64 of 32 bytes or more.
    """
    path = settings.key_root_file
    if path is None:
        text = settings.key_root.get_secret_value()
        if not text:
            raise UsageError("No key root: set TOKENTRAIL_KEY_ROOT_FILE (a file of mode 0600) or TOKENTRAIL_KEY_ROOT.")
        return Keys(_decode(text, "TOKENTRAIL_KEY_ROOT"))
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"Others may read the key root {path}: run `chmod 600 {path}`.")
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"The key root {path} cannot be read: {error.strerror}.") from error
    return Keys(_decode(text, str(path)))


def resolve(reference: str) -> str:
    """What a reference (`file:PATH` of mode 0600, or `env:NAME`) stands for, without white space around it.

    Raises:
        UsageError: It cannot be read, others may read it, or there is nothing.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        text = os.environ.get(name, "")
    elif kind == "file":
        path = Path(name).expanduser()
        try:
            if path.stat().st_mode & 0o077:
                raise UsageError(f"Others may read {path}: run `chmod 600 {path}`.")
            text = path.read_text()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    else:
        raise UsageError(f"{reference!r} is no reference: write file:PATH or env:NAME.")
    if not text.strip():
        raise UsageError(f"{reference} is empty.")
    return text.strip()


def resolve_key(reference: str) -> bytes:
    """The 32 bytes (base64) that a reference stands for.

    Raises:
        UsageError: As `resolve`, or it is no base64 of 32 bytes.
    """
    key = _decode(resolve(reference), reference)
    if len(key) != ROOT_BYTES:
        raise UsageError(f"The key in {reference} has {len(key)} bytes; it needs {ROOT_BYTES}.")
    return key


def _decode(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"The key root in {where} is not base64.") from error
