"""`tokentrail query call`: everything that is kept of one call, and its redacted text where the user may read that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.output import heading, write_json
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.cli.output import Form
    from pipeline.cli.reader import Reader

# An id that was sent twice stands at two positions: both are shown.
MOST_POSITIONS: Final = 16
_CALL: Final = """
    SELECT *, toDate32(received_at) + retention_days AS retention_date FROM calls
    WHERE id = {id:String} AND ({tenant:String} = '' OR tenant = {tenant:String})
    ORDER BY epoch, partition, offset
"""
_CONTENT: Final = """
    SELECT input, output, tool_calls, other, retention_date FROM call_content
    WHERE tenant = {tenant:String} AND epoch = {epoch:UInt32} AND partition = {partition:UInt32}
        AND offset = {offset:UInt64}
    LIMIT 1
"""
_UNITS: Final[dict[str, Unit]] = {
    "cost_usd": "money", "list_cost_usd": "money", "latency_ms": "ms", "ttft_ms": "ms", "prompt_size_bytes": "size",
    "received_at": "time", "ts": "time", "backfill": "flag", "streaming": "flag", "cache_hit": "flag",
}  # fmt: skip


def show_call(reader: Reader, call: str, tenant: str | None, how: Form) -> bool:
    """Print one call; False when there is none of that id."""
    wanted = stored_id(reader, call, tenant)
    answer = reader.ask(_CALL, {"id": wanted, "tenant": tenant or ""}, MOST_POSITIONS)
    if not answer.rows:
        print(f"No call has the id {call}" + (f" in {tenant}." if tenant else "."), file=sys.stderr)
        return False
    for row in answer.rows:
        values = dict(zip(answer.columns, row, strict=True))
        text, why_not = content(reader, values)
        if how == "json":
            write_json({**values, "text": text, "text_not_shown": why_not})
        else:
            _print(values, text, why_not)
    return True


def content(reader: Reader, call: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """(redacted text by field, why it is not shown); one of the two is None."""
    from pipeline.cli.reader import Refused

    if not any(call["content_commitment"]):
        return None, "none was kept"
    try:
        answer = reader.ask(_CONTENT, {name: call[name] for name in ("tenant", "epoch", "partition", "offset")})
    except Refused as error:
        if error.lacks_reason:
            return None, "say why it is read: --reason TEXT"
        return None, f"{reader.user} may not read it; investigator may (--user)"
    if not answer.rows:
        return None, "it has expired or was erased"
    return dict(zip(answer.columns, answer.rows[0], strict=True)), None


def stored_id(reader: Reader, call: str, tenant: str | None) -> str:
    """The id as it is stored: a UUID as it is, another id as a UUID of its keyed hash.

    Raises:
        UsageError: It is no UUID, and the tenant whose key made the hash is not named.
    """
    from pipeline.intake.identify import UUID, Identifiers

    if UUID.fullmatch(call):
        return call.lower()
    if tenant is None:
        raise UsageError(f"{call!r} is no UUID; such ids are stored by tenant: say --tenant.")
    from pipeline import keys

    return Identifiers(keys.load(reader.settings), lambda _: True).event_id(tenant, call) or ""


def _print(call: dict[str, Any], text: dict[str, Any] | None, why_not: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from pipeline.cli.formats import shown
    from pipeline.cli.output import console

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    position = f"{call['epoch']}/{call['partition']}/{call['offset']}"
    skipped = {"epoch", "partition", "offset", "content_commitment"}
    rows = {"position": position, **{name: value for name, value in call.items() if name not in skipped}}
    for name, value in rows.items():
        said = shown(value, _UNITS.get(name, "text"))
        if said not in ("-", "") and not (name.endswith("cost_usd") and call["cost_source"] == "none"):
            grid.add_row(heading(name, _UNITS.get(name, "text")), Text(said))
    for name, value in (text or {}).items():
        if value:
            grid.add_row(f"text: {name.replace('_', ' ')}", Text(shown(value)))
    if why_not is not None:
        grid.add_row("text", f"not shown: {why_not}")
    console().print(grid)
