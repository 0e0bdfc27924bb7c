"""The samples that a script logged, for a report: images of the run folder, tables and texts.

Flow: `Sample` "logged" of a run's events -> `parse_samples` (bounded, no files) -> `with_images` reads the image files.
The events and the files are untrusted: an image is used only if it is a small PNG, JPEG, WebP or GIF in the run folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.spec.errors import UserError
from core.spec.reading import KILOBYTE, MEGABYTE, excerpt, read_bytes
from core.spec.run.events import Sample

MAX_IMAGES = 8  # per run
MAX_IMAGE_BYTES = 300 * KILOBYTE
MAX_TOTAL_BYTES = 8 * MEGABYTE  # of all images of a report
MAX_LOGGED = 20  # names per run: the last ones that were logged
MAX_ROWS, MAX_COLUMNS, MAX_TEXT_LENGTH = 20, 12, 2000
_TOO_LARGE = (
    f"larger than {MAX_IMAGE_BYTES // KILOBYTE} kB, beyond the {MAX_TOTAL_BYTES // MEGABYTE} MB of a report, or not a "
    "file of the run folder"
)
_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True)
class LoggedImage:
    """An image. ``file``: relative to the run folder. ``data``: the file's bytes; if b"", ``problem`` says why."""

    file: str
    caption: str
    data: bytes = b""
    problem: str = ""

    @property
    def media_type(self) -> str:
        return _media_type(self.data)

    @property
    def text(self) -> str:
        """The caption, or the file name; an image without data is named with the problem."""
        if self.data:
            return self.caption or self.file
        shown = f"{self.file}: {self.caption}" if self.caption else self.file
        return f"{shown} ({self.problem})" if self.problem else shown


@dataclass(frozen=True)
class LoggedSample:
    """The last sample of a name: images, a table whose first row is the header, or a text."""

    name: str
    step: int
    images: Sequence[LoggedImage] = ()
    table: Sequence[Sequence[str]] = ()
    text: str = ""


def is_outside_folder(name: str) -> bool:
    """Whether a file name leads out of its folder; does not access the file, which may be on a network."""
    path = Path(name)
    return path.is_absolute() or bool(path.drive) or ".." in path.parts


def parse_samples(event: Sample) -> list[LoggedSample]:
    """The samples in an event "logged". Skips content that `core.tracking.media` does not write."""
    samples = [_parse_sample(excerpt(name), event.step, value) for name, value in event.content.items()]
    return [sample for sample in samples if sample.images or sample.table or sample.text][-MAX_LOGGED:]


def with_images(samples: Iterable[LoggedSample], folder: Path, budget: int) -> tuple[list[LoggedSample], int]:
    """``samples`` with the last `MAX_IMAGES` images of ``folder``, at most ``budget`` bytes; also the unused budget."""
    result, left = list[LoggedSample](), MAX_IMAGES
    for sample in sorted(samples, key=lambda sample: sample.step, reverse=True):
        images = []
        for image in sample.images[:left]:
            images.append(_read(image, folder, budget))
            budget -= len(images[-1].data)
        left -= len(images)
        if images or not sample.images:
            result.append(replace(sample, images=images))
    return result, budget


def _parse_sample(name: str, step: int, value: object) -> LoggedSample:
    value = value if isinstance(value, dict) else {}
    kind = value.get("type")
    if kind == "table":
        return LoggedSample(name, step, table=_table(_list(value.get("columns")), _list(value.get("rows"))))
    if kind == "text":
        return LoggedSample(name, step, text=_lines(value.get("text")))
    images = [image for image in _list(value.get("images"))[:MAX_IMAGES] if isinstance(image, dict)]
    return LoggedSample(
        name,
        step,
        images=[
            LoggedImage(excerpt(image["image"]), excerpt(_text(image.get("caption"))))
            for image in images
            if isinstance(image.get("image"), str)
        ],
    )


def _table(columns: list[Any], rows: list[Any]) -> list[list[str]]:
    """The header and the first rows, each with as many cells as the header; [] without columns."""
    header = [excerpt(_text(column)) for column in columns[:MAX_COLUMNS]]
    cells = [[excerpt(_text(cell)) for cell in _list(row)[: len(header)]] for row in rows[:MAX_ROWS]]
    return [header, *([*row, *[""] * (len(header) - len(row))] for row in cells)] if header else []


def _read(image: LoggedImage, folder: Path, budget: int) -> LoggedImage:
    """``image`` with its bytes, or with the reason why it is left out."""
    if is_outside_folder(image.file):
        return replace(image, problem="outside the run folder")
    try:
        data = read_bytes(folder / image.file, min(MAX_IMAGE_BYTES, budget), root=folder, error=UserError)
    except FileNotFoundError:
        return replace(image, problem="missing")
    except UserError:
        return replace(image, problem=_TOO_LARGE)
    return replace(image, data=data) if _media_type(data) else replace(image, problem="not a PNG, JPEG, WebP or GIF")


def _media_type(data: bytes) -> str:
    """The type of an image by its signature; "" for other files."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), "")


def _text(value: object, longest: int = 1000) -> str:
    return "" if value is None else str(value)[:longest]


def _lines(value: object) -> str:
    """Text of several lines, with "\ufffd" for control characters."""
    text = _text(value, MAX_TEXT_LENGTH)
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
