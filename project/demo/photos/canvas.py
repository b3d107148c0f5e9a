"""A canvas that knows light: gradients, glows, ridges, haze. Pillow only.

Everything is measured in parts of the picture: x and y run from 0 to 1, from
the upper left. A picture is painted large and shrunk at the end, which smooths
its edges.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from random import Random

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter

SIZE = WIDTH, HEIGHT = 960, 640
LARGE = W, H = 1440, 960

Color = tuple[int, int, int]
Paint = str | Color
Curve = Callable[[float], float]


def rgb(color: Paint) -> Color:
    return ImageColor.getrgb(color)[:3] if isinstance(color, str) else color


def mix(a: Paint, b: Paint, share: float) -> Color:
    """Return `a` with `share` of `b` in it."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(rgb(a), rgb(b), strict=True))
    return red, green, blue


def gradient(colors: Sequence[Paint], height: int = H) -> Image.Image:
    """Return a picture, `height` pixels high, that goes through `colors` from top to bottom."""
    column = Image.new("RGB", (1, len(colors)))
    column.putdata([rgb(color) for color in colors])
    # From the middle of the first color to the middle of the last: no bars at the ends.
    middle = (0, 0.5, 1, len(colors) - 0.5)
    column = column.resize((1, height), Image.Resampling.BICUBIC, box=middle)
    return column.resize((W, height), Image.Resampling.NEAREST)


def rough(rng: Random, height: float, roughness: float = 0.55) -> Curve:
    """Return a mountain line around 0, `height` high, by midpoint displacement."""
    points = [rng.uniform(-1, 1), rng.uniform(-1, 1)]
    spread = 1.0
    while len(points) < 200:
        between = [(a + b) / 2 + rng.uniform(-spread, spread) for a, b in pairwise(points)]
        points = [p for pair in zip(points, between, strict=False) for p in pair] + points[-1:]
        spread *= roughness
    low, high = min(points), max(points)
    heights = [(p - low) / (high - low) - 0.5 for p in points]
    return lambda x: height * heights[min(int(x * len(heights)), len(heights) - 1)]


def smooth(rng: Random, height: float, waves: float = 1.5) -> Curve:
    """Return a rolling line around 0, `height` high: three sines, each finer and lower."""
    parts = [(waves * 2.1**n, rng.uniform(0, math.tau), 0.5 / 2.4**n) for n in range(3)]
    return lambda x: (
        height
        * sum(
            strength * math.sin(math.tau * frequency * x + phase)
            for frequency, phase, strength in parts
        )
    )


class Canvas:
    """One picture in the making."""

    def __init__(self, sky: Sequence[Paint]) -> None:
        self.image = gradient(sky)

    def glow(self, x: float, y: float, radius: float, color: Paint, strength: float = 1.0) -> None:
        """Shine `color` around a point."""
        size = round(2 * radius * H)
        light = Image.radial_gradient("L").point(
            lambda d: round(255 * strength * max(0.0, 1 - d / 180) ** 2)
        )
        mask = light.resize((size, size), Image.Resampling.BICUBIC)
        corner = round(x * W - size / 2), round(y * H - size / 2)
        self.image.paste(rgb(color), (*corner, corner[0] + size, corner[1] + size), mask)

    def disc(self, x: float, y: float, radius: float, color: Paint) -> None:
        r = radius * H
        box = (x * W - r, y * H - r, x * W + r, y * H + r)
        ImageDraw.Draw(self.image).ellipse(box, fill=color)

    def land(self, y: float, curve: Curve, *colors: Paint, fade: float = 0.35) -> None:
        """Fill what lies below `y - curve`; with two colors, the second reaches `fade` deeper."""
        steps = 240
        line = [(W * i / steps, H * (y - curve(i / steps))) for i in range(steps + 1)]
        outline = [*line, (W, H), (0, H)]
        if len(colors) == 1:
            ImageDraw.Draw(self.image).polygon(outline, fill=colors[0])
            return
        top = round(min(height for _, height in line))
        mask = Image.new("L", LARGE)
        ImageDraw.Draw(mask).polygon(outline, fill=255)
        shade = Image.new("RGB", LARGE, colors[-1])
        shade.paste(gradient(colors, round(fade * H)), (0, top))
        self.image.paste(shade, mask=mask)

    def haze(self, y: float, depth: float, color: Paint, strength: float) -> None:
        """Lay a band of mist whose thickest part is at `y`."""
        half = Image.linear_gradient("L")
        band = Image.new("L", (256, 512))
        band.paste(half, (0, 0))
        band.paste(half.transpose(Image.Transpose.FLIP_TOP_BOTTOM), (0, 256))
        mask = band.point(lambda v: round(v * strength)).resize((W, round(depth * H)))
        top = round((y - depth / 2) * H)
        self.image.paste(rgb(color), (0, top), mask)

    def stars(self, rng: Random, count: int, until: float, color: Paint = "#ffffff") -> None:
        """Scatter stars down to `until`, fewer and dimmer towards it."""
        draw = ImageDraw.Draw(self.image, "RGBA")
        for _ in range(count):
            x, y = rng.random() * W, rng.random() ** 1.4 * until * H
            size = rng.choice((0.7, 0.8, 1.0, 1.0, 1.4, 2.0))
            alpha = round(rng.uniform(70, 255) * (1 - y / (until * H)) ** 0.5)
            draw.ellipse((x - size, y - size, x + size, y + size), fill=(*rgb(color), alpha))

    def light(self, layer: Image.Image, blur: float) -> None:
        """Add a blurred layer of light."""
        small = layer.resize((W // 3, H // 3)).filter(ImageFilter.GaussianBlur(blur / 3))
        self.image = ImageChops.screen(self.image, small.resize(LARGE))

    def mirror(self, y: float, tint: Paint, strength: float = 0.35) -> None:
        """Turn everything below `y` into still water."""
        line = round(y * H)
        above = self.image.crop((0, max(0, 2 * line - H), W, line))
        water = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).filter(ImageFilter.BoxBlur((5, 2)))
        water = Image.blend(water, Image.new("RGB", water.size, rgb(tint)), strength)
        self.image.paste(water, (0, line))

    def jpeg(self) -> bytes:
        """Return the finished picture, with a little grain, as film has."""
        picture = self.image.resize(SIZE, Image.Resampling.BICUBIC, reducing_gap=2)
        grain = Image.merge("RGB", [GRAIN] * 3)
        picture = ImageChops.add(picture, grain, offset=-128)
        file = BytesIO()
        picture.save(file, "JPEG", quality=86, optimize=False)
        return file.getvalue()


GRAIN = Image.frombytes("L", SIZE, Random(0).randbytes(WIDTH * HEIGHT)).point(  # noqa: S311
    lambda v: 128 + (v - 128) // 18
)
