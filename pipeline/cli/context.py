"""From `--data DIR` and `TOKENTRAIL_*` to settings: which Kafka, which ClickHouse, which keys.

Every command takes `--data`; without it the user's state folder is looked at. What the environment names wins.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from platformdirs import user_state_path
from pydantic import SecretStr

from pipeline.errors import UsageError
from pipeline.settings import Settings

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of the embedded servers (default: the user's state folder)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object or JSON lines, for machines.")]


def data_dir(data: Path | None) -> Path:
    """The folder of the embedded servers: what was said, `TOKENTRAIL_DATA_DIR`, or the user's state folder."""
    named = os.environ.get("TOKENTRAIL_DATA_DIR")
    return (data or (Path(named) if named else user_state_path("tokentrail"))).expanduser().resolve()


def settings_for(data: Path | None, *, user: str = "pipeline", **known: Any) -> Settings:
    """Settings that reach a running installation.

    Args:
        data: Folder of the embedded servers, or None.
        user: ClickHouse user, where the embedded server's is to be used.
        known: Settings that win over everything.

    Raises:
        UsageError: No Kafka is named and no embedded server runs in the folder.
    """
    plain = Settings(**known)
    if plain.kafka_bootstrap and data is None:
        return plain
    from infra.embedded.errors import EmbeddedError
    from infra.embedded.servers import read_endpoints, read_secret

    folder = data_dir(data)
    running = read_endpoints(folder)
    if running is None:
        raise UsageError(
            f"No servers run in {folder}. Start them with `tokentrail up --data {folder}`, or name yours in "
            "TOKENTRAIL_KAFKA_BOOTSTRAP and TOKENTRAIL_CLICKHOUSE_HOST."
        )
    try:
        password = read_secret(folder, user)
    except EmbeddedError as error:
        raise UsageError(str(error)) from error
    return Settings(
        **{
            "kafka_bootstrap": running.kafka_bootstrap,
            "clickhouse_host": running.clickhouse_host,
            "clickhouse_port": running.clickhouse_port,
            "clickhouse_user": user,
            "clickhouse_password": password,
            "data_dir": folder,
            "key_root_file": key_root(folder),
            **known,
        }
    )


def stage_settings(data: Path | None, stage: str) -> Settings:
    """Settings as one stage needs them: its own logins, and no ClickHouse where it has no business there.

    Raises:
        UsageError: As `settings_for`.
    """
    from infra.access.matrix import OWNER, STAGE_USERS

    user = STAGE_USERS.get(stage)
    found = settings_for(data, user=user or OWNER)
    update: dict[str, Any] = {}
    if found.credentials_dir is not None:
        folder = found.credentials_dir
        update = {"kafka_user": found.login(stage), "kafka_password_file": folder / f"kafka.{stage}"}
        if user is not None:
            update |= {"clickhouse_user": found.login(user), "clickhouse_password_file": folder / f"clickhouse.{user}"}
    if user is None:
        update |= {"clickhouse_host": "", "clickhouse_password": SecretStr(""), "clickhouse_password_file": None}
    return found.model_copy(update=update)


def key_root(folder: Path) -> Path:
    """Where an embedded installation keeps its key root."""
    return folder / "keys" / "root.key"
