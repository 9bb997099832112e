"""Plant values by the hundred thousand and look for what is left of them.

    python -m tests.planted --values 1000000 --events 100000 [--seed N]

`--values` go through the redactor of this process, then some of them inside of base64 and hexadecimal digits, and cut
in two messages, which is reported and not required; `--events` through real Kafka, every stage and ClickHouse; then
every topic but the raw one is read (the client unpacks batches) and every table (the server unpacks parts). A control
run of the same kind with redaction off must find all of them. Prints one JSON object and ends with 1 if anything is
left.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.redaction import RedactionConfig, Redactor
from tests.plants.leaks import Search, plain
from tests.plants.writing import ALL, FIELDS, event, sentence

NAMES = (
    "Maria Lopez",
    "John Carter",
    "Aisha Khan",
    "Peter Novak",
    "Yuki Tanaka",
    "Emma Brown",
    "Liam Walsh",
    "Sofia Rossi",
)


def planted(count: int, seed: int) -> Iterator[tuple[str, str, str, str]]:
    """(kind, trick, text, value), the kinds in turn."""
    rng = random.Random(seed)
    kinds = list(ALL)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        text, value, trick = sentence(rng, kind)
        yield kind, trick, text, value


def in_process(redactor: Redactor, count: int, seed: int, progress: bool = False) -> dict[str, Any]:
    """Redact so many texts of one value each; what is left, by kind and trick."""
    left: Counter[str] = Counter()
    tricks: Counter[str] = Counter()
    examples: list[str] = []
    done = 0
    source = planted(count, seed)
    while batch := [one for _, one in zip(range(2_000), source, strict=False)]:
        answers = redactor.redact_many_sync([("acme", text) for _, _, text, _ in batch])
        for (kind, trick, text, value), answer in zip(batch, answers, strict=True):
            # One value against its own text: exact, and it needs no memory.
            if remains(value, answer.text):
                left[kind] += 1
                tricks[trick] += 1
                if len(examples) < 20:
                    examples.append(f"{kind}, {trick}: {text!r} -> {answer.text!r}")
        done += len(batch)
        if progress and done % 50_000 == 0:
            print(f"{done:,} of {count:,} values", file=sys.stderr, flush=True)
    return {"values": count, "left": sum(left.values()), "by_kind": left, "by_trick": tricks, "examples": examples}


def hidden(redactor: Redactor, count: int, seed: int) -> dict[str, Any]:
    """How many values can still be read where they are encoded, or cut at any place between two messages."""
    writings: dict[str, Callable[[str], str]] = {
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
        "base64, address-safe": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
        "hexadecimal digits": lambda text: text.encode().hex(),
    }
    rng = random.Random(seed)
    plants = [(text, value) for _, trick, text, value in planted(count, seed) if trick == "plain"]
    report: dict[str, Any] = {"values": len(plants)}
    for name, write in writings.items():
        answers = redactor.redact_many_sync([("acme", f"payload {write(text)} end") for text, _ in plants])
        report[name] = sum(write(text)[8:-8] in one.text for (text, _), one in zip(plants, answers, strict=True))
    left = 0
    for text, value in plants:
        at = text.index(value) + rng.randrange(1, len(value)) if value in text and len(value) > 1 else 0
        parts = redactor.redact_many_sync([("acme", text[:at]), ("acme", text[at:])])
        left += any(remains(value, one.text) for one in parts)
    report["cut in two messages"] = left
    return report


def remains(value: str, text: str) -> bool:
    """Whether eight consecutive characters of a value stand in a text, however they are written."""
    value, text = plain(value), plain(text)
    return any(value[i : i + 8] in text for i in range(len(value) - 7)) if len(value) >= 8 else value in text


def through_kafka(count: int, seed: int, environment: dict[str, str]) -> dict[str, Any]:
    """Send so many events through an installation of their own, and look through everything downstream of raw."""
    from tests.installation import Installation
    from tests.system.test_canaries import STAGES, TOPICS

    rng = random.Random(seed)
    events, values = [], []
    for number, (_, _, text, value) in enumerate(planted(count, seed)):
        events.append({"id": event_id(number), **event(rng, text, FIELDS[number % len(FIELDS)], number)})
        values.append(value)
    search = Search(values)
    found: dict[str, set[int]] = {}
    with tempfile.TemporaryDirectory(prefix="tokentrail-planted-") as folder:
        installation = Installation(Path(folder), {"TOKENTRAIL_NER": "false", **environment})
        installation.start()
        try:
            installation.start_stages(STAGES)
            for first in range(0, count, 5_000):
                installation.produce(events[first : first + 5_000])
            installation.wait_settled(60 + count / 400)
            for topic in TOPICS:
                for message in installation.read(topic):
                    parts = (message.key() or b"", message.value() or b"", repr(message.headers()).encode())
                    for part in parts:
                        _look(found, f"topic {topic}", search, _written(part))
            client = installation.clickhouse()
            database = installation.settings.database
            for (table,) in client.query(f"SELECT name FROM system.tables WHERE database = '{database}'").result_rows:
                with client.query_rows_stream(f"SELECT * FROM {database}.{table}") as rows:
                    for row in rows:
                        _look(found, f"table {table}", search, _written(repr(row).encode()))
        finally:
            installation.stop()
    seen = set().union(*found.values()) if found else set()
    is_control = environment.get("TOKENTRAIL_REDACTION") == "off"
    shown = [] if is_control else [f"{values[n]!r} of {events[n]}" for n in sorted(seen)[:5]]
    places = {place: len(ones) for place, ones in found.items()}
    return {"events": count, "found": len(seen), "places": places, "examples": shown}


BY_CHANCE = 12
"""A record has hundreds of hexadecimal digits of hashes, and eight of them are soon those of another event's value."""


def event_id(number: int) -> str:
    """The id of an event, which is readable in every record that is made of it."""
    return f"0193a5c0-0000-7000-8000-{number:012d}"


_EVENT_ID = re.compile(r"0193a5c0-0000-7000-8000-(\d{12})")


def _look(found: dict[str, set[int]], place: str, search: Search, text: str) -> None:
    """Take note of values of which something stands in a text: eight characters in their own record, or twelve."""
    known = found.get(place, set())
    seen = search.seen(text) - known
    if not seen:
        return
    text = plain(text)
    its_own = {int(digits) for digits in _EVENT_ID.findall(text)}
    twelves = {text[i : i + BY_CHANCE] for i in range(max(1, len(text) - BY_CHANCE + 1))}

    def longer(value: str) -> bool:
        if len(value) < BY_CHANCE:
            return value in text
        return any(value[i : i + BY_CHANCE] in twelves for i in range(len(value) - BY_CHANCE + 1))

    if new := {number for number in seen if number in its_own or longer(plain(search.values[number]))}:
        found[place] = known | new


def _written(data: bytes) -> str:
    """Text as a reader sees it: JSON inside of JSON without its escapes."""
    text = data.decode(errors="replace")
    for _ in range(6):
        if "\\" not in text:
            break
        text = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
        text = text.replace("\\\\", "\\").replace('\\"', '"').replace("\\n", "\n").replace("\\/", "/")
    return text


_ESCAPED = re.compile(r"\\+u([0-9a-fA-F]{4})")


def main() -> None:
    """Run what is asked for, and print what was left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    report: dict[str, Any] = {"seed": options.seed}
    begun = time.monotonic()

    def told(part: str) -> None:  # a run is long: what is known is said at once
        print(json.dumps({part: report[part]}, ensure_ascii=False), file=sys.stderr, flush=True)

    if options.values:
        redactor = Redactor(RedactionConfig(ner=False, cache_bytes=0), processes=2)
        redactor.start()
        report["in_process"] = in_process(redactor, options.values, options.seed, progress=True)
        told("in_process")
        report["can_still_be_read"] = hidden(redactor, min(options.values, 4_000), options.seed + 3)
        redactor.close()
    if options.events:
        report["through_kafka"] = through_kafka(options.events, options.seed + 1, {})
        told("through_kafka")
        report["control"] = through_kafka(
            max(1_000, options.events // 10), options.seed + 2, {"TOKENTRAIL_REDACTION": "off"}
        )
    report["seconds"] = round(time.monotonic() - begun, 1)
    print(json.dumps(report, ensure_ascii=False, indent=1))
    lost = report.get("in_process", {}).get("left", 0) + report.get("through_kafka", {}).get("found", 0)
    blind = "control" in report and report["control"]["found"] < report["control"]["events"]
    sys.exit(1 if lost or blind else 0)


if __name__ == "__main__":
    main()
