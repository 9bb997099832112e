"""`tokentrail up`: the whole of it on this machine: Kafka, ClickHouse, migrations and every stage, until Ctrl-C."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.context import DataOption, JsonOption, data_dir, key_root, settings_for
from pipeline.errors import TokentrailError

if TYPE_CHECKING:
    from infra.embedded.servers import EmbeddedServers
    from pipeline.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: tokentrail up --data ./tokentrail-data --kafka-port 9092")
def up(
    data: DataOption = None,
    kafka_port: Annotated[int | None, typer.Option(help="Default: a free port, kept from then on.")] = None,
    clickhouse_port: Annotated[int | None, typer.Option(help="Default: a free port, kept from then on.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Retention and content policy (TOML).")] = None,
    servers_only: Annotated[bool, typer.Option("--servers-only", help="Kafka and ClickHouse without stages.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run servers and pipeline; everything listens on loopback only."""
    from pipeline.cli.supervisor import Supervisor

    logging.basicConfig(level="WARNING", stream=sys.stderr, format="%(message)s")
    folder = data_dir(data)
    begun = time.monotonic()
    servers = start_servers(folder, kafka_port=kafka_port, clickhouse_port=clickhouse_port)
    try:
        settings = prepare(folder, policy)
        endpoints = {
            "kafka_bootstrap": settings.kafka_bootstrap,
            "clickhouse_host": settings.clickhouse_host,
            "clickhouse_port": settings.clickhouse_port,
            "data_dir": str(folder),
            "started_in_s": round(time.monotonic() - begun, 1),
        }
        print(json.dumps(endpoints) if as_json else _welcome(endpoints), flush=True)
        code = Supervisor(settings, folder, () if servers_only else _stages(settings)).run()
    finally:
        print("Stopping ...", file=sys.stderr)
        servers.stop()
    raise typer.Exit(code)


def start_servers(
    folder: Path, *, kafka_port: int | None = None, clickhouse_port: int | None = None
) -> EmbeddedServers:
    """Start the embedded servers with progress on stderr.

    Raises:
        TokentrailError: One sentence on what is wrong (port taken, no disk, already running, ...).
    """
    from infra.embedded.errors import EmbeddedError
    from infra.embedded.servers import EmbeddedServers
    from pipeline.settings import Settings

    nothing_more: dict[str, Any] = {}
    servers = EmbeddedServers(
        folder,
        kafka_port=kafka_port,
        clickhouse_port=clickhouse_port,
        database=Settings(**nothing_more).database,
        on_progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    try:
        servers.start()
    except EmbeddedError as error:
        raise TokentrailError(str(error)) from error
    return servers


def prepare(folder: Path, policy: Path | None, **known: Any) -> Settings:
    """Key root, topics, tables and policy of an embedded installation; returns its settings."""
    from pipeline.cli.migrate import run
    from pipeline.keys import create_root

    create_root(key_root(folder))
    if policy is not None:
        known["policy_file"] = policy
    settings = settings_for(folder, **known)
    run(settings)
    return settings


def _stages(settings: Settings) -> tuple[str, ...]:
    from pipeline.cli.worker import processes

    return processes(settings)


def _welcome(at: dict[str, object]) -> str:
    return (
        f"tokentrail is up after {at['started_in_s']} s. Ctrl-C ends it; what it has stored stays.\n"
        f"  send events to   Kafka {at['kafka_bootstrap']}, topic llm.calls.raw (pip install tokentrail)\n"
        f"  read anomalies   tokentrail subscribe --data {at['data_dir']}   (topic llm.anomalies)\n"
        f"  ask ClickHouse   tokentrail query cost --data {at['data_dir']}   "
        f"(http://{at['clickhouse_host']}:{at['clickhouse_port']}, passwords in {at['data_dir']}/secrets.json)\n"
        f"  look after it    tokentrail doctor --data {at['data_dir']}"
    )
