"""Exports images of a gallery: copies, or a table. Runs in a thread; no widgets.

Flow: gallery -> ``ExportTask`` (thread) -> these functions -> files. Nothing is overwritten: files in a folder get
numbered names, an existing file is refused. The columns of a table are named as in data sources, for training.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from core.spec.cells import escape_row
from core.spec.errors import UserError, not_written
from core.spec.reading import UnreadableError
from core.spec.shards import is_member, read_member, split_member
from sdgui.shared.export.formats import ExportFormat, ExportResult, Progress, free_path
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.gallery.items import GalleryItem

COLUMNS = ("filepath", "title", "rank", "score", "true", "note")

WriteImages = Callable[[Sequence[GalleryItem], Path, Progress], ExportResult]  # images, where, progress


class ExportError(UserError):
    """The export failed, completely or in part; the message has the file and the remedy."""


def export_copies(items: Sequence[GalleryItem], folder: Path, progress: Progress) -> ExportResult:
    """Copy the images to ``folder``, keeping their times. Raises ExportError if it cannot be written."""
    report = ExportResult(folder)
    name_counts: Counter[str] = Counter()  # many images may have the same name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(folder, error) from error
    for number, item in enumerate(items):
        progress(number, len(items))
        if not item.path.is_file() and not is_member(item.path):
            report.skipped.append((str(item.path), "the file is missing"))
            continue
        try:
            name_counts[item.path.name] += 1
            _copy(item.path, free_path(folder / item.path.name, name_counts[item.path.name]))
        except UnreadableError:  # an invalid position in a tar
            report.skipped.append((str(item.path), "it could not be read"))
            continue
        except PermissionError as error:
            if error.filename == str(item.path):
                report.skipped.append((str(item.path), "no permission to read it"))
                continue
            raise _refusal(folder, error, report.written) from error
        except OSError as error:
            raise _refusal(folder, error, report.written) from error
        report.written += 1
    progress(len(items), len(items))
    return report


def _copy(source: Path, target: Path) -> None:
    member = split_member(source)
    content = io.BytesIO(read_member(member)) if member is not None else None
    with content or source.open("rb") as reading, target.open("xb") as writing:
        try:
            shutil.copyfileobj(reading, writing, 1 << 20)
        except BaseException:
            target.unlink(missing_ok=True)  # no partial image
            raise
    if member is None:
        shutil.copystat(source, target)


def export_table(items: Sequence[GalleryItem], file: Path, progress: Progress) -> ExportResult:
    """Write a CSV with filepath, title, rank, score, true, note. Raises ExportError, also if the file exists."""
    with _new_file(file) as writing:
        table = csv.writer(writing)
        table.writerow(COLUMNS)
        for number, item in enumerate(items):
            progress(number, len(items))
            record = _record(item, file.parent)
            table.writerow(escape_row("" if record[name] is None else record[name] for name in COLUMNS))
    return ExportResult(file, len(items))


def _record(item: GalleryItem, folder: Path) -> dict[str, Any]:
    path = item.path.absolute()
    inside = path.is_relative_to(folder.absolute())  # relative, so that the folder may be moved
    return {
        "filepath": str(path.relative_to(folder.absolute()) if inside else path),
        "title": item.caption,
        "rank": item.rank,
        "score": item.score,
        "true": None if item.correct is None else str(item.correct).lower(),
        "note": item.badge,
    }


@contextmanager
def _new_file(file: Path) -> Iterator[TextIO]:
    """Open a new text file, which is removed if writing fails or is cancelled."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        writing = file.open("x", encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise _refusal(file, error) from error
    try:
        with writing:
            yield writing
    except OSError as error:
        file.unlink(missing_ok=True)
        raise _refusal(file, error) from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _refusal(path: Path, error: OSError, written_count: int = 0) -> ExportError:
    if isinstance(error, FileExistsError):
        return ExportError(f"{path} already exists and was not overwritten; choose another name.")
    consequence = f"{count_with_unit(written_count, 'image')} already written" if written_count else ""
    return ExportError(not_written(path, error, consequence))


IMAGE_FORMATS: tuple[ExportFormat[WriteImages], ...] = (
    ExportFormat("copies", "&Copies into a folder…", "Copy the image files", export_copies, target="folder"),
    ExportFormat(
        "csv", "&Table (CSV)…", "File, caption, rank and score per row", export_table, "Tables", ".csv", "images"
    ),
)
