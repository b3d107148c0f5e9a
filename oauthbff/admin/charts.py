"""Numbers become SVG. Pure: no settings, no database, no clock, nothing loaded from anywhere.

A picture has a name and a description for those who do not see it, and each page shows the
same numbers as a table. Colours are classes, so that light and dark are the stylesheet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

WIDTH, HEIGHT = 480, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 26
PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
#: At most so many labels below a picture.
MOST_TICKS = 6


@dataclass(frozen=True, kw_only=True)
class Series:
    name: str
    #: Names the colour: `chart-<kind>` in the stylesheet.
    kind: str
    values: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One or more series over the same buckets."""

    id: str
    title: str
    about: str
    labels: Sequence[str]
    series: Sequence[Series]
    #: A line for what stands at a time, columns for what happens in one.
    line: bool = False
    #: Name the series of which there is only one, too: the title does not say what it is.
    always_named: bool = False

    @property
    def legend(self) -> Sequence[Series]:
        return self.series if self.always_named or len(self.series) > 1 else ()

    @property
    def empty(self) -> bool:
        return not any(any(series.values) for series in self.series)

    @property
    def rows(self) -> list[tuple[str, list[int]]]:
        """The numbers as a table, a row for each bucket."""
        return [
            (label, [series.values[place] for series in self.series])
            for place, label in enumerate(self.labels)
        ]


def svg(chart: Chart) -> str:
    """The picture, safe to put into a page: every text in it is escaped."""
    image = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "role": "img",
            "class": "chart",
            "aria-labelledby": f"{chart.id}-title {chart.id}-desc",
        },
    )
    _text(image, "title", chart.title, id=f"{chart.id}-title")
    _text(image, "desc", chart.about, id=f"{chart.id}-desc")
    top = ceiling(_highest(chart))
    _axis(image, top)
    _labels(image, chart.labels)
    (_line if chart.line else _columns)(image, chart, top)
    return ElementTree.tostring(image, encoding="unicode", short_empty_elements=True)


def ceiling(number: int) -> int:
    """The next round number that can be halved, such as 2, 8, 30, 150 or 250."""
    power = 1
    while True:
        for tenths in (10, 15, 20, 25, 30, 40, 50, 60, 80):
            top, rest = divmod(tenths * power, 20)
            if not rest and number <= top * 2:
                return top * 2
        power *= 10


def short(number: float) -> str:
    """A number in at most five characters: 950, 2.5k, 1M."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}".removesuffix(".0") + unit
    return f"{number:g}"


def _highest(chart: Chart) -> int:
    if chart.line:
        return max((max(series.values, default=0) for series in chart.series), default=0)
    return max((sum(values) for _label, values in chart.rows), default=0)


def _axis(image: ElementTree.Element, top: int) -> None:
    for share in (0, 0.5, 1):
        y = f"{TOP + PLOT_HEIGHT * (1 - share):.1f}"
        line = {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": y, "y2": y}
        ElementTree.SubElement(image, "line", {"class": "chart-grid", **line})
        _text(image, "text", short(top * share), x=str(LEFT - 6), y=y, dy="0.35em", kind="chart-y")


def _labels(image: ElementTree.Element, labels: Sequence[str]) -> None:
    every = max(1, -(-len(labels) // MOST_TICKS))
    width = PLOT_WIDTH / max(1, len(labels))
    for place in range(0, len(labels), every):
        x = f"{LEFT + width * (place + 0.5):.1f}"
        _text(image, "text", labels[place], x=x, y=str(HEIGHT - 7), kind="chart-x")


def _columns(image: ElementTree.Element, chart: Chart, top: int) -> None:
    width = PLOT_WIDTH / max(1, len(chart.labels))
    for place, (label, values) in enumerate(chart.rows):
        if not any(values):
            continue
        group = ElementTree.SubElement(image, "g")
        said = ", ".join(
            f"{series.name} {value}"
            for series, value in zip(chart.series, values, strict=True)
            if value
        )
        _text(group, "title", f"{label}: {said}")
        below = 0.0
        for series, value in zip(chart.series, values, strict=True):
            if not value:
                continue
            height = max(1.0, PLOT_HEIGHT * value / top)
            below += height
            column = {
                "class": f"chart-column chart-{series.kind}",
                "x": f"{LEFT + width * (place + 0.12):.1f}",
                "y": f"{TOP + PLOT_HEIGHT - below:.1f}",
                "width": f"{width * 0.76:.1f}",
                "height": f"{height:.1f}",
            }
            ElementTree.SubElement(group, "rect", column)


def _line(image: ElementTree.Element, chart: Chart, top: int) -> None:
    width = PLOT_WIDTH / max(1, len(chart.labels))
    floor = TOP + PLOT_HEIGHT
    for series in chart.series:
        points = [
            (LEFT + width * (place + 0.5), floor - PLOT_HEIGHT * value / top)
            for place, value in enumerate(series.values)
        ]
        if not points:
            continue
        along = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        area = f"{points[0][0]:.1f},{floor} {along} {points[-1][0]:.1f},{floor}"
        shape = {"class": f"chart-area chart-{series.kind}", "points": area}
        ElementTree.SubElement(image, "polygon", shape)
        shape = {"class": f"chart-line chart-{series.kind}", "points": along}
        ElementTree.SubElement(image, "polyline", shape)
        for (x, y), label, value in zip(points, chart.labels, series.values, strict=True):
            dot = {"class": f"chart-dot chart-{series.kind}", "cx": f"{x:.1f}", "cy": f"{y:.1f}"}
            circle = ElementTree.SubElement(image, "circle", {**dot, "r": "3"})
            _text(circle, "title", f"{label}: {value}")


def _text(
    parent: ElementTree.Element, tag: str, text: str, *, kind: str = "", **attributes: str
) -> None:
    if kind:
        attributes["class"] = kind
    ElementTree.SubElement(parent, tag, attributes).text = text
