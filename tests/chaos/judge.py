"""The judge: it knows what was sent, and holds every row, window, anomaly and sum in ClickHouse to that."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from schemas.anomaly import Anomaly
from tests.chaos import events
from tests.chaos.house import House
from tests.chaos.player import Played
from tests.installation import wait_for

RAW_TABLES = ("calls", "evaluations", "feedback", "heartbeats", "dead_letters")
NAMED = 5
HOUR_MS = 3_600_000
WINDOWS = """
    SELECT dimension, subject_key, window_ms, toUnixTimestamp64Milli(start),
        argMax((calls, errors, input_tokens, output_tokens, toString(cost_usd), unpriced, latency_p50_ms,
            latency_p95_ms, latency_p99_ms), revision)
    FROM {database}.windows GROUP BY dimension, subject_key, window_ms, start
"""

Windows = dict[tuple[Any, ...], tuple[Any, ...]]


@dataclass
class Judgement:
    """What was found; `problems` is empty if all holds.

    Attributes:
        lost: Raw records without a row.
        twice: Rows or events more than once.
        revisions: Of anomalies, told on the topic; `repeats`: told again word for word.
        anomalies_twice: Revisions with two contents, and runs with two findings.
        windows: Compared windows, and how many differ from the run without faults.
    """

    lost: int = 0
    twice: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    revisions: int = 0
    repeats: int = 0
    anomalies_twice: int = 0
    windows: int = 0
    windows_differ: int = 0
    verify: str = ""
    verify_s: float = 0.0
    problems: list[str] = field(default_factory=list)


def judge(house: House, played: Played, reference: Windows | None, verify: bool = True) -> Judgement:
    """Account for everything."""
    found = Judgement()
    client, database = house.clickhouse(), house.settings.database
    expected = events.expected(played.count, played.again)
    _positions(client, database, played, found)
    _events(client, database, expected, found)
    _sums(client, database, expected, found)
    _anomalies(house, client, database, expected, found)
    if reference is not None:
        mine = windows_of(house)
        found.windows = len(reference)
        differing = [name for name in mine.keys() | reference.keys() if mine.get(name) != reference.get(name)]
        found.windows_differ = len(differing)
        for name in sorted(differing, key=str)[:NAMED]:
            found.problems.append(f"window {name}: {mine.get(name)}, without faults {reference.get(name)}")
    if verify:
        begun = time.monotonic()
        found.verify = verdict(house.folder)
        found.verify_s = round(time.monotonic() - begun, 1)
        if found.verify != "ok":
            found.problems.append(f"verify: {found.verify}")
    return found


def windows_of(house: House) -> Windows:
    """Every window's newest revision in ClickHouse, once the archive has all of the topic."""
    client, database = house.clickhouse(), house.settings.database
    counts: list[int] = []

    def quiet() -> bool:
        counts.append(int(client.query(f"SELECT count() FROM {database}.windows").result_rows[0][0]))
        return len(counts) > 6 and len(set(counts[-6:])) == 1

    wait_for("the archive of windows to be at rest", quiet, 120, 0.5)
    rows = client.query(WINDOWS.format(database=database)).result_rows
    return {tuple(row[:4]): tuple(row[4]) for row in rows}


def _positions(client: Any, database: str, played: Played, found: Judgement) -> None:
    """Each raw position has exactly one row."""
    union = " UNION ALL ".join(f"SELECT epoch, partition, offset FROM {database}.{table}" for table in RAW_TABLES)
    sql = f"SELECT epoch, partition, count(), uniqExact(offset), max(offset) FROM ({union}) GROUP BY epoch, partition"
    standing = {(int(e), int(p)): (int(c), int(u), int(m)) for e, p, c, u, m in client.query(sql).result_rows}
    last = max((epoch for epoch, _ in played.ends), default=0)
    for (epoch, partition), end in played.ends.items():
        count, unique, highest = standing.pop((epoch, partition), (0, 0, -1))
        ticks = played.ticks if epoch == last else 0
        if (count, unique) != (end - ticks, end - ticks) or highest >= end:
            found.lost += max(0, end - ticks - unique)
            found.twice += count - unique
            found.problems.append(
                f"{epoch}/{partition}: {end - ticks} rows due, {count} there, {unique} positions, highest {highest}"
            )
    if standing:
        found.problems.append(f"rows of unknown epochs or partitions: {standing}")
    for table in (*RAW_TABLES, "call_content"):
        sql = f"SELECT count(), uniqExact(epoch, partition, offset) FROM {database}.{table}"
        count, unique = client.query(sql).result_rows[0]
        found.rows[table] = int(count)
        if count != unique:
            found.twice += int(count) - int(unique)
            found.problems.append(f"{table}: {count} rows at {unique} positions")


def _events(client: Any, database: str, expected: events.Expected, found: Judgement) -> None:
    """Each event stands as often as it was sent."""
    rows = client.query(f"SELECT assumeNotNull(step), count() FROM {database}.calls GROUP BY step").result_rows
    standing = Counter({int(number): int(count) for number, count in rows})
    missing, extra = expected.calls - standing, standing - expected.calls
    found.lost = max(found.lost, sum(missing.values()))
    found.twice = max(found.twice, sum(extra.values()))
    if missing:
        found.problems.append(f"{sum(missing.values())} events lost: {sorted(missing)[:NAMED]}")
    if extra:
        found.problems.append(f"{sum(extra.values())} events too often: {sorted(extra)[:NAMED]}")
    if found.rows["dead_letters"] != expected.bad:
        found.problems.append(f"{found.rows['dead_letters']} dead letters, {expected.bad} unusable records were sent")
    texts = sum(count for number, count in expected.calls.items() if number % 8 == 0 or events.loops(number))
    if found.rows["call_content"] != texts:
        found.problems.append(f"{found.rows['call_content']} texts, {texts} were sent")


def _sums(client: Any, database: str, expected: events.Expected, found: Judgement) -> None:
    """Sums by tenant and feature, over rows and over windows, are those of the events."""
    calls = f"""SELECT tenant, feature, count(), toInt64(sum(cost_usd) * 1000000000), sum(input_tokens),
        sum(output_tokens) FROM {database}.calls GROUP BY tenant, feature"""
    windows = f"""
        SELECT tenant, feature, sum(c), toInt64(sum(cost) * 1000000000), sum(i), sum(o) FROM (
            SELECT tenant, subject['feature'] AS feature, start, argMax(calls, revision) AS c,
                argMax(cost_usd, revision) AS cost, argMax(input_tokens, revision) AS i,
                argMax(output_tokens, revision) AS o
            FROM {database}.windows WHERE dimension = 'feature' AND window_ms = {HOUR_MS}
            GROUP BY tenant, subject, subject_key, start
        ) GROUP BY tenant, feature"""

    def sums(sql: str) -> dict[tuple[str, str], tuple[int, ...]]:
        return {(str(t), str(f)): tuple(int(one) for one in rest) for t, f, *rest in client.query(sql).result_rows}

    for name, sql in (("rows", calls), ("closed hours", windows)):
        deadline = time.monotonic() + 90
        while (standing := sums(sql)) != expected.sums and name != "rows" and time.monotonic() < deadline:
            time.sleep(0.5)  # the archive is on its way
        for key in sorted(expected.sums.keys() | standing.keys()):
            if standing.get(key) != expected.sums.get(key):
                found.problems.append(f"sums of {name} of {key}: {standing.get(key)}, sent {expected.sums.get(key)}")


def _anomalies(house: House, client: Any, database: str, expected: events.Expected, found: Judgement) -> None:
    """Each revision has one content, each circling run one finding, and ClickHouse has what the topic has."""
    told: Counter[tuple[str, int]] = Counter()
    contents: dict[tuple[str, int], set[bytes]] = {}
    opened: dict[str, set[str]] = {}
    for message in house.read("anomalies", 0, 0, house.ends("anomalies")[0]):
        one = msgspec.json.decode(message.value(), type=Anomaly)
        name = one.id, one.revision
        told[name] += 1
        contents.setdefault(name, set()).add(message.value())
        if one.rule == "loop.runaway":
            opened.setdefault(one.subject["run"], set()).add(one.id)
    found.revisions = len(told)
    found.repeats = sum(told.values()) - len(told)
    found.anomalies_twice = sum(len(each) > 1 for each in contents.values())
    found.anomalies_twice += sum(len(ids) > 1 for ids in opened.values())
    if found.anomalies_twice:
        found.problems.append(f"{found.anomalies_twice} anomalies twice")
    if len(opened) != expected.loops:
        found.problems.append(f"{len(opened)} runs were found to go in circles, {expected.loops} did")

    def archived() -> Counter[tuple[str, int]]:
        sql = f"SELECT id, revision, count() FROM {database}.anomalies FINAL GROUP BY id, revision"
        return Counter({(str(i), int(r)): int(c) for i, r, c in client.query(sql).result_rows})

    deadline = time.monotonic() + 60
    while (standing := archived()) != Counter(told.keys()) and time.monotonic() < deadline:
        time.sleep(0.5)
    if standing != Counter(told.keys()):
        found.problems.append(
            f"ClickHouse holds {sum(standing.values())} revisions of anomalies, {len(told)} were told"
        )


def verdict(folder: Path) -> str:
    """What `tokentrail verify --settled` says: `ok`, or its first lines."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "verify", "--settled", "--data", str(folder)],
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )
    return "ok" if done.returncode == 0 else f"{done.returncode}: {done.stdout[-1500:]} {done.stderr[-800:]}"
