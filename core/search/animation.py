"""Draws an animated image of a query's results at each step of a run, with the networks next to each other.

Flow: `core.worker.travelling` collects a `Frame` per step -> ``save`` -> an animated WebP.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from core.data.errors import ImageError
from core.data.images import decode
from core.spec.errors import writing
from core.spec.files import write_whole

COLUMNS, ROWS = 4, 3  # grid of images for each network
SIDE, GAP, HEAD = 112, 8, 56  # pixels: side of an image, gap between images, half the height of the header
FRAME_MILLISECONDS = 900
_MEGAPIXELS = 200
_MAX_CELL_LENGTH = 90  # characters in the title and in a cell
_BACK, _TEXT, _MUTED, _ACCENT = "#16181d", "#f2f3f5", "#9aa0a8", "#4ea1ff"


@dataclass(frozen=True)
class Hit:
    """A result: an image, or a caption with its image. ``below``: under the cut-off, so that it is drawn faintly."""

    path: str
    text: str = ""
    below: bool = False


@dataclass(frozen=True)
class Frame:
    """The results of each network after ``step``, best first."""

    step: int
    networks: tuple[tuple[str, tuple[Hit, ...]], ...]  # name, results


def save(frames: Sequence[Frame], to: Path, title: str) -> None:
    """Write ``frames`` to the looping WebP ``to``. Raises UserError if the file cannot be written."""
    total = frames[-1].step
    images = [_draw(frame, total, title) for frame in frames]
    content = io.BytesIO()
    images[0].save(
        content,
        "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=FRAME_MILLISECONDS,
        loop=0,
        quality=80,
        method=2,
    )
    with writing(to):
        write_whole(to, content.getvalue())


def _draw(frame: Frame, total: int, title: str) -> Image.Image:
    wide = COLUMNS * (SIDE + GAP) + GAP
    size = (wide * len(frame.networks), 2 * HEAD + ROWS * (SIDE + GAP) + GAP)
    sheet = Image.new("RGB", size, _BACK)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _shorten(title), fill=_TEXT, font=_font(18))
    draw.text((GAP, GAP + 24), f"step {frame.step:,} of {total:,}", fill=_MUTED, font=_font(15))
    draw.rectangle((0, HEAD - 4, size[0] * frame.step // max(1, total), HEAD - 2), fill=_ACCENT)
    for column, (name, hits) in enumerate(frame.networks):
        left = column * wide
        draw.text((left + GAP, HEAD + GAP), name, fill=_TEXT, font=_font(16))
        for place, hit in enumerate(hits[: COLUMNS * ROWS]):
            x = left + GAP + place % COLUMNS * (SIDE + GAP)
            y = HEAD + 4 * GAP + place // COLUMNS * (SIDE + GAP)
            cell = _thumbnail(hit.path)
            sheet.paste(Image.blend(cell, Image.new("RGB", cell.size, _BACK), 0.6) if hit.below else cell, (x, y))
            if hit.text:
                draw.rectangle((x, y + SIDE - 20, x + SIDE - 1, y + SIDE - 1), fill=_BACK)
                draw.text((x + 2, y + SIDE - 18), _shorten(hit.text, 18), fill=_TEXT, font=_font(12))
    return sheet


@lru_cache(maxsize=512)
def _thumbnail(path: str) -> Image.Image:
    """The image in a square of `SIDE`; an empty square if it cannot be read."""
    cell = Image.new("RGB", (SIDE, SIDE), "#2a2d34")
    try:
        image = Image.fromarray(decode(path, SIDE, _MEGAPIXELS, fast=True))
    except ImageError:
        return cell
    image.thumbnail((SIDE, SIDE))
    cell.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
    return cell


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _shorten(text: str, longest: int = _MAX_CELL_LENGTH) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
