"""`tokentrail migrate`: topics, epochs, tables and the policy, as the contracts have them. Safe to repeat."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for

if TYPE_CHECKING:
    from pipeline.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: tokentrail migrate --policy policy.toml")
def migrate(
    policy: Annotated[
        Path | None, typer.Option(help="Retention and content policy (TOML); a changed one becomes a new version.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create what is missing; says what it did."""
    known: dict[str, Any] = {} if policy is None else {"policy_file": policy}
    settings = settings_for(data, **known)
    done = run(settings)
    if as_json:
        print(json.dumps({"done": done}))
        return
    for line in done or ["Nothing to do: everything is as the contracts say."]:
        print(line)


def run(settings: Settings) -> list[str]:
    """Migrate Kafka, ClickHouse and the policy; returns one sentence for each thing that was done."""
    import stamina

    from pipeline.errors import RetryableError
    from pipeline.storage.migrate import migrate as migrate_tables
    from pipeline.transport.admin import migrate_topics
    from pipeline.transport.policies import publish_policy

    done: list[str] = []
    for step in (migrate_topics, publish_policy, migrate_tables):
        # A topic that was created a moment ago may not have its leader yet, and a server may still be starting.
        for attempt in stamina.retry_context(on=RetryableError, timeout=30, attempts=None, wait_initial=0.05):
            with attempt:
                done += step(settings)
    return done
