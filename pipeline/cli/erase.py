"""`tokentrail erase`: a person, a run or one call goes: from what comes, from what stands, and in the end for good.

The value is read, hashed and forgotten; what stays is a request and its receipt, in neither of which it can be read.
"""

from __future__ import annotations

import secrets
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.control.erasures import Request, Selected
    from pipeline.settings import Settings
    from pipeline.storage.erase import Step

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    help="Erase a person, a run or one call; leaves and a receipt stay, and `verify` still passes.",
    epilog="\b\nExamples:\n  tokentrail erase --tenant acme --user 4711 --by dpo@acme --reason 'ticket 12'\n"
    "  tokentrail erase list\n  tokentrail erase receipt 5f0c9a1be2d34c77",
)

# The login that may change rows and clear the server's logs.
USER: Final = "custodian"
_UNITS: Final[dict[str, Unit]] = {"rows": "count", "held": "count"}
_SAYS: Final = {
    "asked": "asked for: the standing filter is on, what stands is not erased yet",
    "first": "erased from what stands; swept again when Kafka has forgotten",
    "again": "swept again, but a legal hold keeps rows",
    "done": "done: no byte of text or pseudonym is left",
}


@dataclass(frozen=True)
class Standing:
    """A request and what was done for it; the last step decides where it stands."""

    request: Request
    steps: list[Step]

    @property
    def status(self) -> str:
        """`asked`, `first`, `again` or `done`."""
        names = [step.step for step in self.steps if step.step != "found"]
        return names[-1] if names else "asked"

    @property
    def rows(self) -> dict[str, int]:
        """Rows changed or removed in all, by table."""
        found: dict[str, int] = {}
        for step in self.steps:
            for table, rows in step.rows.items():
                found[table] = found.get(table, 0) + rows
        return found

    def as_dict(self) -> dict[str, Any]:
        """The receipt: who asked for what, when and why, and what was done. No pseudonym, no value."""
        request, last = self.request, self.steps[-1] if self.steps else None
        done = [step for step in self.steps if step.step != "found"]
        return {
            "request": request.id,
            "status": self.status,
            "tenant": request.body.tenant,
            "kind": request.body.kind,
            "asked_at": iso_ms(request.asked_at),
            "by": request.by,
            "reason": request.body.reason,
            "number": request.number,
            "second_sweep_from": iso_ms(last.due_at) if last else None,
            "rows": self.rows,
            "held": done[-1].held if done else 0,
            "not_cleared": list(done[-1].not_cleared) if done else [],
            "sweeps": [{"step": step.step, "at": iso_ms(step.at), "rows": step.rows} for step in done],
            "ledger": [list(batch) for step in self.steps for batch in step.batches],
            "engine": last.engine if last else None,
        }


ByOption = Annotated[str, typer.Option("--by", help="Who asks; kept in the receipt.")]


@app.callback(invoke_without_command=True)
def erase(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="Whose records: the name that rows show.")] = "",
    user: Annotated[str, typer.Option(help="The person as the application names it; - reads it from stdin.")] = "",
    run: Annotated[str, typer.Option("--run", help="One run instead; - reads it from stdin.")] = "",
    id: Annotated[str, typer.Option("--id", help="One call instead; - reads it from stdin.")] = "",
    by: ByOption = "",
    reason: Annotated[str, typer.Option(help="Why; kept for ever, so without the person's name.")] = "",
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the sinks.")] = 90.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for an erasure and sweep what stands; the process `keep` sweeps again when Kafka has forgotten."""
    if context.invoked_subcommand is not None:
        return
    given: dict[Selected, str] = {"user": user, "run": run, "id": id}
    selected = [(kind, value) for kind, value in given.items() if value]
    if not tenant or len(selected) != 1:
        raise UsageError("Say --tenant and one of --user, --run and --id. `tokentrail erase --help` shows examples.")
    if not by or not reason:
        raise UsageError("Say who asks (--by) and why (--reason): the receipt keeps both.")
    kind, value = selected[0]
    value = sys.stdin.readline().rstrip("\n") if value == "-" else value
    settings = settings_for(data, user=USER)
    request = ask(settings, tenant, kind, value, by=by, reason=reason)
    print(f"Request {request} stands: from now on such records become bare rows.", file=sys.stderr)
    _tell(sweep(settings, request, timeout_s=timeout), as_json)


@app.command(epilog="Example: tokentrail erase resume 5f0c9a1be2d34c77")
def resume(
    request: Annotated[str, typer.Argument(help="Id of the request.")],
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for the sinks.")] = 90.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sweep again for a request whose first sweep was ended; the process `keep` does so by itself."""
    _tell(sweep(settings_for(data, user=USER), request, timeout_s=timeout), as_json)


@app.command("list", epilog="Example: tokentrail erase list --json")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Every request and where it stands."""
    from pipeline.cli.output import table, write_json

    found = standing(settings_for(data, user=USER))
    if as_json:
        for each in found:
            write_json(each.as_dict())
        return
    columns = ["request", "tenant", "kind", "asked_at", "by", "status", "rows", "held"]
    lines = [
        [*(each.as_dict()[name] for name in columns[:6]), sum(each.rows.values()), each.as_dict()["held"]]
        for each in found
    ]
    table(columns, lines, _UNITS)


@app.command(epilog="Example: tokentrail erase status 5f0c9a1be2d34c77")
def status(
    request: Annotated[str, typer.Argument(help="Id of the request.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say where a request stands; fails while it is not done."""
    found = _of(settings_for(data, user=USER), request)
    _tell(found, as_json)
    if found.status != "done":
        raise typer.Exit(1)


@app.command(epilog="Example: tokentrail erase receipt 5f0c9a1be2d34c77 > receipt.json")
def receipt(request: Annotated[str, typer.Argument(help="Id of the request.")], data: DataOption = None) -> None:
    """Print the receipt as JSON: what was asked, what was done, and which ledger records prove it."""
    from pipeline.cli.output import write_json

    write_json(_of(settings_for(data, user=USER), request).as_dict())


def ask(settings: Settings, tenant: str, kind: Selected, value: str, *, by: str, reason: str) -> str:
    """Put a request on `llm.controls`; returns its id.

    Raises:
        UsageError: The value is empty, or the reason says it.
        RetryableError: Kafka did not take the record.
    """
    from pipeline import keys
    from pipeline.control.erasures import ask as make
    from pipeline.transport.policies import append_control

    request = secrets.token_hex(8)
    set_at = time.time_ns() // 1_000_000
    append_control(
        settings, make(keys.load(settings), request, tenant, kind, value, by=by, reason=reason, set_at=set_at)
    )
    return request


def sweep(settings: Settings, request: str, *, timeout_s: float) -> Standing:
    """Erase what stands of a request's subject; where it then stands.

    Raises:
        UsageError: There is no such request.
        RetryableError: Something does not answer, or a sink does not know the request yet.
    """
    from pipeline import keys
    from pipeline.cli.progress import Progress
    from pipeline.storage.check import partition_count
    from pipeline.storage.client import connect
    from pipeline.storage.erase import Eraser
    from pipeline.transport.policies import read_holds

    known = _of(settings, request)
    client = connect(settings, purpose="erase", timeout_s=600)
    try:
        secret = keys.load(settings)
        eraser = Eraser(settings, client, secret, partition_count(settings), read_holds(settings, secret))
        with Progress("erase") as progress:
            eraser.sweep(
                known.request,
                last=False,
                patience_s=timeout_s,
                progress=lambda done, total, what: progress.update(done, f"{done:,} of {total:,} rows ({what})", total),
            )
    finally:
        client.close()
    return _of(settings, request)


def standing(settings: Settings) -> list[Standing]:
    """Every request with what was done for it, in order.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer.
    """
    from pipeline.storage.client import connect
    from pipeline.storage.erase import steps
    from pipeline.transport.erasures import requests

    client = connect(settings, purpose="erase")
    try:
        return [Standing(request, steps(client, request.id)) for request in requests(settings)]
    finally:
        client.close()


def _of(settings: Settings, request: str) -> Standing:
    for each in standing(settings):
        if each.request.id == request:
            return each
    raise UsageError(f"There is no request {request}. `tokentrail erase list` shows all.")


def _tell(found: Standing, as_json: bool) -> None:
    from pipeline.cli.output import write_json

    said = found.as_dict()
    if as_json:
        write_json(said)
        return
    rows = ", ".join(f"{count:,} in {table}" for table, count in found.rows.items()) or "none"
    print(f"Request {said['request']} ({said['kind']} of tenant {said['tenant']}) is {_SAYS[found.status]}.")
    print(f"Rows changed or removed: {rows}.")
    if said["held"]:
        print(f"A legal hold keeps {said['held']:,} rows; they go when it is released.")
    if said["not_cleared"]:
        logs = ", ".join(said["not_cleared"])
        print(f"The server did not let us clear {logs}: grant ALTER DELETE on them, or wait for their TTL.")
    if found.status == "first":
        print(f"Kafka may know the subject until {said['second_sweep_from']}; the process `keep` sweeps then.")
