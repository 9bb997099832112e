"""A result on stdout: a table for a person, JSON lines or CSV for a machine."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from pipeline.cli.formats import RIGHT, Unit, plain, shown

Form = Literal["table", "json", "csv"]

# Where nobody knows how wide the reader is.
PIPE_WIDTH: Final = 240

_encoder = msgspec.json.Encoder(decimal_format="number")


def form(as_json: bool, as_csv: bool) -> Form:
    """The form that the options name."""
    return "json" if as_json else "csv" if as_csv else "table"


def write(columns: Sequence[str], rows: Iterable[Sequence[Any]], units: Mapping[str, Unit], how: Form) -> None:
    """Write rows in one of the forms; `units` says how a column is read, text where it does not."""
    if how == "json":
        for row in rows:
            write_json(dict(zip(columns, row, strict=True)))
    elif how == "csv":
        writer = csv.writer(sys.stdout)
        if columns:
            writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)
    else:
        table(columns, rows, units)


def write_json(values: Mapping[str, Any]) -> None:
    """One JSON object on a line of its own."""
    sys.stdout.write(_encoder.encode({name: plain(value) for name, value in values.items()}).decode() + "\n")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], units: Mapping[str, Unit]) -> None:
    """Write a table; where it is wider than the terminal, one line for each value instead."""
    from rich.box import SIMPLE_HEAD
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    known = [units.get(name, "text") for name in columns]
    headings = [heading(name, unit) for name, unit in zip(columns, known, strict=True)]
    texts = [[shown(value, unit) for value, unit in zip(row, known, strict=True)] for row in rows]
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, unit in zip(headings, known, strict=True):
        grid.add_column(name, justify="right" if unit in RIGHT else "left", overflow="fold")
    for line in texts:
        grid.add_row(*map(Text, line))
    out = console()
    if Measurement.get(out, out.options.update(max_width=10_000), grid).maximum <= out.width:
        out.print(grid)
        return
    for line in texts:
        upright = Table.grid(padding=(0, 2))
        upright.add_column(style="dim", no_wrap=True)
        upright.add_column(overflow="fold")
        for name, text in zip(headings, line, strict=True):
            upright.add_row(name, Text(text))
        out.print(upright, "")


def heading(name: str, unit: Unit) -> str:
    """A column's name in words; a unit at its end goes where the values carry their own."""
    ends = {"ms": "_ms", "money": "_usd"}
    return name.removesuffix(ends.get(unit, "")).replace("_", " ")


def console() -> Any:
    """A console on stdout that does not cut lines where stdout is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def _cell(value: Any) -> Any:
    value = plain(value)
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else value
