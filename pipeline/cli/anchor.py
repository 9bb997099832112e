"""`tokentrail anchor`: sign the ledger's heads and put them away outside, now."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.errors import RetryableError, UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: tokentrail anchor --to s3://audit-bucket/tokentrail")
def anchor(
    to: Annotated[
        str, typer.Option(metavar="DIR|URL", help="Folder, fsspec URL or mailto: (default: TOKENTRAIL_ANCHORS).")
    ] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the ledger, sign each partition's head that has moved, and put all of them away as one signed document."""
    from agents.keeping.anchor import Anchor
    from agents.keeping.copy import Copy
    from agents.keeping.heads import Heads
    from agents.keeping.job import Keeping
    from pipeline.audit import heads
    from pipeline.cli.output import write_json
    from pipeline.keys import load
    from pipeline.storage import anchors
    from pipeline.storage.check import partition_count
    from pipeline.storage.client import connect

    settings = settings_for(data)
    where = to or anchors.place(settings)
    if not where:
        raise UsageError("Where should the anchor go? Name a place with --to or TOKENTRAIL_ANCHORS.")
    keys = load(settings)
    client = connect(settings, purpose="anchor")
    try:
        copy = Copy()
        at = Keeping(settings, client, keys, partition_count(settings))
        path, _ = Anchor(copy, Heads(copy)).put(at, where)
    finally:
        client.close()
    if not path:
        raise RetryableError("The ledger is empty: nothing was recorded that could be anchored")
    key = heads.key_id(heads.public_key(keys))
    ends = {partition: signed.end for partition, signed in sorted(copy.signed.items())}
    if as_json:
        write_json({"anchor": path, "key": key, "ends": {str(number): end for number, end in ends.items()}})
        return
    print(f"Anchored {len(ends)} partitions, signed with key {key}: {path}")
    print(
        "Keep it where no administrator of ClickHouse or Kafka can change it; `verify --chain --anchors` looks there."
    )
