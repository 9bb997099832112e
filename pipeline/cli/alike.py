"""`tokentrail query --similar` and `--source`: answers that are like one, and answers that cited a document."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli.output import write
from pipeline.cli.times import parse_since
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.cli.output import Form
    from pipeline.cli.reader import Reader

# Words that two answers share, as a part of all words of both. From a quarter on, 19 of 20 answers to other people's
# questions were answers to the same question (docs/decisions/0017-similar-answers.md).
LEAST_ALIKE: Final = 0.25
SKETCH: Final = 64
DEFAULT_SINCE: Final = "30d"
_UNITS: Final[dict[str, Unit]] = {"alike": "share", "at": "time", "cost_usd": "money"}

_TARGET: Final = """
    SELECT tenant, output_sketch FROM call_content
    WHERE id = {id:String} AND ({tenant:String} = '' OR tenant = {tenant:String}) LIMIT 1
"""
# The union's smallest hashes are a sample of all words of both; those of them that both have are a sample of the
# shared.
_SIMILAR: Final = """
    SELECT alike, tenant, id, received_at AS at, substringUTF8(output, 1, 300) AS output FROM
    (
        SELECT tenant, id, received_at, output,
            arraySlice(arraySort(arrayDistinct(arrayConcat(output_sketch, {sketch:Array(UInt32)}))), 1, 64) AS both,
            length(arrayIntersect(both, output_sketch, {sketch:Array(UInt32)})) / length(both) AS alike
        FROM call_content
        WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
            AND ({only:String} = '' OR tenant = {only:String})
            AND id != {id:String} AND notEmpty(output_sketch) AND hasAny(output_sketch, {sketch:Array(UInt32)})
    )
    WHERE alike >= {least:Float64}
    ORDER BY alike DESC, at DESC, id
    LIMIT {limit:UInt64}
"""
_TENANTS: Final = "SELECT DISTINCT tenant FROM calls WHERE {only:String} = '' OR tenant = {only:String} ORDER BY tenant"
_CITING: Final = """
    SELECT least(ts, received_at) AS at, tenant, feature, model, status, retrieval_hits, output_label, cost_usd, run, id
    FROM calls
    WHERE received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
        AND arrayExists((t, h) -> tenant = t AND has(retrieval_sources, h), {tenants:Array(String)},
    {hashes:Array(String)}) ORDER BY at DESC, id
    LIMIT {limit:UInt64}
"""


def show_similar(
    reader: Reader, call: str, tenant: str | None, only: str | None, since: str | None, limit: int, how: Form
) -> bool:
    """Print answers that share most of their words with a call's answer; False when there are none.

    Args:
        reader: As whom; it sees the tenants and the text that its grants allow.
        call: Id of the call.
        tenant: Whose call it is, where the id is no UUID.
        only: Only answers of this tenant.
        since: How far back to look.
        limit: At most so many.
        how: The form.

    Raises:
        UsageError: There is no such call, or its text is not kept.
    """
    from pipeline.cli.one_call import stored_id

    wanted = stored_id(reader, call, tenant)
    found = reader.ask(_TARGET, {"id": wanted, "tenant": tenant or ""}).rows
    if not found or not found[0][1]:
        raise UsageError(f"No text of call {call} is kept: there is nothing that others could be like.")
    values: dict[str, Any] = {
        "id": wanted,
        "sketch": list(found[0][1]),
        "since_ms": parse_since(since or DEFAULT_SINCE),
        "only": only or "",
        "least": LEAST_ALIKE,
        "limit": limit or 100,
    }
    return _write(reader, _SIMILAR, values, how, f"Nothing is like it since {since or DEFAULT_SINCE}.")


def show_citing(reader: Reader, document: str, tenant: str | None, since: str | None, limit: int, how: Form) -> bool:
    """Print calls that named a document among their sources; False when there are none.

    Sources are stored as hashes under each tenant's own key, so the name is hashed for every tenant that may be seen.

    Raises:
        UsageError: The keys cannot be read, so no name can be looked for.
    """
    from pipeline.intake.identify import Identifiers
    from pipeline.keys import load

    who = Identifiers(load(reader.settings), lambda _: True)
    tenants = [str(row[0]) for row in reader.ask(_TENANTS, {"only": tenant or ""}).rows]
    values: dict[str, Any] = {
        "tenants": tenants,
        "hashes": [who.hashed(one, "source", document) or "" for one in tenants],
        "since_ms": parse_since(since) if since else 0,
        "limit": limit or 100,
    }
    return _write(reader, _CITING, values, how, f"No call cited {document!r}.")


def _write(reader: Reader, sql: str, values: dict[str, Any], how: Form, nothing: str) -> bool:
    answer = reader.ask(sql, values)
    if not answer.rows:
        print(nothing, file=sys.stderr)
        return False
    write(answer.columns, answer.rows, _UNITS, how)
    return True
