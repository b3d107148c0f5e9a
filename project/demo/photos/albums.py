"""Albums: whose photos there are. Eight to begin with, painted for each person."""

from __future__ import annotations

import hashlib
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePath
from typing import Any

from PIL import Image, ImageOps

from .problems import Problem
from .scenes import paint_album

PHOTOS_AT_FIRST = 8
PHOTOS_AT_MOST = 40
#: Not whatever Pillow reads: some formats run other programs.
FORMATS = ("JPEG", "PNG", "WEBP")
PIXELS_AT_MOST = 50_000_000
#: Uploads are kept as large as a screen needs.
LONGEST_SIDE = 2048


@dataclass(frozen=True)
class Photo:
    id: str
    title: str
    width: int
    height: int
    jpeg: bytes = field(repr=False)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.jpeg).hexdigest()[:24]}"'

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "width": self.width,
            "height": self.height,
            "url": f"photos/{self.id}/image",
        }


class Albums:
    """Every person's photos, by `sub`. All methods block: painting takes half a second."""

    def __init__(self) -> None:
        self._albums: dict[str, dict[str, Photo]] = {}
        self._painting = threading.Lock()

    def paint(self, subjects: list[str]) -> None:
        """Paint the albums of people who are expected, on all processors."""
        with ThreadPoolExecutor() as painters:
            self._albums |= dict(zip(subjects, painters.map(first_album, subjects), strict=True))

    def of(self, subject: str) -> dict[str, Photo]:
        """Return a person's photos by id, in order; a newcomer's are painted now."""
        with self._painting:
            if subject not in self._albums:
                self._albums[subject] = first_album(subject)
            return self._albums[subject]

    def photo(self, subject: str, photo_id: str) -> Photo:
        """Return a person's photo. Somebody else's does not exist."""
        try:
            return self.of(subject)[photo_id]
        except KeyError:
            raise Problem(404, "There is no such photo.") from None

    def add(self, subject: str, data: bytes, filename: str) -> Photo:
        """Keep an upload, re-encoded: smaller, upright, and without its metadata."""
        album = self.of(subject)
        if len(album) >= PHOTOS_AT_MOST:
            raise Problem(409, "The album is full.")
        image = opened(data)
        title = PurePath(filename).stem[:80] or "Untitled"
        photo = photo_of(secrets.token_hex(6), title, image)
        album[photo.id] = photo
        return photo

    def remove(self, subject: str, photo_id: str) -> None:
        self.photo(subject, photo_id)
        self.of(subject).pop(photo_id, None)


def first_album(subject: str) -> dict[str, Photo]:
    photos = {}
    for n, (title, size, jpeg) in enumerate(paint_album(subject, PHOTOS_AT_FIRST)):
        photo_id = hashlib.sha256(f"{subject}/{n}".encode()).hexdigest()[:12]
        photos[photo_id] = Photo(photo_id, title, *size, jpeg)
    return photos


def opened(data: bytes) -> Image.Image:
    """Return an upload as an image, or refuse it as a `Problem`."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as probe:
            if probe.width * probe.height > PIXELS_AT_MOST:
                raise Problem(413, "The image has too many pixels.")
            probe.verify()
        image = Image.open(BytesIO(data), formats=FORMATS)  # verify() leaves an image unusable
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise Problem(415, "This is not an image that we can read.") from exc
    return image


def photo_of(photo_id: str, title: str, image: Image.Image) -> Photo:
    image = ImageOps.exif_transpose(image).convert("RGB")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = BytesIO()
    image.save(file, "JPEG", quality=88)
    return Photo(photo_id, title, image.width, image.height, file.getvalue())
