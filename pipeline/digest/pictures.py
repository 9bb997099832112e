"""Bars as inline SVG, with their numbers in `<title>` for who cannot see or points at them. Pure."""

from __future__ import annotations

from html import escape
from typing import Final

from pipeline.cli.formats import Unit, shown
from pipeline.digest.model import Picture

WIDTH, HEIGHT = 720, 260
LEFT, BOTTOM, TOP = 64, 44, 30
# Told apart by those who do not see colours as most do (Okabe and Ito).
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#999999", "#56b4e9")
_LABEL: Final = 12


def svg(picture: Picture) -> str:
    """Stacked bars; side by side where there are two series that are weeks."""
    beside = picture.series == ["this week", "week before"]
    tops = [
        max((row[place] for row in picture.values), default=0.0)
        if beside
        else sum(row[place] for row in picture.values)
        for place in range(len(picture.places))
    ]
    most = max([*tops, 0.0]) or 1.0
    unit: Unit = "money" if picture.unit == "money" else "count"
    high, wide = HEIGHT - BOTTOM - TOP, (WIDTH - LEFT) / max(1, len(picture.places))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(picture.title)}" font-size="{_LABEL}" '
        'fill="currentColor">'
    ]
    for part in (0.0, 0.5, 1.0):
        y = TOP + high * (1 - part)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" stroke-opacity=".2"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(shown(most * part, unit))}</text>'
        )
    for place, name in enumerate(picture.places):
        x, width, base = LEFT + wide * place + wide * 0.15, wide * 0.7, 0.0
        for number, row in enumerate(picture.values):
            value = row[place]
            tall = high * value / most
            left = x + number * width / 2 if beside else x
            y = TOP + high - tall - (0.0 if beside else base)
            parts.append(
                f'<rect x="{left:.1f}" y="{y:.1f}" width="{width / 2 if beside else width:.1f}" height="{tall:.1f}" '
                f'fill="{COLOURS[number % len(COLOURS)]}"><title>{escape(picture.series[number])}, {escape(name)}: '
                f"{escape(shown(value, unit))}</title></rect>"
            )
            base += tall
        shown_name = name if len(name) * 6 <= wide else name[: max(1, int(wide / 6) - 1)] + "…"
        parts.append(
            f'<text x="{x + width / 2:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(shown_name)}</text>'
        )
    x = LEFT
    for number, name in enumerate(picture.series):
        parts.append(
            f'<rect x="{x}" y="6" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>'
            f'<text x="{x + 14}" y="15">{escape(name[:24])}</text>'
        )
        x += 34 + 7 * min(24, len(name))
    return "".join([*parts, "</svg>"])
