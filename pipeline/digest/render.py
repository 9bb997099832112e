"""A digest as Markdown and as one HTML file: no script, nothing fetched; readable on a phone, printable. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final, cast

from pipeline.cli.formats import RIGHT, shown
from pipeline.digest.model import Digest, Picture, Section
from pipeline.digest.pictures import svg

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6472;--line:#d9dee6;--back:#fff;--card:#f6f8fb}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#9aa5b5;--line:#333c4a;--back:#12161d;--card:#1a202a}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;
color:var(--ink);background:var(--back)}
h1{font-size:1.5rem;margin:.5rem 0}
h2{font-size:1.15rem;margin:2rem 0 .25rem;border-top:1px solid var(--line);padding-top:1rem}
p{margin:.25rem 0 .75rem}.soft{color:var(--soft);font-size:.9rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .5rem;border-bottom:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;white-space:nowrap}
figure{margin:1rem 0}figcaption{color:var(--soft);font-size:.9rem}svg{width:100%;height:auto;max-height:22rem}
@media(max-width:40rem){thead{position:absolute;left:-999rem}
tr{display:block;background:var(--card);border-radius:.5rem;
margin:.5rem 0;padding:.35rem .25rem}td,td.n{display:flex;gap:1rem;
justify-content:space-between;border:0;text-align:right;
white-space:normal}td::before{content:attr(data-of);color:var(--soft);text-align:left;flex:none}}
@media print{body{max-width:none;color:#000;background:#fff}h2{break-after:avoid}tr,figure{break-inside:avoid}}
"""


def markdown(digest: Digest) -> str:
    """The digest as Markdown, without pictures."""
    lines = [f"# {digest.title}", "", f"{_head(digest)}", ""]
    for one in digest.sections:
        lines += [f"## {one.title}", ""]
        if one.says:
            lines += [_plain(one.says), ""]
        if one.rows:
            lines.append("| " + " | ".join(map(_heading, one.columns)) + " |")
            lines.append("|" + "|".join("---:" if unit in RIGHT else "---" for unit in one.units) + "|")
            lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in cells(one)]
            lines.append("")
    return "\n".join(lines)


def html(digest: Digest) -> str:
    """The digest as one file that needs no other."""
    body = "".join(_section(one) for one in digest.sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(digest.title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(digest.title)}</h1><p class="soft">{escape(_head(digest))}</p>{body}</body></html>\n'
    )


def cells(one: Section) -> list[list[str]]:
    """The rows of a section as a person reads them."""
    units = cast("list[Unit]", one.units)
    return [[shown(value, unit) for value, unit in zip(row, units, strict=True)] for row in one.rows]


def _head(digest: Digest) -> str:
    whose = f"tenant {digest.tenant}" if digest.tenant else "all tenants that this login sees"
    return f"{digest.since} to {digest.until} (UTC), {whose}. Made {digest.made_at} {digest.seen_as}"


def _heading(column: str) -> str:
    name = column.removesuffix("_usd") if column != "cost_usd" else "cost"
    return name.replace("_", " ")


def _plain(text: str) -> str:
    """Text that Markdown takes as text."""
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>#|!" else one for one in " ".join(text.split()))


def _section(one: Section) -> str:
    parts = [f'<section id="{escape(one.name)}"><h2>{escape(one.title)}</h2>']
    if one.says:
        parts.append(f"<p>{escape(one.says)}</p>")
    parts += [_figure(picture) for picture in one.pictures]
    if one.rows:
        names = [_heading(column) for column in one.columns]
        classes = [' class="n"' if unit in RIGHT else "" for unit in one.units]
        head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(names, classes, strict=True))
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>")
        for row in cells(one):
            parts.append("<tr>")
            for name, kind, cell in zip(names, classes, row, strict=True):
                parts.append(f'<td{kind} data-of="{escape(name)}">{escape(cell)}</td>')
            parts.append("</tr>")
        parts.append("</tbody></table>")
    return "".join([*parts, "</section>"])


def _figure(picture: Picture) -> str:
    return f"<figure>{svg(picture)}<figcaption>{escape(picture.title)}</figcaption></figure>"
