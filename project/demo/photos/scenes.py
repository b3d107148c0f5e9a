"""The pictures in the demo's albums: nine landscapes, each different with each seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

from .canvas import LARGE, SIZE, Canvas, H, Paint, W, mix, rgb, rough, smooth


@dataclass(frozen=True)
class Scene:
    titles: tuple[str, ...]
    paint: Callable[[Random], Canvas]


def ridges(rng: Random) -> Canvas:
    sky, far, near, sun = rng.choice(
        (
            (("#2f3265", "#8a5487", "#e8837a", "#ffd29a"), "#c9727f", "#241738", "#fff2d2"),
            (("#1f4e79", "#6da0b8", "#f2cfa5", "#ffe9c4"), "#8fa9ae", "#132a38", "#fff7e0"),
            (("#3b1d4f", "#a23b6a", "#f0705a", "#ffbd6b"), "#b94a63", "#1d0f2b", "#ffe6a8"),
        )
    )
    canvas = Canvas(sky)
    x = rng.uniform(0.25, 0.75)
    canvas.glow(x, 0.5, 0.75, sun, 0.8)
    canvas.disc(x, 0.5, 0.055, sun)
    layers = 6
    for n in range(layers):
        y = 0.56 + 0.085 * n
        color = mix(far, near, n / (layers - 1))
        canvas.land(y, rough(rng, 0.24 - 0.02 * n, 0.5), color, mix(color, sky[-1], 0.28))
    return canvas


def dunes(rng: Random) -> Canvas:
    sky, light, dark = rng.choice(
        (
            (("#4a7ba6", "#a9c4cf", "#f4dcb4", "#f9d29a"), "#f0b873", "#8b4a2b"),
            (("#35285c", "#a05a86", "#f39a7c", "#ffcf8f"), "#ea8d62", "#4c2140"),
            (("#173b57", "#4f8799", "#d9c8a0", "#f5d7a1"), "#dca366", "#573220"),
        )
    )
    canvas = Canvas((*sky, sky[-1]))
    x = rng.uniform(0.2, 0.8)
    canvas.glow(x, 0.34, 0.6, "#fff3d0", 0.85)
    canvas.disc(x, 0.34, 0.042, "#fff8e4")
    for n in range(5):
        y, share = 0.55 + 0.095 * n, n / 4
        crest = mix(mix(light, sky[-1], 0.5), light, share)
        canvas.land(
            y,
            smooth(rng, 0.13 + 0.02 * n, 0.7 + 0.12 * n),
            crest,
            mix(crest, dark, 0.35 + 0.5 * share),
            fade=0.22 + 0.05 * n,
        )
    return canvas


def sea(rng: Random) -> Canvas:
    sky, water, sun = rng.choice(
        (
            (("#27406e", "#7f6c9c", "#ee9a80", "#ffd59b"), ("#c98a83", "#1b2d50"), "#fff0c9"),
            (("#1b2145", "#5c3a78", "#d2567b", "#ffa66e"), ("#b4567a", "#171a3b"), "#ffe3b0"),
            (("#2b7a9b", "#86c5cf", "#e9ecce", "#fff0c2"), ("#9fd0cb", "#134e66"), "#fffbe8"),
        )
    )
    canvas = Canvas((*sky, sky[-1]))
    horizon, x = 0.58, rng.uniform(0.3, 0.7)
    canvas.glow(x, horizon - 0.06, 0.65, sun, 0.95)
    canvas.disc(x, horizon - 0.06, 0.075, sun)
    shore = mix(sky[1], water[1], 0.45)
    canvas.land(horizon + 0.045, rough(rng, 0.13, 0.5), shore, mix(shore, sky[-1], 0.5), fade=0.1)
    canvas.land(horizon, lambda _: 0, *water, fade=1 - horizon)
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    for n in range(150):
        depth = n / 150
        y = H * (horizon + (1 - horizon) * depth**1.25) + 2
        reach = W * (0.03 + 0.13 * depth) * rng.uniform(0.3, 1)
        middle = W * x + rng.gauss(0, W * 0.012 * (1 + 2 * depth))
        alpha = round(190 * (1 - depth) ** 0.7)
        box = (middle - reach, y, middle + reach, y + 1 + 4 * depth)
        draw.rounded_rectangle(box, 2, fill=(*rgb(sun), alpha))
    for _ in range(130):
        depth = rng.random()
        y, length = H * (horizon + 0.01 + (1 - horizon) * depth), W * (0.01 + 0.05 * depth)
        left = rng.uniform(-0.05, 1) * W
        draw.line((left, y, left + length, y), fill=(*rgb(sky[-1]), 45), width=1 + round(2 * depth))
    return canvas


def night(rng: Random) -> Canvas:
    sky, band = rng.choice(
        (
            (("#060a1f", "#101c40", "#27406b", "#54719a"), ("#5a6fb0", "#a77bb0")),
            (("#0a0618", "#1d1240", "#472764", "#8f4d78"), ("#7a58a8", "#d07a8a")),
            (("#03141c", "#0a2c3c", "#1a5362", "#5a9594"), ("#3f8a9a", "#88b0a0")),
        )
    )
    canvas = Canvas(sky)
    layer = Image.new("RGB", LARGE)
    draw = ImageDraw.Draw(layer)
    lean, start = rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.35)
    for _ in range(420):
        along = rng.random()
        across = rng.gauss(0, 0.038)
        x, y = W * (start + lean * along + across), H * (0.85 * along - 0.05 - across * 0.4)
        r = rng.uniform(8, 46)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=mix("#000000", rng.choice(band), 0.55))
    canvas.light(layer, 60)
    canvas.stars(rng, 1100, 0.85)
    canvas.glow(rng.uniform(0.2, 0.8), 0.86, 0.5, sky[-1], 0.5)
    canvas.land(0.84, rough(rng, 0.16, 0.5), mix(sky[1], "#000000", 0.35))
    forest(canvas, rng, 0.95, 0.15, mix(sky[0], "#000000", 0.5), 60)
    return canvas


def aurora(rng: Random) -> Canvas:
    colors = rng.choice(
        (
            ("#2dffa8", "#38b6d8", "#8a4fff"),
            ("#7dffb0", "#20d6a4", "#3a7bff"),
            ("#ff6fae", "#8f63ff", "#42f0b0"),
        )
    )
    canvas = Canvas(("#050b1c", "#0a1a33", "#123248", "#1e4a5a"))
    canvas.stars(rng, 600, 0.7)
    for color, base in zip(colors, (0.5, 0.42, 0.33), strict=True):
        layer = Image.new("RGB", LARGE)
        draw = ImageDraw.Draw(layer)
        path, tall, rays = smooth(rng, 0.2, 0.6), smooth(rng, 0.24, 1.9), smooth(rng, 0.8, 6)
        for i in range(0, W, 3):
            x = i / W
            bottom, height = base - path(x), 0.24 + tall(x)
            brightness = 0.62 + 0.42 * rays(x)
            for part in range(8):
                share = part / 8
                top = bottom - height * (share + 1 / 8)
                tone = mix("#000000", color, max(0.0, brightness * (1 - share) ** 1.3))
                draw.rectangle((i, H * top, i + 2, H * (bottom - height * share)), fill=tone)
        canvas.light(layer, 15)
    canvas.land(0.66, rough(rng, 0.22, 0.52), "#35587a", "#0c2236", fade=0.16)
    canvas.mirror(0.71, "#06182a", 0.45)
    canvas.land(0.97, smooth(rng, 0.05, 1), "#050d18")
    forest(canvas, rng, 0.99, 0.17, "#040b15", 34)
    return canvas


def mist(rng: Random) -> Canvas:
    sky, fog, near = rng.choice(
        (
            (("#a9c0c4", "#d5dcd4", "#f0e8d8"), "#e9e6da", "#12302e"),
            (("#7d90b2", "#c0b7c8", "#f3d3c4"), "#ead9d6", "#1d2440"),
            (("#88a58c", "#c6d0ac", "#f3edc6"), "#e8e8cc", "#1c3320"),
        )
    )
    canvas = Canvas(sky)
    canvas.glow(rng.uniform(0.3, 0.7), 0.2, 0.55, "#fffdf2", 0.9)
    layers = 6
    for n in range(layers):
        share = (n + 0.6) / layers
        y = 0.42 + 0.125 * n
        color = mix(fog, near, share**1.25)
        canvas.land(y, rise := smooth(rng, 0.09, 0.8), color)
        forest(canvas, rng, y, 0.09 + 0.055 * n, color, 80 - 9 * n, rise)
        canvas.haze(y + 0.1, 0.26, fog, 0.75 - 0.1 * n)
    return canvas


def city(rng: Random) -> Canvas:
    sky, tower, lamp = rng.choice(
        (
            (("#1a1f4d", "#5b3f82", "#d4697f", "#ffb27d"), "#171433", "#ffd98a"),
            (("#0d1b33", "#1f4568", "#5e8ba0", "#e8c79c"), "#0c1826", "#ffe2a0"),
            (("#2a1140", "#80306f", "#ee6a6a", "#ffc36e"), "#1c0d2c", "#ffe08f"),
        )
    )
    canvas = Canvas((*sky, sky[-1]))
    canvas.stars(rng, 120, 0.4)
    x = rng.uniform(0.25, 0.75)
    canvas.glow(x, 0.44, 0.55, "#fff0d0", 0.7)
    canvas.disc(x, 0.44, 0.1, "#fff1d4")
    draw = ImageDraw.Draw(canvas.image)
    for layer in range(4):
        share = layer / 3
        color = mix(mix(sky[2], sky[3], 0.35), tower, 0.25 + 0.75 * share)
        left = -rng.uniform(0, 40)
        while left < W:
            width = rng.uniform(44, 96) * (0.7 + 0.4 * share)
            height = H * (rng.uniform(0.2, 0.52) ** 1.1 - 0.07 * layer + 0.1)
            top = H * 0.9 - height
            draw.rectangle((left, top, left + width, H), fill=color)
            if rng.random() < 0.3:
                draw.rectangle((left + width * 0.2, top - 26, left + width * 0.8, top), fill=color)
            if rng.random() < 0.25:
                draw.line((left + width / 2, top - 80, left + width / 2, top), fill=color, width=3)
            if layer:
                windows(draw, rng, (left, top, left + width), mix(color, lamp, 0.3 + 0.7 * share))
            left += width + rng.uniform(-6, 14)
        canvas.haze(0.92, 0.5, sky[-1], 0.34 - 0.09 * layer)
    canvas.mirror(0.84, tower, 0.45)
    return canvas


def windows(
    draw: ImageDraw.ImageDraw, rng: Random, wall: tuple[float, float, float], lamp: Paint
) -> None:
    left, top, right = wall
    y = top + 14
    while y < 0.82 * H:
        x = left + 8
        while x < right - 12:
            if rng.random() < 0.3:
                draw.rectangle((x, y, x + 6, y + 9), fill=lamp)
            x += 14
        y += 20


def waves(rng: Random) -> Canvas:
    colors = rng.choice(
        (
            ("#fde8d0", "#f9b384", "#ea6d6a", "#a63f78", "#51296b", "#1d1742"),
            ("#eaf6ee", "#a8dcc8", "#4fb3a9", "#22798f", "#1b4772", "#131f47"),
            ("#fff1f5", "#f7bfd0", "#c88be0", "#7b64d4", "#3d47a8", "#171c5c"),
        )
    )
    canvas = Canvas((colors[0], mix(colors[0], colors[1], 0.6)))
    canvas.glow(rng.uniform(0.2, 0.8), 0.12, 0.6, "#ffffff", 0.7)
    bands = 11
    for n in range(bands):
        place = n / bands * (len(colors) - 1.001)
        color = mix(colors[int(place)], colors[int(place) + 1], place % 1)
        deeper = mix(color, colors[min(int(place) + 2, len(colors) - 1)], 0.55)
        canvas.land(
            0.2 + 0.078 * n, smooth(rng, 0.17, 0.75), mix(color, "#ffffff", 0.16), deeper, fade=0.24
        )
    return canvas


def lake(rng: Random) -> Canvas:
    sky, far, near, snow = rng.choice(
        (
            (("#3f7fb4", "#9cc7dc", "#e8eee4", "#fbe6c8"), "#7f9db4", "#1e3d3a", "#ffffff"),
            (("#41407c", "#a5709f", "#f4a58e", "#ffdca8"), "#8b638f", "#211d3d", "#ffd9cf"),
            (("#27566b", "#73a8a4", "#e6dfb6", "#fff0c4"), "#6d9390", "#17332b", "#fff8e2"),
        )
    )
    canvas = Canvas((*sky, sky[-1], sky[-1]))
    canvas.glow(rng.uniform(0.2, 0.8), 0.4, 0.5, "#fffbea", 0.7)
    canvas.land(0.36, rough(rng, 0.34, 0.52), mix(far, snow, 0.75), far, fade=0.36)
    canvas.land(0.5, rough(rng, 0.16, 0.5), mix(far, near, 0.5))
    canvas.haze(0.58, 0.2, sky[-1], 0.6)
    canvas.land(0.59, rise := smooth(rng, 0.05, 1.2), mix(far, near, 0.85))
    forest(canvas, rng, 0.59, 0.08, mix(far, near, 0.9), 130, rise)
    canvas.mirror(0.62, near, 0.25)
    draw = ImageDraw.Draw(canvas.image, "RGBA")
    for _ in range(70):
        depth = rng.random() ** 0.7
        y, left = H * (0.63 + 0.37 * depth), rng.uniform(-0.1, 1) * W
        draw.line((left, y, left + W * 0.14 * depth, y), fill=(255, 255, 255, 26), width=2)
    return canvas


def forest(
    canvas: Canvas,
    rng: Random,
    y: float,
    height: float,
    color: Paint,
    count: int,
    rise: Callable[[float], float] = lambda x: 0,
) -> None:
    """Plant `count` firs on the line `y - rise`."""
    draw = ImageDraw.Draw(canvas.image)
    for _ in range(count):
        x = rng.uniform(-0.02, 1.02)
        tall = height * rng.uniform(0.45, 1) * H
        foot = H * (y - rise(x)) + tall * 0.12
        for tier in range(5):
            top = foot - tall * (1 - 0.17 * tier)
            half = tall * (0.06 + 0.038 * tier)
            low = top + tall * 0.3
            draw.polygon([(x * W, top), (x * W + half, low), (x * W - half, low)], color)


SCENES = (
    Scene(("Dusk over the ridges", "Last light", "Seven valleys"), ridges),
    Scene(("Dunes in the morning", "Sand and wind", "Erg"), dunes),
    Scene(("Sun road", "The sea at six", "Going home"), sea),
    Scene(("Milky Way", "New moon", "Night camp"), night),
    Scene(("Northern lights", "Green silence", "Solar wind"), aurora),
    Scene(("Forest mist", "Firs at dawn", "Damp and quiet"), mist),
    Scene(("City at blue hour", "Windows", "Across the river"), city),
    Scene(("Waves, abstract", "Paper sea", "Study in layers"), waves),
    Scene(("Mirror lake", "No wind", "First snow"), lake),
)


def paint_album(subject: str, count: int) -> list[tuple[str, tuple[int, int], bytes]]:
    """Paint `count` pictures for a person: title, size and JPEG, the same ones every time."""
    rng = Random(subject)  # noqa: S311 - a painter's dice, not a secret
    return [
        (rng.choice(scene.titles), SIZE, scene.paint(rng).jpeg())
        for scene in rng.sample(SCENES, count)
    ]
