"""The append on the real engine: nothing or all, once, never late, and no text in any log."""

from __future__ import annotations

import pytest
from audit_samples import call, one_of_each, stored

from pipeline.audit.leaves import commitment, leaf
from pipeline.audit.tables import CALL_CONTENT, CALLS, TABLES
from pipeline.settings import Settings
from pipeline.storage import native, reading
from pipeline.storage.append import Block, BusyError, LateError, RowsRefusedError, insert
from pipeline.storage.client import ClickHouseError, Client, connect
from schemas.clean import Clean
from tests.installation import wait_for

pytest_plugins = ["storage_support"]
pytestmark = pytest.mark.system

WHOLE = reading.Span(1, 0, 0, 10**9)


def block_of(table: str, records: list[Clean], token: str) -> Block:
    found = [row for record in records for name, row in stored(record) if name == table]
    return Block(TABLES[table], token, len(found), native.block(TABLES[table], found))


def soon(client: Client, seconds: float = 10) -> int:
    return client.now_ms() + int(seconds * 1000)


def parts(client: Client, table: str) -> list[int]:
    """Rows of each active part."""
    found = client.rows(
        "SELECT rows FROM system.parts WHERE active AND database = {db:String} AND table = {table:String} "
        "ORDER BY rows",
        {"db": client.database, "table": table},
    )
    return [rows for (rows,) in found]


@pytest.mark.parametrize("table", TABLES)
def test_rows_come_back_as_the_tuples_they_were_made_of(clickhouse: Client, table: str) -> None:
    records = one_of_each()
    expected = [row for record in records for name, row in stored(record) if name == table]
    assert expected, "the sample has a row for every table"
    insert(clickhouse, block_of(table, records, "a"), deadline_ms=soon(clickhouse))
    back = list(reading.rows(clickhouse, TABLES[table], WHOLE))
    assert [leaf(TABLES[table], row) for row in back] == [leaf(TABLES[table], row) for row in expected]
    for ours, theirs in zip(expected, back, strict=True):
        for column, mine, found in zip(TABLES[table].columns, ours, theirs, strict=True):
            assert (list(found) if column.kind in ("words", "texts") else found) == (
                list(mine) if column.kind in ("words", "texts") else mine
            ), column.name
    if table == "call_content":
        assert [commitment(*row[8:13]) for row in back] == [row[7] for row in back]


def test_the_same_token_lands_once(clickhouse: Client) -> None:
    block = block_of("calls", [call(offset) for offset in range(100)], "one-range")
    for _ in range(3):
        insert(clickhouse, block, deadline_ms=soon(clickhouse))
    assert parts(clickhouse, "calls") == [100]


def test_one_insert_is_one_part_however_large(clickhouse: Client) -> None:
    clickhouse.command(f"SYSTEM STOP MERGES {clickhouse.database}.call_content")
    records = [call(offset, text="x" * 6_000) for offset in range(10_000)]
    insert(clickhouse, block_of("call_content", records, "large"), deadline_ms=soon(clickhouse))
    assert parts(clickhouse, "call_content") == [10_000]


def test_rows_of_two_partitions_in_one_insert_are_refused_whole(clickhouse: Client) -> None:
    with pytest.raises(ClickHouseError, match="TOO_MANY_PARTS"):
        insert(clickhouse, block_of("calls", [call(0, days=30), call(1, days=31)], "two"), deadline_ms=soon(clickhouse))
    assert parts(clickhouse, "calls") == []


def test_a_late_insert_is_refused_by_the_server(clickhouse: Client) -> None:
    block = block_of("calls", [call(0)], "late")
    with pytest.raises(LateError):
        insert(clickhouse, block, deadline_ms=clickhouse.now_ms() - 1)
    assert parts(clickhouse, "calls") == []
    insert(clickhouse, block, deadline_ms=soon(clickhouse))
    assert parts(clickhouse, "calls") == [1], "a refused insert does not use its token up"


def test_an_insert_whose_body_stalls_past_the_deadline_is_refused(
    clickhouse: Client, storage_settings: Settings, stalled_insert: type
) -> None:
    block = block_of("calls", [call(0)], "stalled")
    stalled = stalled_insert(storage_settings, clickhouse, block, deadline_ms=soon(clickhouse, 0.5))
    stalled.send_half()
    wait_for("the deadline is over", lambda: clickhouse.now_ms() > stalled.deadline_ms, 10)
    assert stalled.finish() == 469
    assert parts(clickhouse, "calls") == []


def test_the_same_insert_twice_at_once_is_refused_while_the_first_runs(
    clickhouse: Client, storage_settings: Settings, stalled_insert: type
) -> None:
    # Longer than what the server reads before it starts the query (256 kB).
    block = block_of("call_content", [call(offset, text="x" * 1000) for offset in range(1000)], "twice-at-once")
    stalled = stalled_insert(storage_settings, clickhouse, block, deadline_ms=soon(clickhouse, 20))
    stalled.send_half()
    running = "SELECT count() FROM system.processes WHERE query_id = 'twice-at-once'"
    wait_for("the first insert to run", lambda: clickhouse.rows(running) == [(1,)], 10)
    with pytest.raises(BusyError):
        insert(clickhouse, block, deadline_ms=soon(clickhouse))
    assert stalled.finish() is None
    insert(clickhouse, block, deadline_ms=soon(clickhouse))
    assert parts(clickhouse, "call_content") == [1000]


def test_data_that_can_never_be_taken_is_told_apart(clickhouse: Client) -> None:
    clickhouse.command(f"ALTER TABLE {clickhouse.database}.calls ADD CONSTRAINT no_evil CHECK tenant != 'evil'")
    with pytest.raises(RowsRefusedError, match="VIOLATED_CONSTRAINT"):
        insert(clickhouse, block_of("calls", [call(0), call(1, tenant="evil")], "evil"), deadline_ms=soon(clickhouse))
    assert parts(clickhouse, "calls") == []


def test_no_text_reaches_the_query_log_and_no_error_quotes_it(clickhouse: Client) -> None:
    canary = "canary-7f3a"
    block = block_of("call_content", [call(offset, text=f"{canary} {offset}") for offset in range(50)], "canary")
    insert(clickhouse, block, deadline_ms=soon(clickhouse))
    broken = Block(CALL_CONTENT, "broken", 50, block.body[: len(block.body) // 2])
    other = Block(CALLS, "other-columns", 50, block.body)
    said = []
    for bad in (broken, other):
        with pytest.raises((ClickHouseError, RowsRefusedError)) as caught:
            insert(clickhouse, bad, deadline_ms=soon(clickhouse))
            pytest.fail(f"{bad.token} was taken")
        said.append(f"{caught.value!r} {caught.value}")
    with pytest.raises(LateError) as late:
        insert(clickhouse, Block(CALL_CONTENT, "late", 50, block.body), deadline_ms=1)
    said.append(str(late.value))
    assert not any(canary in text for text in said)
    clickhouse.command("SYSTEM FLUSH LOGS")
    (logged,) = clickhouse.rows(
        "SELECT count(), countIf(position(concat(query, exception, stack_trace, toString(Settings)), "
        "{canary:String}) > 0) FROM system.query_log WHERE query_kind = 'Insert' AND query_id IN "
        "('canary', 'broken', 'other-columns', 'late')",
        {"canary": canary},
    )
    assert logged[0] >= 4 and logged[1] == 0


def test_a_value_that_does_not_fit_its_column_is_found_before_anything_is_sent() -> None:
    good, bad = (stored(call(offset, cost_nano_usd=cost))[1][1] for offset, cost in ((0, 5), (1, 2**63)))
    with pytest.raises(native.MISFIT):
        native.block(CALLS, [good, bad])
    assert native.misfits(CALLS, [good, bad, good]) == [1]


def test_an_unreachable_server_is_a_retryable_error(storage_settings: Settings) -> None:
    nowhere = storage_settings.model_copy(update={"clickhouse_port": 1})
    with pytest.raises(ClickHouseError, match="could not be reached"):
        connect(nowhere, purpose="test")
