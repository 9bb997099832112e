"""A stage process for transport tests: writes down what it is given, and is slow or stuck as the plan says.

Its place comes from what all workers of the plan wrote down, as a real stage's comes from its output topic.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.runtime import run_stage
from pipeline.transport.stage import Limits, Range, StageContext


class Scribe:
    """The stage."""

    source = "calls.raw"

    def __init__(self, plan: dict[str, Any], journal: Path) -> None:
        self.plan = plan
        self.name = plan["stage"]
        self.limits = Limits(plan.get("max_records", 200), 4_000_000, plan.get("linger_s", 0.0))
        self.journal = journal
        self.log = journal.open("a", buffering=1)

    def note(self, **what: Any) -> None:
        self.log.write(json.dumps(what) + "\n")

    async def open(self, context: StageContext) -> None:
        self.context = context
        self.producer: RangeProducer = context.producer
        if "message_timeout_s" in self.plan:
            self.producer = RangeProducer(context.settings, message_timeout_s=self.plan["message_timeout_s"])
        self.note(what="open")

    async def assigned(self, partition: int) -> int | None:
        place = self.plan.get("start", {}).get(str(partition))
        if self.plan.get("own_place"):
            done = [entry["next"] for entry in journal(self.journal.parent) if entry.get("did") == partition]
            place = max(done, default=0)
        start = await self.context.log_start(partition)
        self.note(what="assigned", partition=partition, place=place, log_start=start)
        return place

    async def work(self, range: Range) -> None:
        self.note(what="begin", partition=range.partition, first=range.first)
        if range.partition in self.plan.get("stuck", []):
            await asyncio.sleep(3600)
        await asyncio.sleep(self.plan.get("work_s", 0.0))
        if "copy_to" in self.plan:
            out = [Outgoing(self.plan["copy_to"], r.value or b"", None, range.partition) for r in range.records]
            try:
                await self.producer.deliver(out)
            except Exception as error:
                self.note(what="failed", partition=range.partition, first=range.first, error=type(error).__name__)
                raise
        self.note(did=range.partition, first=range.first, next=range.next, n=len(range.records), gaps=range.gaps())

    async def revoked(self, partition: int) -> None:
        self.note(what="revoked", partition=partition)

    async def idle(self, partition: int, now_s: float) -> None: ...

    async def close(self) -> None:
        self.note(what="close")


def journal(folder: Path) -> list[dict[str, Any]]:
    """Everything that any worker wrote down; a line cut off by a kill is left out."""
    found = []
    for path in sorted(folder.glob("*.journal")):
        for line in path.read_text().splitlines():
            try:
                found.append({**json.loads(line), "worker": path.stem})
            except ValueError:
                continue
    return found


if __name__ == "__main__":
    plan = json.loads(os.environ["TRANSPORT_PLAN"])
    settings = Settings(**plan["settings"], key_root="A" * 44)
    raise SystemExit(run_stage(Scribe(plan, Path(sys.argv[1])), settings))
