"""Bars and lines as SVG, by hand: no library, no script, no network; legible in light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, FAINT = "#8a8f98", "#8a8f9855"
COLOURS = {"ours": "#2f7d4f", "peer": "#4a78b5", "yardstick": "#a0a4ab"}
COLOURS_OF_LINES = ("#2f7d4f", "#4a78b5", "#b5733a")
WIDTH, ROW, LEFT, RIGHT = 860, 24, 400, 70


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    #: The smallest and the largest of the rounds.
    spread: tuple[float, float]
    kind: str


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars on a logarithmic scale, the best first, with whiskers for the spread."""
    least = min(min(row.spread[0], row.value) for row in rows)
    most = max(max(row.spread[1], row.value) for row in rows)
    low, high = math.floor(math.log10(least * 0.9)), math.log10(most * 1.1)
    room = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        return LEFT + room * (math.log10(value) - low) / (high - low)

    parts, bottom = [], 58 + ROW * len(rows)
    for power in range(low, math.floor(high) + 1):
        at = x(10**power)
        parts.append(f'<path d="M{at:.1f} 44V{bottom}" stroke="{FAINT}"/>')
        parts.append(_text(at, bottom + 16, f"{10**power:g}", "middle"))
    for number, row in enumerate(rows):
        y = 50 + ROW * number
        parts.append(_text(LEFT - 8, y + 14, row.label, "end"))
        parts.append(
            f'<rect x="{LEFT}" y="{y + 2}" width="{max(1.0, x(row.value) - LEFT):.1f}" '
            f'height="{ROW - 8}" rx="2" fill="{COLOURS[row.kind]}"/>'
        )
        first, last = x(row.spread[0]), x(row.spread[1])
        parts.append(
            f'<path d="M{first:.1f} {y + 10}H{last:.1f}" stroke="{INK}" stroke-width="2"/>'
        )
        parts.append(_text(last + 6, y + 14, f"{row.value:.3g}", "start", bold=True))
    return _picture(title, unit, bottom + 28, parts)


def lines(
    title: str, unit: str, points: Sequence[float], series: dict[str, Sequence[float]]
) -> str:
    """Lines over a logarithmic x axis; y begins at 0."""
    height, room = 260, WIDTH - 160
    most = max(max(values) for values in series.values()) * 1.15
    first, last = math.log10(points[0]), math.log10(points[-1])

    def x(value: float) -> float:
        return 60 + room * (math.log10(value) - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return 50 + (height - 50) * (1 - value / most)

    parts = [f'<path d="M60 {height}H{60 + room}" stroke="{INK}"/>']
    for point in points:
        parts.append(_text(x(point), height + 18, f"{point:,.0f}", "middle"))
    for share in (0.5, 1.0):
        value = most / 1.15 * share
        parts.append(f'<path d="M60 {y(value):.1f}H{60 + room}" stroke="{FAINT}"/>')
        parts.append(_text(54, y(value) + 4, f"{value:.2g}", "end"))
    below = 0.0
    ends = sorted(zip(series.items(), COLOURS_OF_LINES, strict=False), key=lambda e: -e[0][1][-1])
    for (name, values), colour in ends:
        path = " ".join(f"{x(p):.1f},{y(v):.1f}" for p, v in zip(points, values, strict=True))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        below = max(y(values[-1]) + 4, below + 14)  # lines that end side by side
        parts.append(_text(66 + room, below, name, "start", colour=colour))
    return _picture(title, unit, height + 34, parts)


def _text(
    x: float, y: float, words: str, anchor: str, *, bold: bool = False, colour: str = INK
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(words)}</text>"
    )


def _picture(title: str, unit: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12">\n'
        f"<title>{escape(title)}</title>\n"
    )
    top = [_text(12, 20, title, "start", bold=True), _text(12, 36, unit, "start")]
    return head + "\n".join([*top, *parts]) + "\n</svg>\n"
