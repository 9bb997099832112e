"""Rules for Kafka: each stage reads and writes its own topics, and raw text is for few."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from infra.access.kafka import COUNTED, OPERATOR, PRINCIPALS, Acl, acls, command
from pipeline.cli import main
from pipeline.cli.worker import CLASSIFY, PROCESSES
from pipeline.settings import Settings
from pipeline.transport import admin
from schemas.topics import BY_NAME


def rules(**known: str) -> list[Acl]:
    settings = Settings(**known)  # type: ignore[arg-type]
    return acls(settings.topic, settings.group, settings.login, settings.prefix)


def may(operation: str, topic: str, found: list[Acl]) -> set[str]:
    return {acl.principal for acl in found if (acl.operation, acl.resource, acl.name) == (operation, "topic", topic)}


def test_every_process_has_a_principal_and_every_topic_is_one_of_the_contract() -> None:
    assert {*PROCESSES, CLASSIFY} <= {principal.name for principal in PRINCIPALS}
    named = {topic for one in PRINCIPALS for topic in (*one.reads, *one.writes, *one.deletes)}
    assert named <= set(BY_NAME)
    assert COUNTED == admin.COUNTED


def test_raw_text_is_read_by_those_who_turn_it_into_something_else() -> None:
    assert may("read", "llm.calls.raw", rules()) == {"measure", "redact", "keep"}
    assert may("write", "llm.calls.raw", rules()) == {"application", "measure", "classify"}
    assert may("delete", "llm.calls.raw", rules()) == {"keep"}


def test_the_ledger_is_written_by_the_sink_and_by_keep() -> None:
    assert may("write", "llm.ledger", rules()) == {"sink", "keep"}


def test_nobody_but_the_operator_and_keep_has_more_than_named_topics_and_groups() -> None:
    wide = {acl.principal for acl in rules() if acl.is_prefix}
    assert wide == {OPERATOR, "keep", "subscriber"}
    assert not any(acl.operation == "all" for acl in rules() if acl.principal != OPERATOR)


def test_an_environment_has_principals_topics_and_groups_of_its_own() -> None:
    staging = rules(environment="staging")
    assert {acl.principal.split("_")[0] for acl in staging} == {"staging"}
    for acl in staging:
        assert acl.name.startswith(
            ("staging.llm.", "tokentrail.staging.llm.", "kafka-cluster", "tokentrail-subscribe-")
        )


def test_a_rule_is_a_line_for_kafkas_own_tool() -> None:
    line = command(Acl("keep", "describe_configs", "topic", "llm.calls"), "broker:9093")
    assert "--bootstrap-server broker:9093" in line
    assert "--allow-principal 'User:keep' --operation DescribeConfigs --topic 'llm.calls'" in line
    assert line != command(Acl("keep", "describe_configs", "topic", "llm.calls", is_prefix=True), "broker:9093")


@pytest.mark.parametrize("name", ["show", "sql", "kafka"])
def test_the_command_prints_lines_or_json(name: str, tmp_path: object) -> None:
    lines = CliRunner().invoke(main.app, ["access", name])
    assert lines.exit_code == 0, lines.output
    assert len(lines.output.splitlines()) >= 8
    assert len(json.loads(CliRunner().invoke(main.app, ["access", name, "--json"]).output)) >= 8
