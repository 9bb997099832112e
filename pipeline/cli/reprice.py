"""`tokentrail reprice`: what stored calls cost by another price book; shown first, and written beside the calls."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.audit.repricing import Difference, Tally
    from pipeline.cli.formats import Unit
    from pipeline.pricing import PriceBook

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_UNITS: Final[dict[str, Unit]] = {
    "calls": "count", "changed": "count", "before_usd": "money", "after_usd": "money", "delta_usd": "money",
    "found": "count", "kept": "count",
}  # fmt: skip


@app.command(
    epilog="\b\nExamples:\n  tokentrail reprice --since 2026-11-01\n"
    "  tokentrail reprice --book contract.toml --tenant acme --since 2026-11-01 --apply"
)
def reprice(
    book: Annotated[
        Path | None, typer.Option(help="Prices of your own (TOML), before those of the installed book.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Only calls received since: 24h, 7d, 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Only calls received before.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the new prices; without it they are only shown.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what calls would cost by another price book; --apply writes that beside them, into the ledger's chain."""
    from pipeline.cli.output import write_json
    from pipeline.cli.progress import Progress
    from pipeline.cli.times import parse_since
    from pipeline.keys import load
    from pipeline.storage.client import connect
    from pipeline.storage.reprice import apply as write
    from pipeline.storage.reprice import difference
    from pipeline.storage.repricings import Scope

    prices = _book(book)
    settings = settings_for(data)
    scope = Scope(parse_since(since) if since else 0, parse_since(until) if until else 2**53, tenant or "")
    client = connect(settings, purpose="reprice", timeout_s=300)
    written = 0
    try:
        with Progress("pricing") as progress:
            found = difference(client, prices, scope, lambda done, all_: progress.update(done, _said(done, all_), all_))
        if not as_json:
            _print(found, prices.version)
        if apply and found.total.changed:
            with Progress("writing") as progress:
                written = write(
                    settings,
                    client,
                    load(settings),
                    prices,
                    scope,
                    lambda done, all_: progress.update(done, _said(done, all_), all_),
                )
    finally:
        client.close()
    if as_json:
        rows = [_plain(key, tally) for key, tally in sorted(found.tallies.items())]
        total = _plain(("", "", ""), found.total)
        write_json({"price_version": prices.version, "written": written, "total": total, "rows": rows})
    elif apply:
        print(f"Wrote {written:,} repricings. `calls_priced` and the `*_repriced` views go by them from now on.")
    elif found.total.changed:
        print("Nothing is written; --apply writes it.")


def _book(path: Path | None) -> PriceBook:
    from pipeline.pricing import Overrides, PriceBook

    if path is None:
        return PriceBook()
    try:
        return PriceBook(Overrides(path.read_text("utf-8"), str(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The price file {path} cannot be read ({type(error).__name__}).") from error


def _said(done: int, all_: int) -> str:
    return f"{done:,} of {all_:,} calls"


def _plain(key: tuple[str, str, str], tally: Tally) -> dict[str, Any]:
    tenant, provider, model = key
    return {
        "tenant": tenant,
        "provider": provider,
        "model": model,
        "calls": tally.calls,
        "changed": tally.changed,
        "before_usd": _usd(tally.before),
        "after_usd": _usd(tally.after),
        "delta_usd": _usd(tally.delta),
        "found": tally.found,
        "kept": tally.kept,
    }


def _print(found: Difference, version: str) -> None:
    from pipeline.cli.output import table

    if not found.tallies:
        print("No calls fit.")
        return
    order = sorted(found.tallies.items(), key=lambda item: (-abs(item[1].delta), item[0]))
    rows = [_plain(key, tally) for key, tally in order]
    table(list(rows[0]), [list(row.values()) for row in rows], _UNITS)
    total = found.total
    sums = _plain(("", "", ""), total)
    print(
        f"By {version}, {total.changed:,} of {total.calls:,} calls have another price: "
        f"${sums['before_usd']:f} becomes ${sums['after_usd']:f} ({sums['delta_usd']:+f})."
    )
    if total.found:
        print(f"{total.found:,} calls had no price before.")
    if total.kept:
        print(f"{total.kept:,} calls keep a price that this book does not have.")


def _usd(nano: int) -> Decimal:
    return Decimal(nano).scaleb(-9)
