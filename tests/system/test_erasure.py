"""A person is erased: from tables, findings and logs at once, from the disk when Kafka has forgotten; proofs stay.

One installation with every stage. The search is the disk's: parts, segments and snapshots unpacked.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from disk_search import search

from agents.keeping.job import Keeping
from agents.keeping.sweeps import Sweeps
from infra.embedded import kafka
from pipeline import keys
from pipeline.cli.context import settings_for
from pipeline.cli.erase import ask
from pipeline.cli.main import main
from pipeline.control.holds import Placed, Released, placing, releasing, scope_of
from pipeline.intake.identify import Identifiers
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.storage import change
from pipeline.storage.check import partition_count, verify_installation
from pipeline.storage.client import Client, connect
from pipeline.storage.erase import Eraser, steps
from pipeline.storage.ledgers import Ledger
from pipeline.transport.erasures import BEARING, requests
from pipeline.transport.policies import append_control, read_holds
from pipeline.transport.tail import Reader
from schemas.clean import Clean, Content, Stamp
from schemas.fact import Fact
from schemas.position import Position
from schemas.topics import TOPICS
from tests.installation import Installation, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HOUR_MS = 3_600_000
STAGES = ("measure", "redact", "sink", "guard", "meter", "judge", "act")
# Words that redaction leaves alone, so that each stands in the tables and can be looked for.
NAMES = ("anna", "boris", "carla", "dmitri", "egon", "frieda", "gunda", "hilda")
PEOPLE = {name: f"zebra{name}quokka" for name in (*NAMES, "isolde")}
CALLS = 4
SPREAD = {topic.name for topic in TOPICS if topic.spread}
ROOT = Path(__file__).resolve().parents[2]


class House:
    """The installation, and what erases in it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.settings: Settings = settings_for(installation.folder, user="custodian")
        self.keys: Keys = keys.load(self.settings)
        self.client: Client = connect(self.settings, purpose="test", timeout_s=120)
        self.partitions = partition_count(self.settings)

    def send(self, name: str, numbers: range, *, judged: bool = True) -> None:
        """Calls of a person, in runs of two, feedback by the person, and a judge's word on each call; hours ago."""
        ts = int(time.time() * 1000) - 3 * HOUR_MS
        for number in numbers:
            said = f"{PEOPLE[name]} said {number}"
            judge = {"call": f"{name}-call-{number}", "name": "fit", "score": 1, "label": f"{PEOPLE[name]} judged"}
            opinion = {"call": f"{name}-call-{number}", "rating": 1, "comment": f"{PEOPLE[name]} comments"}
            events = [
                {**self._call(name, number), "ts": ts, "input": said, "output": f"answer to {said}"},
                {"tenant": "acme", "kind": "feedback", "user": f"{name}@example.com", "ts": ts, "feedback": opinion},
                {"tenant": "acme", "kind": "evaluation", "ts": ts, "evaluation": judge},
            ]
            self.installation.produce(events if judged else events[:2], partition=number % self.partitions)

    def loop(self, name: str) -> None:
        """A run of the person that goes in circles, so that there is a finding about it."""
        call = {**self._call(name, 0), "id": None, "run": f"{name}-run-0", "input": "again", "output": "and again"}
        self.installation.produce([call] * 6, partition=0)

    def rotated(self, name: str, version: int) -> None:
        """A call of the person as `redact` would write it after a rotation of the keys: it comes first, so it wins."""
        offset = self.installation.ends("calls.raw")[0]
        who = Identifiers(self.keys, lambda _: True, version)
        user = who.hashed("acme", "user", f"{name}@example.com", "pseudonym")
        now = int(time.time() * 1000)
        fact = Fact("call", Position(1, 0, offset), offset, now, now, tenant="acme", user=user)
        clean = Clean(fact, Stamp(30, 7, keys=version), Content(f"{PEOPLE[name]} after a rotation"))
        producer = Producer(self.settings.librdkafka())
        producer.produce(self.settings.topic("calls"), msgspec.json.encode(clean), partition=0)
        assert producer.flush(20) == 0
        self.installation.produce([{"tenant": "acme"}], partition=0)

    def pass_time(self) -> None:
        """Somebody calls now, everywhere, so that the windows of hours ago close."""
        for partition in range(self.partitions):
            self.installation.produce([{"tenant": "acme", "kind": "call", "model": "gpt-4o"}], partition=partition)

    @staticmethod
    def _call(name: str, number: int) -> dict[str, Any]:
        return {
            "tenant": "acme", "kind": "call", "id": f"{name}-call-{number}", "user": f"{name}@example.com",
            "run": f"{name}-run-{number // 2}", "session": f"{name}-session", "trace_id": f"{name}-trace-{number}",
            "feature": "chat", "provider": "openai", "model": "gpt-4o", "usage": {"input": 10, "output": 5},
        }  # fmt: skip

    def pseudonyms(self, name: str) -> list[str]:
        """Of the person under every key version; of the person's runs, session, traces and ids."""
        who = Identifiers(self.keys, lambda _: True)
        found = list(scope_of(self.keys, "acme", user=f"{name}@example.com").users or ())
        ties = [("session", f"{name}-session")]
        for number in range(2 * CALLS):
            ties += [("run", f"{name}-run-{number // 2}"), ("trace", f"{name}-trace-{number}")]
            found.append(who.event_id("acme", f"{name}-call-{number}") or "")
        return found + [who.hashed("acme", kind, value) or "" for kind, value in ties]

    def traces(self, *names: str) -> dict[str, set[str]]:
        """What the disk still says of people: their words, pseudonyms and names, and the files."""
        wanted = [n for name in names for n in (PEOPLE[name], f"{name}@example.com", *self.pseudonyms(name))]
        return search(self.installation.folder, wanted)

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

    def findings(self, table: str, name: str = "") -> int:
        """Rows of windows or anomalies that name a person, or a run of the person's; without a name: anybody."""
        sql = (
            f"SELECT count() FROM {self.client.database}.{table} WHERE hasAny(mapValues(subject), "
            "{values:Array(String)}) SETTINGS log_queries = 0"
        )
        values = [value for each in ([name] if name else NAMES) for value in self.pseudonyms(each)]
        return int(self.client.rows(sql, {"values": values})[0][0])

    def logged(self, pseudonym: str) -> int:
        """Entries of the server's query log that say a pseudonym."""
        self.client.command("SYSTEM FLUSH LOGS")
        sql = "SELECT count() FROM system.query_log WHERE position(query, {value:String}) > 0 SETTINGS log_queries = 0"
        return int(self.client.rows(sql, {"value": pseudonym})[0][0])

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        tables = ("calls", "call_content", "evaluations", "feedback", "dead_letters")
        counted = (self.client.rows(f"SELECT count() FROM {self.client.database}.{table}") for table in tables)
        return {table: int(rows[0][0]) for table, rows in zip(tables, counted, strict=True)}

    def ledgers(self) -> list[Ledger]:
        """Every partition's ledger, folded."""
        with Reader(self.settings) as reader:
            found = [Ledger(reader, number) for number in range(self.partitions)]
            for ledger in found:
                ledger.catch_up()
        return found

    def keeping(self) -> Keeping:
        """What the process `keep` is given."""
        return Keeping(self.settings, self.client, self.keys, self.partitions)

    def forget(self) -> None:
        """Let every topic that may know a person forget all it has, as it does when its life has passed."""
        client = AdminClient(self.settings.librdkafka())
        short = [ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)]
        topics = [
            ConfigResource(ResourceType.TOPIC, self.settings.topic(name), incremental_configs=short) for name in BEARING
        ]
        for answer in client.incremental_alter_configs(topics).values():
            answer.result(20)

        def is_empty() -> bool:
            with Reader(self.settings) as reader:
                return all(
                    len(set(reader.bounds(name, partition))) == 1
                    for name in BEARING
                    for partition in range(self.partitions if name in SPREAD else 1)
                )

        wait_for("Kafka to forget", is_empty, 60, 0.3)

    def ask(self, name: str) -> str:
        """A request for a person, without a sweep."""
        return ask(self.settings, "acme", "user", f"{name}@example.com", by="dpo", reason="ticket 12")

    def eraser(self) -> Eraser:
        return Eraser(self.settings, self.client, self.keys, self.partitions, read_holds(self.settings, self.keys))

    def sweep(self, request: str) -> Any:
        (found,) = [each for each in requests(self.settings) if each.id == request]
        return self.eraser().sweep(found, last=False, patience_s=60)

    def verify(self) -> list[str]:
        report = verify_installation(settings_for(self.installation.folder))
        return [f"{problem.kind} {problem.table} {problem.position}: {problem.why}" for problem in report.problems]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An installation with three hours of eight people's calls; Kafka looks often at what is to be deleted."""
    patch = pytest.MonkeyPatch()
    quick = kafka.SETTINGS.replace("log.retention.check.interval.ms=30000", "log.retention.check.interval.ms=300")
    quick = quick.replace("log.segment.delete.delay.ms=5000", "log.segment.delete.delay.ms=100")
    patch.setattr(kafka, "SETTINGS", f"{quick}log.initial.task.delay.ms=100\n")
    environment = {"TOKENTRAIL_NER": "false", "TOKENTRAIL_TICKS": "off"}
    found = Installation(Path(tmp_path_factory.mktemp("erasure")), environment)
    try:
        found.start()
        found.start_stages(STAGES)
        made = House(found)
        for name in NAMES:
            made.send(name, range(CALLS))
        made.loop("anna")
        made.pass_time()
        found.wait_settled(90)
        for table in ("windows", "anomalies"):
            wait_for(f"{table} about people", lambda table=table: made.findings(table), 60)
        yield made
        made.client.close()
    finally:
        found.stop()
        patch.undo()


@pytest.fixture
def command(house: House, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `erase` with arguments; its exit code and the JSON it wrote."""

    def run(*arguments: str) -> tuple[int, Any]:
        try:
            main(["erase", *arguments, "--data", str(house.installation.folder)])
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        written = capsys.readouterr()
        return code, json.loads(written.out) if written.out else written.err

    return run


def test_before_an_erasure_the_search_finds_the_person_in_parts_and_in_segments(house):
    pseudonym = house.pseudonyms("anna")[0]
    found = house.traces("anna")
    places = {needle: {path.split("/")[0] for path in paths} for needle, paths in found.items()}
    assert places[PEOPLE["anna"]] == places[pseudonym] == {"clickhouse", "kafka"}
    assert places["anna@example.com"] == {"kafka"}
    said = {path.split("/")[2].rsplit("-", 1)[0] for path in found[pseudonym] if path.startswith("kafka/data/")}
    assert {"llm.facts", "llm.calls", "llm.partials", "llm.windows"} <= said
    assert (house.rows("anna"), house.rows("anna", "feedback"), house.texts("anna")) == (CALLS + 6, CALLS, 3 * CALLS)
    assert house.findings("windows", "anna") and house.findings("anomalies", "anna")


def test_an_erased_person_is_gone_from_tables_findings_and_logs_and_verify_passes(house, command):
    pseudonym = house.pseudonyms("anna")[0]
    counts = house.counts()
    # Somebody has asked for the person by name of the pseudonym; the server's log knows it.
    house.client.rows(f"SELECT count() FROM {house.client.database}.calls WHERE user = '{pseudonym}'")
    code, said = command(
        "--tenant", "acme", "--user", "anna@example.com", "--by", "dpo", "--reason", "ticket 12", "--json"
    )
    assert code == 0, said
    assert said["status"] == "first" and said["not_cleared"] == []
    assert said["rows"]["calls"] == CALLS + 6 and said["rows"]["call_content"] == 3 * CALLS + 6
    assert said["rows"]["evaluations"] == said["rows"]["feedback"] == CALLS
    assert said["rows"]["windows"] > 0 and said["rows"]["anomalies"] > 0 and said["rows"]["system.query_log"] > 0
    assert (house.rows("anna"), house.rows("anna", "feedback"), house.texts("anna")) == (0, 0, 0)
    assert house.findings("windows", "anna") == house.findings("anomalies", "anna") == 0
    assert house.logged(pseudonym) == 0
    # Bare rows are still counted; other people's text and rows are as they were.
    assert house.counts() == {**counts, "call_content": counts["call_content"] - 3 * CALLS - 6}
    assert (house.rows("carla"), house.texts("carla"), house.findings("windows", "carla") > 0) == (4, 12, True)
    assert house.verify() == []
    assert pseudonym not in json.dumps(said) and "anna@example.com" not in json.dumps(said)


def test_what_comes_later_is_a_bare_row_also_when_the_sink_is_killed(house):
    assert house.rows("anna") == 0, "the test before has erased her"
    counts = house.counts()
    house.send("anna", range(CALLS, CALLS + 2), judged=False)
    house.installation.kill("sink")
    house.send("anna", range(CALLS + 2, 2 * CALLS), judged=False)
    house.installation.wait_settled(60)
    assert (house.rows("anna"), house.rows("anna", "feedback"), house.texts("anna")) == (0, 0, 0)
    now = house.counts()
    assert now == {**counts, "calls": counts["calls"] + CALLS, "feedback": counts["feedback"] + CALLS}
    assert [ledger.erasures for ledger in house.ledgers()] == [1] * house.partitions
    assert house.verify() == []


def test_a_run_and_a_single_call_can_be_erased_without_the_rest_of_the_person(house, command):
    how = ("--tenant", "acme", "--by", "dpo", "--reason", "ticket 13", "--json")
    code, said = command(*how, "--run", "gunda-run-0")
    assert code == 0 and said["rows"] == {"call_content": 6, "evaluations": 2, "calls": 2, "feedback": 2}
    assert (house.rows("gunda"), house.texts("gunda")) == (2, 6)
    code, said = command(*how, "--id", "gunda-call-3")
    assert code == 0 and said["rows"] == {"call_content": 3, "evaluations": 1, "calls": 1, "feedback": 1}
    assert (house.rows("gunda"), house.texts("gunda")) == (1, 3)
    assert house.verify() == []


def test_a_rotation_of_keys_hides_nobody(house, command):
    house.send("isolde", range(1))
    house.installation.wait_settled(60)
    house.rotated("isolde", 7)
    house.installation.wait_settled(60)
    known = (
        f"SELECT countIf(key_version = 7), count() FROM {house.client.database}.calls "
        "WHERE user IN {users:Array(String)} SETTINGS log_queries = 0"
    )
    users = {"users": list(scope_of(house.keys, "acme", user="isolde@example.com").users or ())}
    assert house.client.rows(known, users) == [(1, 2)]
    assert house.texts("isolde") == 4
    code, _ = command(
        "--tenant", "acme", "--user", "isolde@example.com", "--by", "dpo", "--reason", "ticket 15", "--json"
    )
    assert code == 0 and house.texts("isolde") == 0
    assert house.client.rows(known, users) == [(0, 0)]
    house.rotated("isolde", 8)
    house.pass_time()  # so that the second record of that position, which counts for nothing, is behind the sink, too
    house.installation.wait_settled(60)
    assert house.client.rows(known, users) == [(0, 0)]
    assert house.texts("isolde") == 0
    assert house.verify() == []


@pytest.mark.parametrize(
    ("name", "point"),
    [("dmitri", "before the rows"), ("egon", "between two tables"), ("frieda", "before the receipt")],
)
def test_an_erasure_that_ends_anywhere_is_finished_by_the_next(house, monkeypatch, name, point):
    request = house.ask(name)
    with monkeypatch.context() as patch:
        _end(patch, point)
        with pytest.raises(KeyboardInterrupt):
            house.sweep(request)
    assert house.verify() == [], f"half an erasure is lawful, too ({point})"
    step = house.sweep(request)
    assert step.step == "first"
    assert (house.rows(name), house.rows(name, "feedback"), house.texts(name)) == (0, 0, 0)
    assert not any(ledger.under_way for ledger in house.ledgers())
    assert house.verify() == []


def test_a_killed_command_is_finished_by_whoever_comes(house, command):
    arguments = ["erase", "--tenant", "acme", "--user", "-", "--by", "dpo", "--reason", "ticket 14"]
    code = (
        "import os, sys; from pipeline.storage import change; from pipeline.cli.main import main; "
        "change._apply = lambda *_: os.kill(os.getpid(), 9) if _[2] else None; main(sys.argv[1:])"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--data", str(house.installation.folder)],
        cwd=ROOT, input="boris@example.com\n", capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert killed.returncode == -9, killed.stderr
    assert any(ledger.under_way for ledger in house.ledgers())
    assert house.rows("boris") == CALLS and house.verify() == []
    request = requests(house.settings)[-1].id
    code_of_status, said = command("status", request, "--json")
    assert code_of_status == 1 and said["status"] == "asked"
    Sweeps(lambda: int(time.time() * 1000) + HOUR_MS).run(house.keeping())
    assert (house.rows("boris"), house.texts("boris")) == (0, 0)
    assert [step.step for step in steps(house.client, request)] == ["found", "first"]
    assert house.verify() == []


def test_a_legal_hold_keeps_rows_until_it_is_released(house):
    now = int(time.time() * 1000)
    scope = scope_of(house.keys, "acme", user="hilda@example.com").marked(house.keys)
    append_control(house.settings, placing("h1", Placed(scope, "case 9", "legal"), now))
    request = house.ask("hilda")
    step = house.sweep(request)
    assert (step.held, step.rows) == (6 * CALLS, {})
    assert (house.rows("hilda"), house.texts("hilda")) == (CALLS, 3 * CALLS)
    append_control(house.settings, releasing("h1", Released("closed", "legal"), now))
    assert house.sweep(request).held == 0
    assert (house.rows("hilda"), house.texts("hilda")) == (0, 0)
    assert house.verify() == []


def test_after_the_second_sweep_the_disk_holds_no_byte_of_them(house, command):
    erased = ("anna", "boris", "dmitri", "egon", "frieda", "hilda", "isolde")
    asked = {request.id: request for request in requests(house.settings)}
    long_after = max(request.asked_at for request in asked.values()) + 60 * 24 * HOUR_MS
    Sweeps(lambda: long_after).run(house.keeping())
    assert all("done" not in {step.step for step in steps(house.client, id)} for id in asked), "Kafka still knows"
    assert house.traces(*erased), "it does"
    assert house.findings("windows", "anna") == 0, "what stages said of her later calls was not stored"
    # What the weeks do: stages forget, Kafka deletes.
    house.installation.stop_stages()
    house.forget()
    Sweeps(lambda: long_after).run(house.keeping())
    assert {steps(house.client, id)[-1].step for id in asked} == {"done"}
    assert house.traces(*erased) == {}
    left = house.traces("carla")
    assert {PEOPLE["carla"], house.pseudonyms("carla")[0]} <= left.keys(), "others are still there"
    assert (house.rows("carla"), house.texts("carla")) == (4, 12)
    assert house.verify() == []
    code, said = command("receipt", next(iter(asked)))
    assert code == 0 and said["status"] == "done" and said["ledger"]
    assert [sweep["step"] for sweep in said["sweeps"]] == ["first", "done"]


def _end(patch: pytest.MonkeyPatch, point: str) -> None:
    """End the next erasure at a point, once."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    if point == "before the receipt":
        patch.setattr(Eraser, "_write", lambda self, request, step, *rest, **more: None if step == "found" else end())
    elif point == "before the rows":
        patch.setattr(change, "_apply_to_cell", end)
    else:
        apply, calls = change._apply_to_cell, iter(range(9))
        patch.setattr(change, "_apply_to_cell", lambda *rest: end() if next(calls) else apply(*rest))
