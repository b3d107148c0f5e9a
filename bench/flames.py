"""A flame graph of where a server's processor time goes, from py-spy's samples.

    py-spy record --gil --format raw --rate 500 --duration 15 --pid PID --output door.raw
    python -m bench.flames "The lane" lane.raw lane.svg "Lane.__call__|Together._answer"

The last word is a part of the name of the lowest box, or several with | between them: samples of
threads that wait are not in it.
One box is one function with all that it calls above it; its width is its share of the samples.
What is narrower than a three-hundredth is left out. The colours say whose code it is.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from bench.pictures import INK

WIDTH, ROW, MARGIN, HEAD = 1100, 17, 8, 46
SMALLEST = 1 / 300
OURS, DJANGO, OTHERS = "#2f6f9f", "#3f7d5a", "#8a8f98"
PACKAGES = {"oauthbff/": OURS, "django/": DJANGO, "rest_framework/": DJANGO}


@dataclass
class Box:
    name: str
    samples: int = 0
    above: dict[str, Box] = field(default_factory=dict)

    def add(self, stack: list[str], samples: int) -> None:
        self.samples += samples
        if stack:
            self.above.setdefault(stack[0], Box(stack[0])).add(stack[1:], samples)

    def depth(self, least: float) -> int:
        tall = [box.depth(least) for box in self.above.values() if box.samples >= least]
        return 1 + max(tall, default=0)


def read(text: str, through: str) -> Box:
    """The samples of threads that were within `through`, parts of frames' names."""
    root, words = Box("all"), through.split("|")
    for line in text.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        begins = next(
            (i for i, frame in enumerate(frames) if any(word in frame for word in words)), None
        )
        if begins is not None:
            root.add(frames[begins:], int(samples))
    return root


def draw(title: str, root: Box) -> str:
    least = root.samples * SMALLEST
    height = HEAD + ROW * (root.depth(least) - 1) + 2 * MARGIN
    parts: list[str] = []

    def put(box: Box, left: float, level: int) -> None:
        for each in sorted(box.above.values(), key=lambda one: one.name):
            if each.samples < least:
                continue
            width = WIDTH * each.samples / root.samples
            parts.append(_box(each, left, height - MARGIN - ROW * (level + 1), width, root.samples))
            put(each, left, level + 1)
            left += width

    put(root, MARGIN, 0)
    legend = "".join(
        f'<rect x="{x}" y="26" width="11" height="11" rx="2" fill="{colour}"/>'
        f'<text x="{x + 16}" y="36" fill="{INK}">{name}</text>'
        for x, colour, name in (
            (8, OURS, "oauthbff"),
            (98, DJANGO, "Django, DRF"),
            (208, OTHERS, "others"),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * MARGIN} {height}" '
        'font-family="system-ui, sans-serif" font-size="11">'
        f'<text x="8" y="16" fill="{INK}" font-size="13" font-weight="600">{escape(title)}</text>'
        f"{legend}{''.join(parts)}</svg>\n"
    )


def _box(box: Box, left: float, top: float, width: float, total: int) -> str:
    colour = next((c for place, c in PACKAGES.items() if f"({place}" in box.name), OTHERS)
    name = box.name.partition(" (")[0]
    room = int(width / 6.4) - 1
    label = name if len(name) <= room else name[: room - 1] + "…" if room > 3 else ""
    text = f'<text x="{left + 3:.1f}" y="{top + 12:.0f}" fill="#fff">{escape(label)}</text>'
    place = f'x="{left:.1f}" y="{top:.0f}" width="{max(width - 0.6, 0.4):.1f}" height="{ROW - 1}"'
    return (
        f"<g><title>{escape(box.name)}, {box.samples / total:.1%}</title>"
        f'<rect {place} fill="{colour}"/>{text if label else ""}</g>'
    )


def main(title: str, samples: str, picture: str, through: str) -> None:
    root = read(Path(samples).read_text(), through)
    if not root.samples:
        raise SystemExit(f"no sample of {samples} went through {through!r}")
    Path(picture).write_text(draw(title, root))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
