"""Exports captions as text files, CSV, JSON Lines, COCO JSON or a training data source. Runs in a thread; no Qt.

Flow: entries -> ``CaptionedImage`` -> files; existing files are not overwritten unless ``force``. Every format
includes the provenance: in the file itself, or for text files and data sources in a JSON file next to them.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.spec.caption_files import (
    HEADER,
    CaptionedImage,
    CaptionFileError,
    CaptionFileExistsError,
    Sidecars,
    coco_json,
    json_line,
    sidecar_of,
    table_rows,
    write_new,
)
from core.spec.cells import escape_row
from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_json
from sdgui.shared.export.formats import ExportFormat, ExportResult, Progress

SIDECAR_PROVENANCE = "captions.provenance.json"
TABLE, PROVENANCE, IMAGES = "train.csv", "provenance.json", "images"
_WRITER = "sdgui captions"
_MAX_PROVENANCE_BYTES = 256 * MEGABYTE  # 1 kB for each of 250,000 images

# images, path, progress, force
WriteCaptions = Callable[[Sequence[CaptionedImage], Path, Progress, bool], ExportResult]


def _with_progress(images: Sequence[CaptionedImage], progress: Progress) -> Iterator[CaptionedImage]:
    for number, image in enumerate(images):
        progress(number, len(images))
        yield image


def count_sidecars(images: Sequence[CaptionedImage], progress: Progress) -> int:
    """Count the images that already have a ``.txt`` file."""
    return sum(sidecar_of(image.path).exists() for image in _with_progress(images, progress))


def export_sidecars(images: Sequence[CaptionedImage], progress: Progress, force: bool) -> ExportResult:
    """Write ``NAME.txt`` next to each image; existing files are overwritten only with ``force``."""
    sidecars, exported, skipped = Sidecars(force), list[CaptionedImage](), list[tuple[str, str]]()
    for image in _with_progress(images, progress):
        try:
            sidecars.write(image)
            exported.append(image)
        except CaptionFileError as error:
            skipped.append((image.path, _reason(error)))
    folders: dict[Path, list[CaptionedImage]] = {}
    for image in exported:
        folders.setdefault(Path(image.path).parent, []).append(image)
    for folder, in_folder in folders.items():
        try:
            _write_provenance(folder, in_folder)
        except (CaptionFileError, OSError) as error:
            skipped.append((str(folder / SIDECAR_PROVENANCE), _reason(error)))
    common_folder = Path(os.path.commonpath([str(folder) for folder in folders])) if folders else Path()
    return ExportResult(common_folder, len(exported), skipped)


def _write_provenance(folder: Path, images: Sequence[CaptionedImage]) -> None:
    """Add the images to the folder's provenance file, or to a numbered one if another program has written this file."""
    path, captions = folder / SIDECAR_PROVENANCE, dict[str, Any]()
    number = 2
    while path.exists():
        raw = _read(path)
        if raw.get("written_by") == _WRITER and isinstance(raw.get("captions"), dict):
            captions = dict(raw["captions"])
            break
        path = folder / f"captions-{number}.provenance.json"
        number += 1
    captions.update((Path(image.path).name, dict(image.provenance)) for image in images)
    text = json.dumps({"written_by": _WRITER, "captions": captions})
    write_new(path, text + "\n", force=path.exists())


def _read(path: Path) -> dict[str, Any]:
    """The content of a provenance file; {} if ``path`` is not a provenance file."""
    try:
        raw = read_json(path, _MAX_PROVENANCE_BYTES)
    except (OSError, UserError):
        return {}
    return raw if isinstance(raw, dict) else {}


def export_table(images: Sequence[CaptionedImage], path: Path, progress: Progress, force: bool = False) -> ExportResult:
    """Write a CSV table with one row per caption, including its provenance; written completely or not at all."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(HEADER)
    for image in _with_progress(images, progress):
        table.writerows(table_rows(image, path.absolute().parent))
    _write(path, text.getvalue(), force)
    return ExportResult(path, len(images))


def export_json_lines(
    images: Sequence[CaptionedImage], path: Path, progress: Progress, force: bool = False
) -> ExportResult:
    """Write one line of JSON per image."""
    _write(path, "".join(f"{json_line(image)}\n" for image in _with_progress(images, progress)), force)
    return ExportResult(path, len(images))


def export_coco(images: Sequence[CaptionedImage], path: Path, progress: Progress, force: bool = False) -> ExportResult:
    """Write the COCO captions format."""
    progress(0, len(images))
    _write(path, coco_json(images, path.parent) + "\n", force)
    return ExportResult(path, len(images))


def save_source(
    images: Sequence[CaptionedImage], folder: Path, progress: Progress, _force: bool = False
) -> ExportResult:
    """Write a data source for ``data.train``: ``train.csv``, links to the images, ``provenance.json``.

    The table's paths are inside the folder, as data sources require. A cancelled or failed export leaves no folder.
    Raises CaptionFileError if the folder is not empty or cannot be written.
    """
    try:
        image_folder = folder / IMAGES
        if folder.exists() and any(folder.iterdir()):
            raise CaptionFileError(f"{folder} is not empty and was not changed. Choose a new folder.")
        image_folder.mkdir(parents=True)
    except OSError as error:
        raise CaptionFileError(
            f"{folder} cannot be created: {error.strerror or error}; choose another folder."
        ) from error
    try:
        return _fill(folder, images, progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill(folder: Path, images: Sequence[CaptionedImage], progress: Progress) -> ExportResult:
    """Write the source's files into an existing folder. Raises CaptionFileError if no image exists."""
    rows, sources, skipped = [], list[dict[str, Any]](), list[tuple[str, str]]()
    origins = list[Mapping[str, Any]]()
    for number, image in enumerate(images):
        progress(number, len(images))
        source = Path(image.path)
        name = f"{IMAGES}/{number:06}-{_safe(source.name)}"
        try:
            if not source.is_file():
                raise FileNotFoundError(errno.ENOENT, "the file no longer exists")
            _link(source, folder / name)
        except OSError as error:
            skipped.append((image.path, error.strerror or str(error)))
            continue
        rows.append((name, " ".join(image.captions[0].text.split())))
        if image.provenance not in origins:
            origins.append(image.provenance)
        sources.append({"filepath": name, "from": image.path, "provenance": origins.index(image.provenance)})
    if not rows:
        raise CaptionFileError("None of the image files exist any more; nothing was saved.")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("filepath", "title"), *map(escape_row, rows)])
    about = {"written_by": _WRITER, "provenance": [dict(origin) for origin in origins], "rows": sources}
    write_new(folder / PROVENANCE, json.dumps(about) + "\n")
    write_new(folder / TABLE, text.getvalue())
    return ExportResult(folder / TABLE, len(rows), skipped)


def _link(source: Path, target: Path) -> None:
    """Link a file; copy it if the system does not allow links (Windows without the permission to create them)."""
    try:
        target.symlink_to(source.resolve())
    except (OSError, NotImplementedError):
        shutil.copyfile(source, target)


def _safe(name: str) -> str:
    """``name`` as a file name that is valid in tables and on all systems; keeps the extension."""
    stem, dot, ending = name.rpartition(".")
    valid = "".join(char if char.isalnum() or char in "-_." else "_" for char in (stem if dot else name))
    ending = "".join(char for char in ending if char.isalnum())
    plain = valid.encode("ascii", "ignore").decode().strip("._")[:60] or "image"
    return f"{plain}.{ending.lower()}" if dot and ending else plain


def _reason(error: Exception) -> str:
    """Why a file was skipped; without a remedy for existing files, which are kept on purpose."""
    return f"{error.path} already exists." if isinstance(error, CaptionFileExistsError) else str(error)


def _write(path: Path, text: str, force: bool) -> None:
    """Write a file with `write_new`; the error for an existing file suggests another name."""
    try:
        write_new(path, text, force)
    except CaptionFileExistsError as error:
        raise CaptionFileError(f"{path} already exists; choose another name.") from error


TRAINING_DATA: ExportFormat[WriteCaptions] = ExportFormat(
    "data",
    "As training data in a &folder…",
    "Save captions and images as training data in a folder of your choice",
    save_source,
    stem="captions",
    target="folder",
)
CAPTION_FORMATS: tuple[ExportFormat[WriteCaptions], ...] = (
    ExportFormat(
        "text",
        "Export &text files",
        "A .txt file next to each image, plus a provenance file",
        lambda images, _path, progress, force: export_sidecars(images, progress, force),
        "Text files",
        ".txt",
        target="beside",
    ),
    ExportFormat(
        "csv",
        "Export a &CSV table…",
        "One row per caption, with model, step, settings and seed",
        export_table,
        "Tables",
        ".csv",
        "captions",
    ),
    ExportFormat(
        "jsonl",
        "Export &JSON lines…",
        "One line of JSON per image, with model, step, settings and seed",
        export_json_lines,
        "JSON lines",
        ".jsonl",
        "captions",
    ),
    ExportFormat(
        "coco",
        "Export C&OCO captions…",
        "One file in the COCO captions format, with model, step, settings and seed",
        export_coco,
        "COCO captions",
        ".json",
        "captions",
    ),
    TRAINING_DATA,
)
