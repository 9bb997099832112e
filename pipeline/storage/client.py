"""One way to ClickHouse: synchronous inserts, no sessions, time-outs, every query marked with who asked.

Errors carry the server's code and name; what the server said in words, which may quote a value, is kept apart in
`detail` and never logged. Blocking: stages call it in threads.
"""

from __future__ import annotations

import ipaddress
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import clickhouse_connect
import urllib3
from clickhouse_connect.driver import exceptions as driver
from clickhouse_connect.driver.httputil import get_pool_manager

from pipeline.errors import RetryableError, UsageError
from pipeline.settings import Settings

Parameters = Mapping[str, Any]

CONNECT_TIMEOUT_S: Final = 5
# The driver asks the server to keep an answer until the query's end; the server keeps it in a file, and with a full
# disk it then answers with success and no rows. Nothing here may take that for "nothing there".
_STREAMED: Final = {"wait_end_of_query": 0}


class ClickHouseError(RetryableError):
    """ClickHouse refused or could not be reached.

    Attributes:
        code: The server's error code; None when there was no answer.
        error_name: Its symbolic name.
        detail: The server's words. May quote values: for a person who asked, never for a log.
    """

    def __init__(self, code: int | None, error_name: str | None, detail: str, doing: str) -> None:
        said = f"refused it: {error_name or 'error'} (code {code})" if code is not None else "could not be reached"
        super().__init__(f"ClickHouse {said}, while {doing}")
        self.code = code
        self.error_name = error_name
        self.detail = detail


class Client:
    """A connection pool to one database; safe to use from several threads.

    Args:
        settings: Host, user and database.
        purpose: Written into `log_comment` of every query, so that the server's query log says who asked.
        timeout_s: Longest wait for an answer.
        in_database: Unqualified tables are the installation's, whose database must be there.

    Raises:
        UsageError: No host is set.
        ClickHouseError: The server cannot be reached or refuses the user.
    """

    def __init__(self, settings: Settings, *, purpose: str, timeout_s: float = 60.0, in_database: bool = False) -> None:
        if not settings.clickhouse_host:
            raise UsageError("No ClickHouse server: set TOKENTRAIL_CLICKHOUSE_HOST or give --data.")
        self.database = settings.database
        ca = str(settings.clickhouse_ca_file) if settings.clickhouse_ca_file else None
        # An HTTP proxy of the environment is for the outside world, not for a server on this machine.
        pool = get_pool_manager(ca_cert=ca) if _is_loopback(settings.clickhouse_host) else None
        with _translated("connecting"):
            self._client = clickhouse_connect.get_client(
                host=settings.clickhouse_host,
                port=settings.clickhouse_port,
                username=settings.clickhouse_user,
                password=settings.password(),
                secure=settings.clickhouse_secure,
                ca_cert=ca,
                compress=not _is_loopback(settings.clickhouse_host),
                connect_timeout=CONNECT_TIMEOUT_S,
                send_receive_timeout=timeout_s,
                autogenerate_session_id=False,
                client_name="tokentrail",
                # Asked for one that is not there, the server refuses everything, CREATE DATABASE too.
                database=settings.database if in_database else None,
                pool_mgr=pool,
                settings={"async_insert": 0, "log_comment": explaining(purpose)},
            )

    def command(self, sql: str, parameters: Parameters | None = None, settings: Parameters | None = None) -> str:
        """Run a statement that returns at most one value."""
        with _translated("running a statement"):
            return str(self._client.command(sql, parameters=dict(parameters or {}), settings=dict(settings or {})))

    def send(self, sql: str, body: bytes, settings: Parameters) -> None:
        """Run an INSERT whose data is `body`. The data never reaches the server's query log: only `sql` does."""
        with _translated("inserting"):
            self._client.raw_insert(insert_block=b"\n".join((sql.encode(), body)), settings=dict(settings))

    def rows(
        self, sql: str, parameters: Parameters | None = None, settings: Parameters | None = None
    ) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        return self.table(sql, parameters, settings)[1]

    def table(
        self, sql: str, parameters: Parameters | None = None, settings: Parameters | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Column names and all rows of a small result."""
        with _translated("asking"):
            result = self._client.query(
                sql, parameters=dict(parameters or {}), settings=_STREAMED | dict(settings or {})
            )
            return list(result.column_names), [tuple(row) for row in result.result_rows]

    def stream(
        self, sql: str, parameters: Parameters | None = None, settings: Parameters | None = None
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Rows of a large result, block by block."""
        for _, block in self.blocks(sql, parameters, settings):
            yield block

    def blocks(
        self, sql: str, parameters: Parameters | None = None, settings: Parameters | None = None
    ) -> Iterator[tuple[tuple[str, ...], Sequence[tuple[Any, ...]]]]:
        """(column names, rows) of a large result, block by block."""
        with (
            _translated("reading"),
            self._client.query_row_block_stream(
                sql, parameters=dict(parameters or {}), settings=dict(settings or {})
            ) as stream,
        ):
            for block in stream:
                yield tuple(stream.source.column_names), block

    def now_ms(self) -> int:
        """The server's clock, milliseconds since 1970."""
        return int(self.rows("SELECT toUnixTimestamp64Milli(now64(3))")[0][0])

    def close(self) -> None:
        """Close the pool."""
        self._client.close()


def explaining(purpose: str, reason: str = "") -> str:
    """The `log_comment` of a query: for what, and, of text, why."""
    return f"tokentrail:{purpose} reason={reason}" if reason else f"tokentrail:{purpose}"


def connect(settings: Settings, *, purpose: str = "command", timeout_s: float = 60.0) -> Client:
    """A client for the installation's database; see `Client` for what it raises.

    Raises:
        UsageError: The database is another installation's.
    """
    from pipeline.storage.identity import check

    client = Client(settings, purpose=purpose, timeout_s=timeout_s)
    try:
        check(settings, client)
    except Exception:
        client.close()
        raise
    return client


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Our errors instead of the driver's, whose text quotes what the server said."""
    try:
        yield
    except driver.Error as error:
        _let_go(error)
        raise ClickHouseError(error.code, error.name, str(error), doing) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        _let_go(error)
        raise ClickHouseError(None, None, type(error).__name__, doing) from None


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that an error has come through: urllib3's hold it and what was to be sent, in a circle.

    Only the collector would free that, and it rarely looks in a stage that works range by range.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
