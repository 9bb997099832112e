"""The rooms import each other only along the arrows of the architecture."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"agents", "bench", "demo", "infra", "pipeline", "schemas", "tokentrail"}
ALLOWED = {
    "schemas": {"schemas"},
    "infra": {"infra"},
    "pipeline": {"pipeline", "schemas"},
    "agents": {"agents", "pipeline", "schemas"},
}
PURE = {"audit", "control", "detection", "intake", "pricing", "redaction", "windows"}
WITH_IO = {"cli", "storage", "transport"}
CLIENTS = {"aiokafka", "clickhouse_connect", "confluent_kafka", "faust", "httpx"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_the_arrows_allow(room):
    wrong = {}
    for path in modules(room):
        # The command is where everything meets.
        allowed = OURS if "pipeline/cli" in path.as_posix() else ALLOWED[room]
        bad = {name for name in imports(path) if name.split(".")[0] in OURS - allowed}
        if bad:
            wrong[str(path.relative_to(ROOT))] = bad
    assert not wrong


def test_the_shim_imports_nothing_of_the_pipeline():
    for path in modules("shim/src"):
        assert not {name for name in imports(path) if name.split(".")[0] in OURS - {"tokentrail"}}, path


def test_the_shim_needs_confluent_kafka_and_orjson_and_nothing_else():
    import tomllib

    needs = tomllib.loads((ROOT / "shim/pyproject.toml").read_text())["project"]["dependencies"]
    assert sorted(need.split(">")[0].split("=")[0] for need in needs) == ["confluent-kafka", "orjson"]


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_knows_no_client_and_no_room_with_io(room):
    for path in modules(f"pipeline/{room}"):
        names = imports(path)
        assert not {name for name in names if name.split(".")[0] in CLIENTS}, path
        assert not {name for name in names if any(name.startswith(f"pipeline.{other}") for other in WITH_IO)}, path
