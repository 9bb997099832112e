"""`tokentrail budget`: how much may be spent on what in a day and in a month. The judge watches; nothing is stopped."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.control.budgets import Budgets
    from pipeline.settings import Settings

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Say how much may be spent on what, see what is spent, and let a budget go. Days and months are UTC.",
    epilog="Example: tokentrail budget set --tenant acme --feature chat --month 500",
)

Name = Annotated[str | None, typer.Option()]
TenantOption = Annotated[str | None, typer.Option(help="Whose; without any name it is for the whole installation.")]
UserOption = Annotated[str | None, typer.Option(help="One person: the value applications send. Only with --tenant.")]
ByOption = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Who answers for it (default: your login).")]
NOTE_LENGTH: Final = 500


@app.command("set", epilog="Example: tokentrail budget set --tenant acme --day 20 --month 400 --near 0.7 --by finance")
def set_(
    tenant: TenantOption = None,
    environment: Name = None,
    team: Name = None,
    feature: Name = None,
    model: Name = None,
    user: UserOption = None,
    day: Annotated[float | None, typer.Option(help="US dollars a day (UTC).")] = None,
    month: Annotated[float | None, typer.Option(help="US dollars a calendar month (UTC).")] = None,
    near: Annotated[float, typer.Option(help="From this part on it is near.")] = 0.8,
    note: Annotated[str, typer.Option(help="Why. It is kept for ever: name no person in it.")] = "",
    by: ByOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a budget, in place of the one its owner had for the same. It holds 30 s later."""
    import msgspec

    from pipeline.control.budgets import BudgetError
    from pipeline.transport.budgets import publish_budget
    from schemas.control import Budget

    settings = settings_for(data)
    selector = _selector(settings, tenant, environment, team, feature, model, user)
    try:
        budget = msgspec.convert({"day_usd": day, "month_usd": month, "near": near, "note": _short(note)}, Budget)
        control = publish_budget(settings, selector, _who(by), budget)
    except (BudgetError, msgspec.ValidationError) as error:
        raise UsageError(str(error)) from None
    _told(control.selector, control.owner, budget, "is set; it holds in 30 s", as_json)


@app.command("list", epilog="Example: tokentrail budget list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say which budgets there are: for what, how much, by whom, and since when."""
    import msgspec

    from pipeline.cli.output import write_json
    from pipeline.transport.budgets import read_budgets

    found = read_budgets(settings_for(data))
    now_ms = _now_ms()
    rows: list[dict[str, Any]] = [
        {
            "selector": control.selector,
            "owner": control.owner,
            **msgspec.to_builtins(budget),
            "in_force_at": iso_ms(at_ms),
            "in_force": at_ms <= now_ms,
        }
        for at_ms, control, budget in found.records()
    ]
    if as_json:
        write_json({"budgets": rows, "unreadable": found.unreadable})
        return
    for row in rows:
        since = "since" if row["in_force"] else "from"
        print(f"{_sentence(row['selector'], row)} ({row['owner']}, {since} {row['in_force_at']})" + _note(row))
    if not rows:
        print("No budget is set. `tokentrail budget set` sets one.")


@app.command(epilog="Example: tokentrail budget show --tenant acme")
def show(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    login: Annotated[str | None, typer.Option(help="ClickHouse user (default on embedded servers: finops).")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is spent of each budget, what its period comes to, and when it is crossed."""
    from pipeline.cli.cost import LOGIN, look_back, write_lines
    from pipeline.cli.costs import hourly
    from pipeline.cli.outlooks import of_limits
    from pipeline.cli.output import form
    from pipeline.cli.reader import reader_for
    from pipeline.control.budgets import NAMES
    from pipeline.transport.budgets import read_budgets

    now_ms = _now_ms()
    settings = settings_for(data)
    limits = [
        limit
        for limit in read_budgets(settings).at(now_ms)
        if tenant is None or dict(limit.selector).get("tenant") == tenant
    ]
    if not limits:
        if not as_json:
            print("No budget is in force" + (f" for {tenant}." if tenant else "."))
        return
    by = tuple(name for name in NAMES if name == "tenant" or any(dict(one.selector).get(name) for one in limits))
    reader = reader_for(data, login or LOGIN)
    hours = hourly(reader, by, look_back({"tenant": tenant} if tenant else {}, now_ms))
    write_lines(of_limits(hours, by, limits, now_ms), by, form(as_json, False))


@app.command(epilog="Example: tokentrail budget remove --tenant acme --feature chat --by finance")
def remove(
    tenant: TenantOption = None,
    environment: Name = None,
    team: Name = None,
    feature: Name = None,
    model: Name = None,
    user: UserOption = None,
    by: ByOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a budget go: your own for exactly this. What stood for it stays readable."""
    from pipeline.transport.budgets import publish_budget, read_budgets
    from schemas.control import Budget

    settings = settings_for(data)
    selector, owner = _selector(settings, tenant, environment, team, feature, model, user), _who(by)
    if not _has(read_budgets(settings), selector, owner):
        raise UsageError(
            f"{owner} has no budget for {_words(selector)}. `tokentrail budget list` says which there are, and whose."
        )
    budget = Budget(removed=True)
    publish_budget(settings, selector, owner, budget)
    _told(selector, owner, budget, "is let go; it ends in 30 s", as_json)


def _has(budgets: Budgets, selector: dict[str, str], owner: str) -> bool:
    from pipeline.control.budgets import selector_of

    return any(
        selector_of(control.selector) == selector_of(selector) and control.owner == owner
        for _, control, _ in budgets.records()
    )


def _selector(settings: Settings, tenant: str | None, *named: str | None) -> dict[str, str]:
    """Names as facts show them: readable where they may be read, else keyed hashes; a person's pseudonym."""
    from pipeline.intake.identify import Identifiers
    from pipeline.keys import load
    from pipeline.redaction.identifiers import is_clean_identifier

    values = dict(zip(("environment", "team", "feature", "model", "user"), named, strict=True))
    if tenant is None:
        if any(values.values()):
            raise UsageError("Say --tenant: only a budget for the whole installation goes without.")
        return {}
    who = Identifiers(load(settings), is_clean_identifier)
    found = {"tenant": who.tenant(tenant)}
    for name, value in values.items():
        if not value:
            continue
        shown = (
            who.hashed(found["tenant"], "user", value, "pseudonym")
            if name == "user"
            else who.readable(found["tenant"], name, value)
        )
        found[name] = shown or ""
    return found


def _told(selector: dict[str, str], owner: str, budget: Any, what: str, as_json: bool) -> None:
    import msgspec

    from pipeline.cli.output import write_json

    body = msgspec.to_builtins(budget)
    if as_json:
        write_json({"selector": selector, "owner": owner, **body})
    elif body.get("removed"):
        print(f"The budget for {_words(selector)} of {owner} {what}.")
    else:
        print(f"{_sentence(selector, body)} {what}.")


def _sentence(selector: dict[str, str], body: dict[str, Any]) -> str:
    limits = [f"${body[f'{period}_usd']:,.2f} a {period}" for period in ("day", "month") if body.get(f"{period}_usd")]
    return f"{_words(selector).capitalize()}: {' and '.join(limits)}"


def _words(selector: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in selector.items()) or "the whole installation"


def _note(row: dict[str, Any]) -> str:
    return f": {row['note']}" if row.get("note") else ""


def _short(note: str) -> str:
    note = " ".join(note.split())
    if len(note) > NOTE_LENGTH:
        raise UsageError(f"The note is longer than {NOTE_LENGTH} characters.")
    return note


def _who(by: str | None) -> str:
    name = " ".join((by if by is not None else getpass.getuser()).split())
    if not name or len(name) > 100:
        raise UsageError("Say who answers for it: --by NAME, at most 100 characters.")
    return name


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
