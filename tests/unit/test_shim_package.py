"""The shim as a distribution: what it needs, where it runs, and ids."""

from __future__ import annotations

import ast
import sys
import threading
import time
import tomllib
import uuid
from importlib import metadata
from pathlib import Path

import pytest

import tokentrail
from tokentrail import ids

SHIM = Path(__file__).parents[2] / "shim"
SOURCES = sorted((SHIM / "src" / "tokentrail").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_module_is_python_3_9(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    if source.name not in ("__init__.py", "_version.py"):
        assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


def test_nothing_is_imported_but_kafka_json_and_the_standard_library() -> None:
    found: set[str] = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])
    assert found - sys.stdlib_module_names == {"confluent_kafka", "orjson"}


def test_the_metadata_agrees() -> None:
    project = tomllib.loads((SHIM / "pyproject.toml").read_text())["project"]
    assert project["version"] == tokentrail.__version__ == metadata.version("tokentrail")
    assert sorted(name.split(">")[0] for name in project["dependencies"]) == ["confluent-kafka", "orjson"]
    assert (SHIM / "src" / "tokentrail" / "py.typed").exists()


def test_ids_are_uuid7_with_the_time_in_them() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(ids.Uuid7()())
    after_ms = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= after_ms


def test_ids_grow_also_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    new_id = ids.Uuid7()
    made = [new_id() for _ in range(1_000)]
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_000_000_000_000)
    made += [new_id() for _ in range(1_000)]
    monkeypatch.undo()
    made += [new_id() for _ in range(1_000)]
    assert made == sorted(made) and len(set(made)) == 3_000


def test_ids_of_many_threads_are_all_different_and_grow_in_each() -> None:
    new_id = ids.Uuid7()
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(new_id() for _ in range(5_000))) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*made)) == 20_000
    assert all(mine == sorted(mine) for mine in made)
