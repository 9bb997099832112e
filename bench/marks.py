"""How far the sink is and how long a row took, read from the ledger: for benches and chaos runs."""

from __future__ import annotations

from bench.servers import ends
from pipeline.audit.ledger import accept, genesis
from pipeline.cli.marks import SinkMarks
from pipeline.settings import Settings
from pipeline.transport.tail import read_all, start_offset


def sink_marks(settings: Settings) -> dict[int, int]:
    """Next source offset of each partition, by the folded ledger."""
    with SinkMarks(settings) as marks:
        return {partition: marks.look(partition).next for partition in range(settings.partitions)}


def row_delays_ms(settings: Settings, since: dict[int, int]) -> list[float]:
    """For each raw record from `since` on (partition -> offset): append of the event to append of its range's DONE."""
    delays: list[float] = []
    for partition in ends(settings, settings.topic("calls.raw")):
        received = {
            record.offset: record.timestamp
            for record in read_all(settings, "calls.raw", partition, since.get(partition, 0))
        }
        state = genesis(partition)
        for record in read_all(settings, "ledger", partition, start_offset(settings, "ledger", partition)):
            before = state.next
            state, verdict = accept(state, partition, record.value or b"")
            if verdict.accepted and state.next > before:
                delays += [
                    record.timestamp - received[offset] for offset in range(before, state.next) if offset in received
                ]
    return delays


def attempts_after(settings: Settings, ledger_ends: dict[int, int]) -> int:
    """Accepted later attempts at a range that had been begun before: what a new owner took over."""
    adopted = 0
    for partition, end in ledger_ends.items():
        state = genesis(partition)
        for record in read_all(settings, "ledger", partition, 0):
            state, verdict = accept(state, partition, record.value or b"")
            entry = verdict.entry
            if record.offset >= end and verdict.accepted and entry is not None and entry.intent is not None:
                adopted += entry.intent.attempt > 1
    return adopted
