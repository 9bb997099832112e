"""The promise in one test: a script with nothing but the shim, and what three different readers then see.

The script runs in an environment of its own that holds the shim and its two dependencies. A plain consumer reads the
loop and the doubled cost; an auditor reads the record with its retention date and is refused the text.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.embedded.servers import read_secret
from tests.installation import Installation, wait_for

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("measure", "redact", "sink", "guard", "meter", "judge", "act")

SCRIPT = """
import sys, time
from tokentrail import Trail

trail = Trail(sys.argv[1], tenant="acme", defaults={"feature": "support", "provider": "openai", "model": "gpt-4o"})
hour_ms, now_ms = 3_600_000, int(time.time() * 1000)
for age in range(30 * 60, 0, -1):  # thirty hours, one call a minute, twice the cost in the last two hours
    tokens = 2_000 if age > 120 else 5_000
    trail.emit({"ts": now_ms - age * 60_000, "usage": {"input": tokens, "output": tokens // 4}, "latency_ms": 900.0})
for step in range(8):  # an agent that asks the same thing again and again
    with trail.call(run="agent-7", step=step, user="jane.doe@example.com") as call:
        call.input("Where is the parcel of jane.doe@example.com?")
        call.tool("find_parcel", {"id": 17}, result="not found")
        call.usage(input=900, output=40)
trail.close()
print(trail.stats().delivered)
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    one = Installation(tmp_path_factory.mktemp("card"), {"TOKENTRAIL_NER": "false"})
    one.start()
    one.start_stages(STAGES)
    yield one
    one.stop()


def alone(folder: Path) -> Path:
    """A Python that has the shim and what it needs, and nothing of the pipeline."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    # As `make` does: a company's own certificate authority stands in the system store.
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, ROOT / "shim"],
        check=True,
        env={"UV_SYSTEM_CERTS": "1", **os.environ},
    )
    return python


@pytest.mark.timeout(240)
def test_a_script_with_the_shim_alone_is_seen_by_operator_and_auditor(installation, tmp_path):
    assert len([line for line in SCRIPT.strip().splitlines() if line and not line.startswith(("import", "from"))]) <= 13
    python = alone(tmp_path)
    script = tmp_path / "card.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [python, "-I", script, installation.settings.kafka_bootstrap], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1_808

    found: dict[str, dict] = {}
    with installation.consumer() as consumer:
        consumer.subscribe(["llm.anomalies"])
        end = time.monotonic() + 90
        while time.monotonic() < end and not {"loop.runaway", "cost.spike"} <= set(found):
            message = consumer.poll(0.5)
            if message is not None and not message.error():
                anomaly = json.loads(message.value())
                found.setdefault(anomaly["rule"], anomaly)
    assert {"loop.runaway", "cost.spike"} <= set(found)
    assert found["cost.spike"]["subject"]["tenant"] == "acme"
    assert found["cost.spike"]["ratio"] >= 1.8
    assert "find_parcel" in found["loop.runaway"]["why"] or found["loop.runaway"]["evidence"]

    auditor = clickhouse_connect.get_client(
        host=installation.settings.clickhouse_host,
        port=installation.settings.clickhouse_port,
        username="auditor",
        password=read_secret(installation.folder, "auditor"),
        database="tokentrail",
    )
    question = (
        "SELECT tenant, toString(retention_date), toDate(received_at) + retention_days = retention_date "
        "FROM calls WHERE run != '' LIMIT 1"
    )
    row = wait_for("the record to be a row", lambda: auditor.query(question).result_rows, 60, 0.5)[0]
    assert row[0] == "acme" and len(row[1]) == 10 and row[2]
    set_by = "SELECT kind, version, owner, length(body) > 2 FROM controls_log WHERE kind = 'policy'"
    assert wait_for("the policy in the log of controls", lambda: auditor.query(set_by).result_rows, 30, 0.5)
    with pytest.raises(DatabaseError, match=r"privileges|ACCESS_DENIED"):
        auditor.query("SELECT input FROM call_content LIMIT 1")
