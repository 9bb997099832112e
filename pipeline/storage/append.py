"""Append one part of a range: one (range, table, ClickHouse partition) is one insert, block, token and query id.

So that what lands is nothing or all of it, and the same part twice is one. The server itself refuses an insert that
comes after its deadline: an adopter that waits until then knows that nothing can follow. Must not retry: the caller
decides by the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pipeline.audit.tables import Table
from pipeline.errors import RetryableError, TokentrailError
from pipeline.storage.client import ClickHouseError, Client

# What the server answers when the data itself is at fault, and will be at fault for ever.
_REFUSED: Final = {
    6: "CANNOT_PARSE_TEXT",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    117: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
}
# The constraint of the chained tables that compares the server's clock with the insert's deadline.
_IN_TIME: Final = "`before_deadline`"
_SAME_QUERY_RUNS: Final = 216  # QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING

MAX_EXECUTION_S: Final = 5


class LateError(RetryableError):
    """The insert came after its deadline; nothing of it landed."""


class BusyError(RetryableError):
    """The same insert is still running; it will land or not."""


class RowsRefusedError(TokentrailError):
    """ClickHouse will never take this block; nothing of it landed.

    Attributes:
        code: The server's error code.
        error_name: Its symbolic name.
    """

    def __init__(self, table: str, code: int) -> None:
        super().__init__(f"ClickHouse refuses rows of {table} for ever: {_REFUSED[code]} (code {code})")
        self.code = code
        self.error_name = _REFUSED[code]


@dataclass(frozen=True, slots=True)
class Block:
    """One insert, ready to be sent.

    Attributes:
        table: Where to.
        token: Names this part for ever: range, table, partition and root. Deduplication token and query id.
        rows: How many.
        body: The rows as one Native block.
    """

    table: Table
    token: str
    rows: int
    body: bytes


def insert(client: Client, block: Block, *, deadline_ms: int) -> None:
    """Insert a block, all of it or nothing; a block that has landed before is not inserted again.

    Args:
        client: Where.
        block: What.
        deadline_ms: Time on the server's clock after which the server refuses.

    Raises:
        LateError: The deadline had passed.
        BusyError: Another insert of the same block is running.
        RowsRefusedError: The data is at fault.
        ClickHouseError: Anything else; it may have landed or not.
    """
    columns = ", ".join(f"`{name}`" for name in block.table.names)
    settings = {
        **_SETTINGS,
        "insert_deduplication_token": block.token,
        "query_id": block.token,
        "log_comment": f"tokentrail:sink deadline={deadline_ms}",
    }
    try:
        client.send(f"INSERT INTO {client.database}.{block.table.name} ({columns}) FORMAT Native", block.body, settings)
    except ClickHouseError as error:
        raise _explained(error, block.table) from None


# One block must stay one block, on one thread, and one part.
_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "max_insert_threads": 1,
    "max_threads": 1,
    "max_execution_time": MAX_EXECUTION_S,
    "timeout_overflow_mode": "throw",
    "wait_end_of_query": 1,
    "log_queries_cut_to_length": 200,
    "max_partitions_per_insert_block": 1,
    # A block that is not exactly of the table's columns is refused, never filled up with defaults.
    "input_format_skip_unknown_fields": 0,
    "input_format_defaults_for_omitted_fields": 0,
    "input_format_native_allow_types_conversion": 0,
}


def _explained(error: ClickHouseError, table: Table) -> TokentrailError:
    if error.code in _REFUSED and _IN_TIME in error.detail:
        return LateError(f"an insert into {table.name} came after its deadline; it is made again with a new one")
    if error.code == _SAME_QUERY_RUNS:
        return BusyError(f"the same insert into {table.name} is still running")
    if error.code in _REFUSED:
        return RowsRefusedError(table.name, error.code)
    return error
