"""`tokentrail access`: who may see and do what, as sentences, SQL for ClickHouse and rules for Kafka; and who has."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.context import DataOption, JsonOption, data_dir, settings_for
from pipeline.errors import RetryableError, UsageError

if TYPE_CHECKING:
    from infra.access.kafka import Acl
    from pipeline.settings import Settings

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Say who may see and do what, and who has read text.",
    epilog="Example: tokentrail access show",
)

ReadersOption = Annotated[
    Path | None,
    typer.Option(
        "--readers",
        help='File of tenants\' readers, lines as acme_reader = "acme" (default: tenant_readers.toml in --data).',
    ),
]
ANSWER_S = 15.0


@app.command(epilog="Example: tokentrail access show")
def show(readers: ReadersOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say in sentences who can see and change what."""
    from infra.access.rights import logins
    from infra.access.sentences import sentences

    tenants = _tenants(readers, data)
    if as_json:
        print(json.dumps([
            {"user": login.name, "role": login.role, "grants": login.grants, "rows": dict(login.policies)}
            for login in logins(_plain().database, tenants)
        ]))  # fmt: skip
        return
    for line in sentences(tenants):
        print(line)


@app.command(epilog="Example: tokentrail access sql --passwords /etc/tokentrail/credentials > access.sql")
def sql(
    passwords: Annotated[
        Path | None,
        typer.Option(
            help="Folder of files clickhouse.USER; only their SHA-256 is printed. Without: nobody can log in."
        ),
    ] = None,
    readers: ReadersOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the statements that give a ClickHouse server these users; safe to repeat."""
    from infra.access.sql import statements

    settings, tenants = _plain(), _tenants(readers, data)
    prefix = settings.login("")
    lines = statements(settings.database, tenants, _hashes(passwords), user_prefix=prefix)
    if as_json:
        print(json.dumps(lines))
        return
    for line in lines:
        print(f"{line};")


@app.command(epilog="Example: tokentrail access kafka --apply")
def kafka(
    apply: Annotated[bool, typer.Option("--apply", help="Give the rules to the brokers, as an operator.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the rules of Kafka's principals, one for each stage, as lines for Kafka's own tool."""
    from dataclasses import asdict

    from infra.access.kafka import acls, command

    settings = settings_for(data) if apply or data else _plain()
    rules = acls(settings.topic, settings.group, settings.login, settings.prefix)
    if apply:
        _apply(settings, rules)
    if as_json:
        print(json.dumps([asdict(rule) for rule in rules]))
    elif apply:
        print(f"{len(rules)} rules are in force at {settings.kafka_bootstrap}.")
    else:
        for rule in rules:
            print(command(rule, settings.kafka_bootstrap or "localhost:9092"))


@app.command(epilog="Example: tokentrail access reads --since 7d")
def reads(
    since: Annotated[str | None, typer.Option(help="From then on: 24h, 7d, 2026-03-01. Default: everything.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many rows; 0 gives all.")] = 100,
    user: Annotated[str | None, typer.Option(help="ClickHouse user (default on embedded servers: auditor).")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say who has read text, when and why; a read shows some ten seconds after it began."""
    from pipeline.cli.output import form, write
    from pipeline.cli.reader import reader_for
    from pipeline.cli.times import parse_since

    answer = reader_for(data, user).ask(
        "SELECT at, user, reason, purpose, outcome, columns, rows, address, query_id FROM text_reads "
        "WHERE at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') ORDER BY at, query_id, outcome",
        {"since_ms": parse_since(since) if since else 0},
        limit,
    )
    write(answer.columns, answer.rows, {"at": "time", "rows": "count"}, form(as_json, False))


def _plain() -> Settings:
    from pipeline.settings import Settings

    nothing_more: dict[str, Any] = {}
    return Settings(**nothing_more)


def _tenants(readers: Path | None, data: Path | None) -> dict[str, str]:
    from infra.access.readers import FILE_NAME, ReadersError, load

    if readers is not None and not readers.exists():
        raise UsageError(f"There is no file {readers}.")
    try:
        return load(readers or data_dir(data) / FILE_NAME)
    except ReadersError as error:
        raise UsageError(str(error)) from None


def _hashes(folder: Path | None) -> dict[str, str]:
    if folder is None:
        return {}
    found = {path.name.removeprefix("clickhouse."): path for path in folder.glob("clickhouse.*")}
    if not found:
        raise UsageError(f"{folder} holds no file clickhouse.USER.")
    try:
        return {user: hashlib.sha256(path.read_text().strip().encode()).hexdigest() for user, path in found.items()}
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read ({error.strerror}).") from None


def _apply(settings: Settings, rules: list[Acl]) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import (
        AclBinding,
        AclOperation,
        AclPermissionType,
        AdminClient,
        ResourcePatternType,
        ResourceType,
    )

    resources: dict[str, Any] = {
        "topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "cluster": ResourceType.BROKER,
    }  # fmt: skip
    bindings = [
        AclBinding(
            resources[rule.resource],
            rule.name,
            ResourcePatternType.PREFIXED if rule.is_prefix else ResourcePatternType.LITERAL,
            f"User:{rule.principal}",
            "*",
            AclOperation[rule.operation.upper()],
            AclPermissionType.ALLOW,
        )
        for rule in rules
    ]
    client = AdminClient(settings.librdkafka(log_level=3))
    try:
        for future in client.create_acls(bindings, request_timeout=ANSWER_S).values():
            future.result(ANSWER_S)
    except KafkaException as error:
        raise RetryableError(f"Kafka does not take the rules: {error.args[0].str()}.") from error
