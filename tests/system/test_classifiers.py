"""Classifiers on the real servers: a verdict becomes a row of `evaluations`, once, although the stage is killed."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from pathlib import Path

import pytest

from tests.installation import Installation, wait_for

pytestmark = pytest.mark.system

CALLS = 40


def send(installation: Installation, texts: list[str]) -> list[str]:
    ids = [str(uuid.uuid4()) for _ in texts]
    for ident, text in zip(ids, texts, strict=True):
        event = {
            "tenant": "acme", "feature": "chat", "provider": "own", "model": "m", "id": ident,
            "ts": time.time_ns() // 10**6, "run": ident, "output": text,
        }  # fmt: skip
        installation.produce([event], f"acme\x1f{ident}".encode())
    return ids


def test_a_verdict_is_stored_once_whoever_crashes_when(tmp_path: Path) -> None:
    environment = {
        "TOKENTRAIL_NER": "false", "TOKENTRAIL_CLASSIFY_SHARE": "1", "TOKENTRAIL_CLASSIFIERS": '["sentiment","safety"]',
    }  # fmt: skip
    installation = Installation(tmp_path, environment)
    try:
        installation.start()
        installation.start_stages(("measure", "redact", "sink", "classify"))
        client = installation.clickhouse()

        def labels() -> list[tuple[str, str, str]]:
            sql = "SELECT about, name, label FROM evaluations ORDER BY about, name"
            return [tuple(row) for row in client.query(sql).result_rows]

        ids = send(installation, ["A great answer, thank you!"] * CALLS)
        wait_for("some evaluations", lambda: len(labels()) > 4, 90)
        installation.kill("classify")
        ids += send(installation, ["What a horrible, useless mess."] * CALLS)
        wait_for("all evaluations", lambda: len(labels()) >= 4 * CALLS, 120)
        time.sleep(3)
        found = labels()
        assert Counter(Counter(found).values()) == {1: 4 * CALLS}, "none twice"
        assert {about for about, _, _ in found} == set(ids)
        assert Counter(label for _, name, label in found if name == "sentiment") == {
            "positive": CALLS, "negative": CALLS,
        }, json.dumps(found[:4])  # fmt: skip
    finally:
        installation.stop()
