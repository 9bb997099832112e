"""`docker-compose.yml` is a valid compose file, keeps its promises, and runs the system that `tokentrail up` runs.

The compose specification's own schema comes with the package `check-jsonschema`.
"""

from __future__ import annotations

import importlib.util
import json
import re
import stat
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from prometheus_client import start_http_server

from infra.access.matrix import STAGE_USERS, TEXT_TABLES, USERS
from infra.access.rights import logins
from infra.access.users_xml import container_users_xml
from infra.compose import healthy
from infra.compose.prepare import prepare
from infra.embedded.jars import KAFKA_VERSION
from infra.embedded.kafka import SETTINGS
from infra.embedded.passwords import sha256_hex
from infra.embedded.ports import pick

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
USERS_FILE = ROOT / "infra/compose/clickhouse/users.xml"
SECRETS = "infra/compose/secrets"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def specification() -> dict[str, Any]:
    package = importlib.util.find_spec("check_jsonschema")  # for its data; it need not be importable
    assert package is not None and package.origin is not None
    path = Path(package.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def test_the_file_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    jsonschema.validate(compose, specification())


def test_the_specification_would_notice_a_mistake(compose: dict[str, Any]) -> None:
    wrong = compose | {"services": compose["services"] | {"kafka": {"image": "apache/kafka", "prots": ["9092:9092"]}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, specification())


def test_every_image_is_pinned_and_kafka_is_the_embedded_one(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert images["kafka"] == f"apache/kafka:{KAFKA_VERSION}"
    assert images["clickhouse"] == "clickhouse/clickhouse-server:26.9"
    assert not any(image.endswith(":latest") or ":" not in image for image in images.values())


def test_nothing_is_published_beyond_loopback(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_whatever_runs_for_long_has_a_healthcheck_and_starts_again(compose: dict[str, Any]) -> None:
    for name in ("kafka", "clickhouse", "pipeline"):
        service = compose["services"][name]
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name


def test_the_pipeline_is_healthy_only_while_every_stage_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENTRAIL_DATA_DIR", str(tmp_path))
    assert healthy.main() == 1
    server, thread = start_http_server(0, addr="127.0.0.1")
    try:
        answering = {"sink": {"pid": 1, "metrics_port": server.server_port, "restarts": 0}}
        for stages, code in (
            (answering, 0),
            (answering | {"redact": {"pid": 2, "metrics_port": pick(None), "restarts": 3}}, 1),
            ({}, 1),
        ):
            (tmp_path / "stages.json").write_text(json.dumps({"supervisor": 1, "stages": stages}))
            capsys.readouterr()
            assert healthy.main() == code, stages
            assert ("redact" in capsys.readouterr().out) == ("redact" in stages)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_stages_start_after_the_servers_are_healthy_and_migrated(compose: dict[str, Any]) -> None:
    assert compose["services"]["pipeline"]["command"] == ["worker"]
    assert compose["services"]["migrate"]["command"] == ["migrate"]
    waits = compose["services"]["pipeline"]["depends_on"]
    assert waits["migrate"]["condition"] == "service_completed_successfully"
    assert waits["kafka"]["condition"] == waits["clickhouse"]["condition"] == "service_healthy"


def test_data_outlives_its_container(compose: dict[str, Any]) -> None:
    named = set(compose["volumes"])
    assert "kafka-data:/var/lib/kafka/data" in compose["services"]["kafka"]["volumes"]
    assert "clickhouse-data:/var/lib/clickhouse" in compose["services"]["clickhouse"]["volumes"]
    assert {"kafka-data", "clickhouse-data"} <= named


def test_every_setting_of_the_stages_is_one_they_read(compose: dict[str, Any]) -> None:
    from pipeline.settings import Settings

    known = {f"TOKENTRAIL_{name.upper()}" for name in Settings.model_fields}
    named = set(compose["services"]["pipeline"]["environment"])
    assert named <= known
    assert {"TOKENTRAIL_KAFKA_BOOTSTRAP", "TOKENTRAIL_CLICKHOUSE_PASSWORD_FILE", "TOKENTRAIL_KEY_ROOT_FILE"} <= named


def test_files_that_are_mounted_or_built_from_are_there(compose: dict[str, Any]) -> None:
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert len(mounted) == 3
    for path in (*mounted, compose["services"]["pipeline"]["build"]["dockerfile"], "requirements.lock"):
        assert (ROOT / path).is_file(), path


def test_kafka_in_a_container_has_the_limits_of_the_embedded_one(compose: dict[str, Any]) -> None:
    environment = compose["services"]["kafka"]["environment"]
    embedded = dict(line.split("=", 1) for line in SETTINGS.format_map(_Placeholders()).splitlines())
    for name in (
        "auto.create.topics.enable",
        "group.initial.rebalance.delay.ms",
        "group.min.session.timeout.ms",
        "message.max.bytes",
        "offsets.topic.replication.factor",
        "replica.fetch.max.bytes",
        "transaction.state.log.min.isr",
        "transaction.state.log.replication.factor",
    ):
        assert environment["KAFKA_" + name.replace(".", "_").upper()] == embedded[name], name


class _Placeholders(dict[str, object]):
    def __missing__(self, name: str) -> object:
        from infra.embedded.kafka import MESSAGE_MAX_BYTES

        return MESSAGE_MAX_BYTES if name == "message_max_bytes" else ""


def test_the_users_file_is_current() -> None:
    assert USERS_FILE.read_text() == container_users_xml(), (
        "run: python -m infra.compose.prepare --users > infra/compose/clickhouse/users.xml"
    )


def test_users_in_a_container_have_the_grants_of_the_embedded_ones_and_no_default_user() -> None:
    users = ElementTree.fromstring(USERS_FILE.read_text()).find("users")
    assert users is not None
    granted = {user.tag: tuple(query.text for query in user.iter("query")) for user in users if user.tag != "default"}
    assert granted == {login.name: login.grants for login in logins()}
    default = users.find("default")
    assert default is not None
    assert default.attrib == {"remove": "remove"}


def test_the_auditors_list_names_no_table_with_text() -> None:
    grants = {login.name: login.grants for login in logins()}
    for user in ("auditor", "oncall", "finops"):
        assert not any(table in grant for grant in grants[user] for table in TEXT_TABLES)
        assert not any("*" in grant for grant in grants[user])


def test_no_secret_stands_in_a_committed_file(tmp_path: Path) -> None:
    prepare(tmp_path)
    for path in (COMPOSE, *(ROOT / "infra/compose").rglob("*")):
        if path.is_file() and SECRETS not in str(path):
            text = path.read_bytes().decode(errors="replace")
            assert not re.search(r"password[a-z0-9_]*\s*[:=>]\s*[\"']?[A-Za-z0-9+_-]{20,}", text, re.IGNORECASE), path
            assert not re.search(r"\b[0-9a-f]{64}\b", text), path
    assert (ROOT / "infra/compose/.gitignore").read_text().split() == ["secrets/"]


def test_prepare_makes_what_the_file_names_privately_and_once(compose: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = prepare(folder)
    for secret in compose["secrets"].values():
        assert (folder / Path(secret["file"]).name).is_file()
        assert secret["file"].startswith(SECRETS)
    assert compose["services"]["clickhouse"]["env_file"] == f"{SECRETS}/compose.env"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert prepare(folder) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_each_stage_that_needs_clickhouse_is_given_its_own_password(compose: dict[str, Any]) -> None:
    service = compose["services"]["pipeline"]
    given = {item["target"]: item["source"] for item in service["secrets"] if isinstance(item, dict)}
    folder = service["environment"]["TOKENTRAIL_CREDENTIALS_DIR"]
    assert given == {f"{folder}/clickhouse.{user}": f"{user}_password" for user in STAGE_USERS.values()}
    assert {compose["secrets"][name]["file"] for name in given.values()} == {
        f"{SECRETS}/{user}.password" for user in STAGE_USERS.values()
    }


def test_what_clickhouse_writes_is_encrypted_with_a_key_that_prepare_makes(tmp_path: Path) -> None:
    prepare(tmp_path)
    environment = dict(line.split("=", 1) for line in (tmp_path / "compose.env").read_text().splitlines())
    at_rest = ElementTree.parse(ROOT / "infra/compose/clickhouse/at_rest.xml").getroot()
    disk = at_rest.find("storage_configuration/disks/sealed")
    assert disk is not None
    (key,) = disk.findall("key_hex")
    assert re.fullmatch(r"[0-9a-f]{64}", environment[key.attrib["from_env"]])
    assert disk.findtext("current_key_id") == key.attrib["id"]
    policy = at_rest.findtext("merge_tree/storage_policy")
    first = at_rest.find(f"storage_configuration/policies/{policy}/volumes/*")
    assert first is not None
    assert first.findtext("disk") == "sealed"


def test_the_container_is_given_the_hash_of_every_users_password_and_no_password(tmp_path: Path) -> None:
    prepare(tmp_path)
    environment = dict(line.split("=", 1) for line in (tmp_path / "compose.env").read_text().splitlines())
    wanted = {
        element.attrib["from_env"]
        for element in ElementTree.fromstring(USERS_FILE.read_text()).iter("password_sha256_hex")
    }
    assert wanted == {name for name in environment if name.startswith("TOKENTRAIL_SHA256_")}
    for user in USERS:
        password = (tmp_path / f"{user}.password").read_text().strip()
        assert environment[f"TOKENTRAIL_SHA256_{user.upper()}"] == sha256_hex(password)
        assert password not in (tmp_path / "compose.env").read_text()
