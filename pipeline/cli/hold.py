"""`tokentrail hold`: rows that must stay although their life is over, until somebody lets them go."""

from __future__ import annotations

import getpass
import secrets
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms, parse_since
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.control.holds import Hold, Scope
    from pipeline.settings import Settings

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Keep rows beyond their life for a legal reason, list what is kept, and let it go.",
    epilog="Example: tokentrail hold place --tenant acme --reason 'case 2026/17' --by legal",
)

ByOption = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Who answers for it (default: your login).")]
REASON_LENGTH: Final = 1_000


@app.command(epilog="Example: tokentrail hold place --tenant acme --user 4711 --reason 'case 2026/17' --by legal")
def place(
    tenant: Annotated[str, typer.Option(help="Whose rows, as rows show it.")],
    reason: Annotated[str, typer.Option(help="Why. It is kept for ever: name no person in it.")],
    by: ByOption = None,
    user: Annotated[
        str | None, typer.Option(help="Only one person's: the value applications send, or its hash.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Only one run's: the same.")] = None,
    id: Annotated[str | None, typer.Option(help="Only one call, and what is said about it.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only what was received from then on (7d, or ISO).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only what was received before (7d, or ISO).")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place a hold. It binds every expiry, erasure and change of policy that begins after it."""
    from pipeline.cli.output import write_json
    from pipeline.cli.retention_words import hold_sentence
    from pipeline.control.holds import Placed, placing, scope_of
    from pipeline.keys import load
    from pipeline.transport.policies import append_control, read_holds

    if sum(each is not None for each in (user, run, id)) > 1:
        raise UsageError("Name one of --user, --run and --id, or none for all of the tenant.")
    from_ms, to_ms = (None if each is None else parse_since(each) for each in (since, until))
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError("--from must be before --to.")
    settings = settings_for(data)
    keys = load(settings)
    scope = scope_of(keys, _said("tenant", tenant), user=user, run=run, id=id, from_ms=from_ms, to_ms=to_ms)
    name = secrets.token_hex(4)
    body = Placed(scope.marked(keys), _said("reason", reason), _who(by))
    append_control(settings, placing(name, body, _now_ms()))
    hold = read_holds(settings, keys).get(name)
    assert hold is not None, "it was just written"
    covers = _covers(settings, scope)
    if as_json:
        write_json({**_plain(hold), "covers_now": covers})
        return
    print(hold_sentence(hold))
    found = ", ".join(f"{rows:,} of {table}" for table, rows in covers.items())
    print(f"It covers these rows now: {found}." if found else "It covers no row now; those to come it will.")


@app.command("list", epilog="Example: tokentrail hold list --all")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="The released ones too.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which holds are in force: what each keeps, since when, why, and by whose word."""
    from pipeline.cli.output import write_json
    from pipeline.cli.retention_words import hold_sentence
    from pipeline.keys import load
    from pipeline.transport.policies import read_holds

    settings = settings_for(data)
    found = [hold for hold in read_holds(settings, load(settings)).all if everything or hold.in_force]
    if as_json:
        write_json({"holds": [_plain(hold) for hold in found]})
        return
    for hold in found:
        print(hold_sentence(hold))
    if not found:
        print("There has never been a hold." if everything else "No hold is in force.")


@app.command(epilog="Example: tokentrail hold release 4f2a91bc --reason 'case closed' --by legal")
def release(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of the hold, as `tokentrail hold list` says it.")],
    reason: Annotated[str, typer.Option(help="Why. It is kept for ever: name no person in it.")],
    by: ByOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Release a hold. What had its life goes with the next expiry; an erasure that waited for it is swept again."""
    from pipeline.cli.output import write_json
    from pipeline.cli.retention_words import hold_sentence
    from pipeline.control.holds import Released, releasing
    from pipeline.keys import load
    from pipeline.transport.policies import append_control, read_holds

    settings = settings_for(data)
    keys = load(settings)
    hold = read_holds(settings, keys).get(id)
    if hold is None:
        raise UsageError(f"There is no hold {id}. `tokentrail hold list` says which there are.")
    if not hold.in_force:
        raise UsageError(f"Hold {id} is released already. `tokentrail hold list --all` says when and by whom.")
    append_control(settings, releasing(id, Released(_said("reason", reason), _who(by)), _now_ms()))
    hold = read_holds(settings, keys).get(id)
    assert hold is not None, "it was there"
    if as_json:
        write_json(_plain(hold))
    else:
        print(hold_sentence(hold))


def _covers(settings: Settings, scope: Scope) -> dict[str, int]:
    from pipeline.storage.client import connect
    from pipeline.storage.covered import counts

    client = connect(settings, purpose="hold", timeout_s=300)
    try:
        return counts(client, scope)
    finally:
        client.close()


def _said(what: str, text: str) -> str:
    text = " ".join(text.split())
    if not text:
        raise UsageError(f"Say the {what}.")
    if len(text) > REASON_LENGTH:
        raise UsageError(f"The {what} is longer than {REASON_LENGTH:,} characters.")
    return text


def _who(by: str | None) -> str:
    return _said("name of who answers for it", by if by is not None else getpass.getuser())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _plain(hold: Hold) -> dict[str, Any]:
    scope = hold.scope
    named = {"user": scope.users, "run": scope.runs, "id": scope.ids}
    return {
        "id": hold.id,
        "in_force": hold.in_force,
        "tenant": scope.tenant,
        "only_one": next((name for name, marks in named.items() if marks is not None), None),
        "from": None if scope.from_ms is None else iso_ms(scope.from_ms),
        "to": None if scope.to_ms is None else iso_ms(scope.to_ms),
        "reason": hold.placed.reason,
        "by": hold.placed.by,
        "placed_at": iso_ms(hold.placed_at),
        "released_at": None if hold.released_at is None else iso_ms(hold.released_at),
        "released_by": None if hold.released is None else hold.released.by,
        "released_because": None if hold.released is None else hold.released.reason,
    }
