"""A person is erased: from tables, findings and logs at once, from the disk when Kafka has forgotten; proofs stay.

One installation with every stage. The search is the disk's: parts, segments and snapshots unpacked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from disk_search import search

from agents.keeping.job import Keeping
from agents.keeping.sweeps import Sweeps
from infra.embedded import kafka
from pipeline import keys
from pipeline.cli.context import settings_for
from pipeline.control.holds import scope_of
from pipeline.errors import RetryableError
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.storage import change
from pipeline.storage.check import partition_count, verify_installation
from pipeline.storage.client import Client, connect
from pipeline.storage.erase import Eraser, steps
from pipeline.storage.ledgers import Ledger
from pipeline.transport.erasures import BEARING, requests
from pipeline.transport.policies import read_holds
from tests.installation import Installation, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

STAGES = ("measure", "redact", "sink", "guard", "meter", "judge", "act")
# Words that redaction leaves alone, so that each stands in the tables and can be looked for.
PEOPLE = {name: f"zebra{name}quokka" for name in ("anna", "boris", "carla", "dmitri", "egon", "frieda", "gunda")}
ROOT = Path(__file__).resolve().parents[2]


class House:
    """The installation, and what erases in it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.settings: Settings = settings_for(installation.folder, user="custodian")
        self.keys: Keys = keys.load(self.settings)
        self.client: Client = connect(self.settings, purpose="test", timeout_s=120)
        self.partitions = partition_count(self.settings)

    def send(self, name: str, count: int, first: int = 0) -> None:
        """Calls of a person, in runs of two, on every partition; feedback by the person; a judge's word on a call."""
        for number in range(first, first + count):
            call = f"{name}-call-{number}"
            said = f"{PEOPLE[name]} said {number}"
            run = f"{name}-run-{number // 2}"
            events: list[dict[str, Any]] = [
                {
                    "tenant": "acme", "kind": "call", "id": call, "user": f"{name}@example.com", "run": run,
                    "session": f"{name}-session", "trace_id": f"{name}-trace-{number}", "feature": "chat",
                    "provider": "openai", "model": "gpt-4o", "input": said, "output": f"answer to {said}",
                    "usage": {"input": 10, "output": 5},
                },
                {
                    "tenant": "acme", "kind": "feedback", "user": f"{name}@example.com",
                    "feedback": {"call": call, "rating": 1, "comment": f"{PEOPLE[name]} comments"},
                },
                {
                    "tenant": "acme", "kind": "evaluation",
                    "evaluation": {"call": call, "name": "correctness", "score": 1, "label": f"{PEOPLE[name]} judged"},
                },
            ]  # fmt: skip
            self.installation.produce(events, partition=number % self.partitions)

    def pseudonyms(self, name: str) -> list[str]:
        """Of the person and the runs, sessions, traces and ids of six calls; of the person under every key version."""
        from pipeline.intake.identify import Identifiers

        who = Identifiers(self.keys, lambda _: True)
        found = list(scope_of(self.keys, "acme", user=f"{name}@example.com").users or ())
        ties = [("session", f"{name}-session")]
        for number in range(8):
            ties += [("run", f"{name}-run-{number // 2}"), ("trace", f"{name}-trace-{number}")]
            found.append(who.event_id("acme", f"{name}-call-{number}") or "")
        return found + [who.hashed("acme", kind, value) or "" for kind, value in ties]

    def rows(self, name: str, table: str = "calls") -> int:
        """Rows of a table that name the person."""
        (pseudonym, *_) = self.pseudonyms(name)
        sql = (
            f"SELECT count() FROM {self.client.database}.{table} WHERE user = {{user:String}} SETTINGS log_queries = 0"
        )
        return int(self.client.rows(sql, {"user": pseudonym})[0][0])

    def texts(self, name: str) -> int:
        """Rows of text that hold the person's word."""
        sql = (
            f"SELECT count() FROM {self.client.database}.call_content WHERE position(input, {{word:String}}) > 0 "
            "OR position(output, {word:String}) > 0 OR arrayExists(v -> position(v, {word:String}) > 0, "
            "mapValues(other)) SETTINGS log_queries = 0"
        )
        return int(self.client.rows(sql, {"word": PEOPLE[name]})[0][0])

    def ask(self, name: str) -> str:
        """A request for a person, without a sweep."""
        from pipeline.cli.erase import ask

        return ask(self.settings, "acme", "user", f"{name}@example.com", by="dpo", reason="ticket 12")

    def eraser(self) -> Eraser:
        return Eraser(self.settings, self.client, self.keys, self.partitions, read_holds(self.settings, self.keys))

    def sweep(self, request: str) -> Any:
        (found,) = [each for each in requests(self.settings) if each.id == request]
        return self.eraser().sweep(found, last=False, patience_s=60)

    def erase(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command in a process of its own."""
        command = [
            sys.executable,
            "-m",
            "pipeline.cli.main",
            "erase",
            *arguments,
            "--data",
            str(self.installation.folder),
        ]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    def verify(self) -> list[str]:
        report = verify_installation(settings_for(self.installation.folder))
        return [f"{problem.kind} {problem.table} {problem.position}: {problem.why}" for problem in report.problems]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    patch = pytest.MonkeyPatch()
    quick = kafka.SETTINGS.replace("log.retention.check.interval.ms=30000", "log.retention.check.interval.ms=300")
    quick = quick.replace("log.segment.delete.delay.ms=5000", "log.segment.delete.delay.ms=100")
    patch.setattr(kafka, "SETTINGS", f"{quick}log.initial.task.delay.ms=100\n")
    found = Installation(Path(tmp_path_factory.mktemp("erasure")), {"TOKENTRAIL_NER": "false"})
    try:
        found.start()
        found.start_stages(STAGES)
        made = House(found)
        for name in PEOPLE:
            made.send(name, 8)
        found.wait_settled(90)
        yield made
        made.client.close()
    finally:
        found.stop()
        patch.undo()


def test_before_an_erasure_the_search_finds_the_person_in_parts_and_in_segments(house):
    found = search(house.installation.folder, [PEOPLE["anna"], house.pseudonyms("anna")[0], "anna@example.com"])
    places = {needle: {path.split("/")[0] for path in paths} for needle, paths in found.items()}
    assert places == {
        PEOPLE["anna"]: {"clickhouse", "kafka"},
        house.pseudonyms("anna")[0]: {"clickhouse", "kafka"},
        "anna@example.com": {"kafka"},
    }
    assert (house.rows("anna"), house.rows("anna", "feedback"), house.texts("anna")) == (8, 8, 24)
