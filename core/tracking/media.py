"""Samples logged by a script: images, tables and texts.

Flow: ``run.log({"sample": core.Image(...)})`` -> ``sample_content`` -> the ``content`` of a `Sample` event "logged":
name -> ``{"type": "images", "images": [{"image": "samples/...", "caption": ""}]}``, ``{"type": "table", "columns":
[...], "rows": [[...]]}`` or ``{"type": "text", "text": ""}``. Image paths are relative to the run folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.spec.errors import UserError

MAX_ROWS = 1000  # rows per table
MAX_COLUMNS = 100
MAX_IMAGES = 100  # images per name and step
MAX_TEXT_LENGTH = 20_000
_IMAGE_FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")


@dataclass(frozen=True)
class Image:
    """An image: a file, a PIL image, or an array or tensor (H, W), (H, W, 3 or 4) or (3, H, W).

    Integers range from 0 to 255, floats and booleans from 0 to 1.
    """

    data: Any
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table with named columns; cells are numbers or text."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


@dataclass(frozen=True)
class Text:
    """A text, such as a generated caption."""

    text: str


def is_sample(value: object) -> bool:
    """Whether a logged value is a sample: an image, a list of images, a table or a text."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(item, Image) for item in value)
    return isinstance(value, (Image, Table, Text, str))


def sample_content(name: str, value: Any, folder: Path, step: int) -> dict[str, Any]:
    """The JSON content of the sample ``name``; images are written to ``folder``/samples.

    Raises UserError for an image that cannot be read or written, and for a table row with a wrong number of cells.
    """
    if isinstance(value, Table):
        return _table(name, value)
    if isinstance(value, (Text, str)):
        text = value if isinstance(value, str) else str(value.text)
        return {"type": "text", "text": excerpt_text(text)}
    images = [value] if isinstance(value, Image) else list(value)[:MAX_IMAGES]
    return {
        "type": "images",
        "images": [_save_image(name, image, folder, step, index) for index, image in enumerate(images)],
    }


def excerpt_text(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"


def _table(name: str, table: Table) -> dict[str, Any]:
    columns = [str(column) for column in table.columns][:MAX_COLUMNS]
    rows: list[list[Any]] = []
    for row in table.rows:
        if len(row) != len(table.columns):
            raise UserError(
                f"the table {name} has {len(table.columns)} columns and a row of {len(row)} cells; give each "
                "row a cell per column."
            )
        if len(rows) < MAX_ROWS:
            rows.append([_cell(cell) for cell in row[:MAX_COLUMNS]])
    return {"type": "table", "columns": columns, "rows": rows}


def _cell(cell: Any) -> Any:
    if getattr(cell, "ndim", None) == 0:  # a scalar of numpy or torch
        cell = cell.item()
    if cell is None or isinstance(cell, (bool, float)) or (isinstance(cell, int) and abs(cell) < 1 << 63):
        return cell
    return excerpt_text(str(cell))[:1000]


def _save_image(name: str, image: Image, folder: Path, step: int, index: int) -> dict[str, Any]:
    stem = f"{step}-{re.sub(r'[^A-Za-z0-9]+', '-', name)[:60].strip('-') or 'image'}-{index}"
    try:
        (folder / "samples").mkdir(exist_ok=True)
        file = _write_image(image.data, folder / "samples", stem)
    except OSError as error:
        raise UserError(f"the image {name} cannot be written: {error.strerror or error}.") from error
    return {"image": f"samples/{file}", "caption": excerpt_text(str(image.caption))}


def _write_image(data: Any, folder: Path, stem: str) -> str:
    """Write an image under an unused name that starts with ``stem``, and return the file name."""
    if isinstance(data, (str, os.PathLike)):
        source = Path(data)
        if source.suffix.lower() not in _IMAGE_FILES or not source.is_file():
            raise UserError(f"{source} is not an image file ({', '.join(_IMAGE_FILES)}).")
        path = _free_path(folder, stem, source.suffix.lower())
        shutil.copyfile(source, path)
    else:
        path = _free_path(folder, stem, ".png")
        _to_pil(data).save(path)
    return path.name


def _free_path(folder: Path, stem: str, ending: str) -> Path:
    """An unused path, since the same name may be logged twice at one step."""
    path, number = folder / f"{stem}{ending}", 2
    while os.path.lexists(path):  # a link is never followed
        path, number = folder / f"{stem}-{number}{ending}", number + 1
    return path


def _to_pil(data: Any) -> Any:
    """Convert a PIL image, an array or a tensor to a PIL image of mode L, RGB or RGBA."""
    try:
        from PIL import Image as Pillow  # noqa: PLC0415  (needed only to log images)
    except ImportError as error:
        raise UserError("logging images needs Pillow, which is not installed; run pip install pillow.") from error
    if isinstance(data, Pillow.Image):
        return data if data.mode in ("L", "RGB", "RGBA") else data.convert("RGB")
    import numpy as np  # noqa: PLC0415

    for method in ("detach", "cpu"):  # a tensor on any device
        data = getattr(data, method)() if hasattr(data, method) else data
    if str(getattr(data, "dtype", "")) == "torch.bfloat16":  # unknown to numpy
        data = data.float()
    try:
        pixels = np.asarray(data)
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3, 4):
            pixels = pixels.transpose(1, 2, 0)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.dtype.kind in "fb":
            pixels = np.nan_to_num(pixels.clip(0, 1)) * 255 + 0.5
        if pixels.dtype.kind not in "uifb" or pixels.ndim not in (2, 3) or not pixels.size:
            raise ValueError
        return Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8))
    except (ValueError, TypeError) as error:
        shape = f"an array {getattr(data, 'shape', '')}" if hasattr(data, "shape") else type(data).__name__
        raise UserError(
            f"{shape} is not an image; pass a file, a PIL image, or an array (H, W), (H, W, 3) or (3, H, W)."
        ) from error
