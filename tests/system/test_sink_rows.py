"""The sink on real Kafka and ClickHouse: every record becomes its rows once, whatever ends, stalls or refuses."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest
from audit_samples import awkward, call, gap, one_of_each, tick
from sink_support import Sinks

from infra.embedded.servers import EmbeddedServers
from tests.installation import wait_for

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def once(partition: int, offsets: range) -> Counter[tuple[int, int, int]]:
    return Counter((1, partition, offset) for offset in offsets)


def test_every_kind_of_record_becomes_its_rows_and_is_accounted_for(sinks: Sinks) -> None:
    for partition in range(4):
        sinks.send(one_of_each(partition=partition), partition)
        sinks.send([call(offset, partition=partition) for offset in range(10, 200)], partition)
    sinks.start()
    sinks.wait()
    assert sinks.counts() == {
        "calls": 4 * 192,
        "call_content": 4 * 193,
        "evaluations": 4,
        "feedback": 4,
        "heartbeats": 4,
        "dead_letters": 4,
    }
    state = sinks.ledger(2).state
    assert (state.epoch, state.next) == (1, 200)


def test_repeats_are_skipped_and_a_hole_waits_for_its_repair(sinks: Sinks) -> None:
    sinks.start()
    sinks.send([call(0), call(1), call(5), call(6)])
    wait_for("what precedes the hole is done", lambda: sinks.ledger().state.next == 2)
    sinks.send([call(0), call(1), call(2), call(3), call(4), call(5), call(6), call(7)])
    wait_for("the repair is done", lambda: sinks.ledger().state.next == 8)
    assert sinks.positions() == once(0, range(8))


def test_silence_is_not_announced_at_once_but_joined(sinks: Sinks) -> None:
    sinks.start()
    wait_for("the partition is claimed", lambda: sinks.ledger().state.owner)
    claimed = sinks.ledger().end
    for offset in range(5):
        sinks.send([tick(offset)])
        time.sleep(0.3)
    sinks.send([call(5), gap(6, 8), tick(9)])
    wait_for("the call is done", lambda: sinks.ledger().state.next >= 6)
    assert sinks.ledger().end <= claimed + 3, "an INTENT and a DONE, no record for a tick"


def test_killed_again_and_again_while_ranges_are_open_it_stores_every_record_once(sinks: Sinks) -> None:
    """Each kill comes when the ledger has a range that is announced and not done."""
    each, rounds, kills = 500, 4, 0
    sinks.start("sink-0")
    for start in range(0, each * rounds, each):
        for partition in range(2):
            sinks.send([call(offset, partition=partition) for offset in range(start, start + each)], partition)
        open_ = wait_for("a range is open, or all is done", lambda: sinks.ledger().state.open or sinks.is_settled(), 60)
        if open_ is not True:
            os.kill(sinks.processes[f"sink-{kills}"].pid, signal.SIGKILL)
            kills += 1
            sinks.start(f"sink-{kills}")
    sinks.wait(90)
    assert kills >= 2
    for table in ("calls", "call_content"):
        assert sinks.positions(table) == once(0, range(each * rounds)) + once(1, range(each * rounds))
    attempts = [record for partition in range(2) for record in sinks.attempts(partition)]
    assert max(attempts) > 1, "at least one range was adopted"


def test_a_process_that_was_stopped_until_another_took_over_doubles_nothing_when_it_wakes(sinks: Sinks) -> None:
    zombie = sinks.start("zombie")
    sinks.send([call(offset) for offset in range(500)])
    wait_for("it works", lambda: sinks.ledger().state.next > 0)
    os.kill(zombie.pid, signal.SIGSTOP)
    sinks.send([call(offset) for offset in range(500, 1500)])
    sinks.start("heir")
    sinks.wait(60)
    os.kill(zombie.pid, signal.SIGCONT)
    sinks.send([call(offset) for offset in range(1500, 2000)])
    sinks.wait(60)
    assert sinks.positions() == once(0, range(2000))


def test_an_outage_of_clickhouse_costs_nothing_but_delay(sinks: Sinks, clickhouse_server: EmbeddedServers) -> None:
    sink = sinks.start()
    sinks.send([call(offset) for offset in range(300)])
    sinks.wait()
    clickhouse_server.kill("clickhouse")
    sinks.send([call(offset) for offset in range(300, 3_000)])
    wait_for("it notices", lambda: "a range is repeated" in sinks.output(), 30)
    clickhouse_server.restart("clickhouse")
    sinks.wait(60)
    assert sink.poll() is None, "it retries in place"
    assert sinks.positions() == once(0, range(3_000))


def test_rows_that_clickhouse_refuses_for_ever_become_dead_letters_and_their_neighbours_go_on(sinks: Sinks) -> None:
    sinks.client.command(f"ALTER TABLE {sinks.client.database}.calls ADD CONSTRAINT no_evil CHECK tenant != 'evil'")
    evil = {3, 250, 251, 499}
    sinks.send([call(offset, tenant="evil" if offset in evil else "acme") for offset in range(500)])
    sinks.start()
    sinks.wait(60)
    assert set(sinks.positions()) == set(once(0, range(500))) - {(1, 0, offset) for offset in evil}
    letters = sinks.client.rows(
        f"SELECT offset, reason, path FROM {sinks.client.database}.dead_letters ORDER BY offset"
    )
    assert letters == [(offset, "row_refused", "calls") for offset in sorted(evil)]
    assert max(sinks.positions("call_content").values()) == 1


def test_a_value_that_fits_no_column_becomes_a_dead_letter(sinks: Sinks) -> None:
    sinks.send([call(0), call(1, cost_nano_usd=2**63), awkward(2)])
    sinks.start()
    sinks.wait()
    assert sinks.positions() == once(0, range(0, 3, 2))
    assert sinks.positions("dead_letters") == once(0, range(1, 2))
