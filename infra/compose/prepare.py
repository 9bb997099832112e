"""`python -m infra.compose.prepare`: what `docker compose up` needs and must not stand in the repository.

Makes passwords, the root of all keys and the file of settings for compose, once, in `infra/compose/secrets/`, all of
mode 0600; what is there is left as it is. `--users` prints the ClickHouse users' file instead, which is committed.
"""

from __future__ import annotations

import argparse
import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from infra.access import readers
from infra.access.matrix import USERS
from infra.access.users_xml import container_users_xml, hash_variable
from infra.embedded.folder import write_private
from infra.embedded.passwords import sha256_hex

FOLDER = Path(__file__).resolve().parent / "secrets"
KEY_ROOT_BYTES = 32
DISK_KEY_BYTES = 32


def prepare(folder: Path, tenants: Mapping[str, str] | None = None) -> list[Path]:
    """Make what is missing in the folder.

    Args:
        folder: Where secrets are.
        tenants: Tenants' readers, who need passwords too.

    Returns:
        The files that were made.

    Raises:
        NotWritable: if the folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[Path] = []

    def once(name: str, text: str) -> str:
        path = folder / name
        if not path.exists():
            write_private(path, text)
            made.append(path)
        return path.read_text(encoding="utf-8").strip()

    hashes = {
        user: sha256_hex(once(f"{user}.password", secrets.token_urlsafe(24) + "\n"))
        for user in (*USERS, *(tenants or ()))
    }
    once("key_root", base64.b64encode(secrets.token_bytes(KEY_ROOT_BYTES)).decode() + "\n")
    # The pipeline's container runs as whoever owns these files, so that it can read them and nobody else can.
    lines = [f"TOKENTRAIL_UID={os.getuid()}", f"TOKENTRAIL_GID={os.getgid()}"]
    lines += [f"{hash_variable(user)}={value}" for user, value in hashes.items()]
    # With which ClickHouse encrypts what it writes. Lost, it takes every row with it: back it up apart from the data.
    lines += [f"TOKENTRAIL_DISK_KEY_1={once('disk_key_1', secrets.token_hex(DISK_KEY_BYTES) + chr(10))}"]
    content = "\n".join(lines) + "\n"
    settings = folder / "compose.env"
    if not settings.exists() or settings.read_text(encoding="utf-8") != content:
        write_private(settings, content)
        made.append(settings)
    return made


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make the secrets of docker-compose.yml, once.")
    parser.add_argument("--users", action="store_true", help="print infra/compose/clickhouse/users.xml and do nothing")
    parser.add_argument("--readers", type=Path, help='file of tenants\' readers: lines as acme_reader = "acme"')
    options = parser.parse_args()
    tenants = readers.load(options.readers) if options.readers else {}
    if options.users:
        print(container_users_xml(readers=tenants), end="")
        return
    made = prepare(FOLDER, tenants)
    for path in made:
        print(f"made {path}")
    print("Next: docker compose --env-file infra/compose/secrets/compose.env up --build")


if __name__ == "__main__":
    main()
