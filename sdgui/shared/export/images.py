"""Exports images of a gallery: links, copies, a table, JSON lines, contact sheets. Runs in a thread; no widgets.

Flow: gallery -> ``ExportTask`` (thread) -> here -> files. Nothing is overwritten: files in a folder get numbered names,
an existing file is refused. A table names its columns as data sources do, so that it can be trained on.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter

from core.spec.cells import marked_row
from core.spec.errors import UserError
from core.spec.reading import UnreadableError
from core.spec.shards import is_member, read_member, split_member
from sdgui.shared.export.formats import Exported, ExportFormat, Progress, free_path
from sdgui.widgets.gallery.delegate import two_lines
from sdgui.widgets.gallery.images import read_image
from sdgui.widgets.gallery.items import GalleryItem

SHEET = 200  # images on one contact sheet
_SIDE, _GAP = 240, 16  # px
_EVERY = 50  # rows between two reports of progress
COLUMNS = ("filepath", "title", "rank", "score", "true", "note")

WriteImages = Callable[[Sequence[GalleryItem], Path, Progress, str], Exported]  # images, where, progress, title


class ExportError(UserError):
    """Nothing, or not everything, could be written; the message names the file and the remedy."""


def export_copies(items: Sequence[GalleryItem], folder: Path, progress: Progress, _title: str = "") -> Exported:
    """Copy the images into ``folder``, times kept. Raises ExportError when it cannot be written."""
    return _each(items, folder, progress, _copy)


def export_links(items: Sequence[GalleryItem], folder: Path, progress: Progress, _title: str = "") -> Exported:
    """Create symbolic links to the images in ``folder``. Raises ExportError, also if links are not supported."""
    return _each(items, folder, progress, _link)


def _link(source: Path, target: Path) -> None:
    if split_member(source) is not None:  # an image in a tar is no file to link to
        _copy(source, target)
    else:
        target.symlink_to(source.absolute())


def _copy(source: Path, target: Path) -> None:
    member = split_member(source)
    content = io.BytesIO(read_member(member)) if member is not None else None
    with content or source.open("rb") as reading, target.open("xb") as writing:
        try:
            shutil.copyfileobj(reading, writing, 1 << 20)
        except BaseException:
            target.unlink(missing_ok=True)  # no half of an image
            raise
    if member is None:
        shutil.copystat(source, target)


def _each(
    items: Sequence[GalleryItem], folder: Path, progress: Progress, write: Callable[[Path, Path], None]
) -> Exported:
    report = Exported(folder)
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
            write(item.path, free_path(folder / item.path.name, name_counts[item.path.name]))
        except UnreadableError:  # a place in a tar that holds no image of that size
            report.skipped.append((str(item.path), "it could not be read"))
            continue
        except PermissionError as error:
            if error.filename == str(item.path):
                report.skipped.append((str(item.path), "no permission to read it"))
                continue
            raise _refusal(folder, error, report.written) from error
        except (OSError, NotImplementedError) as error:
            raise _refusal(folder, error, report.written) from error
        report.written += 1
    progress(len(items), len(items))
    return report


def export_table(items: Sequence[GalleryItem], file: Path, progress: Progress, _title: str = "") -> Exported:
    """A CSV with filepath, title, rank, score, true, note. Raises ExportError; an existing file stays."""
    with _new_file(file) as writing:
        table = csv.writer(writing)
        table.writerow(COLUMNS)
        for number, item in enumerate(items):
            _report(progress, number, len(items))
            record = _record(item, file.parent)
            table.writerow(marked_row("" if record[name] is None else record[name] for name in COLUMNS))
    return Exported(file, len(items))


def export_json_lines(items: Sequence[GalleryItem], file: Path, progress: Progress, _title: str = "") -> Exported:
    """One JSON object per line, with the available COLUMNS. Raises ExportError; an existing file stays."""
    with _new_file(file) as writing:
        for number, item in enumerate(items):
            _report(progress, number, len(items))
            record = {name: value for name, value in _record(item, file.parent).items() if value not in (None, "")}
            writing.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n")
    return Exported(file, len(items))


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


def export_contact_sheet(
    items: Sequence[GalleryItem], file: Path, progress: Progress, title: str = "", columns: int = 0
) -> Exported:
    """PNG sheets of at most 200 images with rank, score and caption: ``file``, ``file-2`` … Raises ExportError."""
    sheets = [items[start : start + SHEET] for start in range(0, len(items), SHEET)]
    report = Exported(file)
    for number, part in enumerate(sheets):
        path = file if number == 0 else free_path(file)
        report_progress = partial(_sheet_progress, progress, number * SHEET, len(items))
        image = draw_sheet(part, title, columns, report_progress, report.skipped)
        with _new_file(path):
            pass  # the name is ours from here on
        if not image.save(str(path), "PNG"):  # type: ignore[call-overload]  # PySide6's stub asks for bytes
            path.unlink(missing_ok=True)
            raise ExportError(f"{path} cannot be written; is the disk full? Choose another folder.")
        report.written += len(part)
    progress(len(items), len(items))
    return report


def draw_sheet(
    items: Sequence[GalleryItem],
    title: str,
    columns: int,
    report_progress: Callable[[int], None],
    unread: list[tuple[str, str]] | None = None,
) -> QImage:
    """One sheet, dark on white; an unreadable image leaves an empty frame, and is added to ``unread``."""
    columns = columns or min(10, max(1, math.ceil(math.sqrt(len(items)))))
    font = QFont()
    font.setPixelSize(14)
    metrics = QFontMetrics(font)
    cell = QSize(_SIDE + _GAP, _SIDE + 3 * metrics.height() + _GAP)
    top = 2 * metrics.height() + _GAP if title else _GAP
    rows = math.ceil(len(items) / columns)
    image = QImage(columns * cell.width() + _GAP, rows * cell.height() + top, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.setFont(font)
    painter.setPen(QColor("#1b1f24"))
    elided_title = metrics.elidedText(title, Qt.TextElideMode.ElideRight, image.width() - 2 * _GAP)
    painter.drawText(_GAP, _GAP + metrics.ascent(), elided_title)
    try:
        for number, item in enumerate(items):
            report_progress(number)
            x, y = _GAP + number % columns * cell.width(), top + number // columns * cell.height()
            if not _draw_cell(painter, item, QRect(x, y, _SIDE, _SIDE), font, metrics) and unread is not None:
                unread.append((str(item.path), "it could not be read"))
    finally:
        painter.end()
    return image


def _draw_cell(painter: QPainter, item: GalleryItem, rect: QRect, font: QFont, metrics: QFontMetrics) -> bool:
    """Whether the image could be read."""
    image, _ = read_image(item.path, rect.size())
    if image is None:
        painter.drawRect(rect.adjusted(0, 0, -1, -1))
    else:
        box = QRect(0, 0, image.width(), image.height())
        box.moveCenter(rect.center())
        painter.drawImage(box.topLeft(), image)
    mark = {True: "✓", False: "✗", None: ""}[item.correct]
    rank, score = f"#{item.rank}" if item.rank else "", f"{item.score:.3f}" if item.score is not None else ""
    lines = [" ".join(part for part in (rank, score, mark, item.badge) if part)]
    lines += two_lines(item.caption, font, metrics, rect.width())
    line = QRect(rect.left(), rect.bottom() + 2, rect.width(), metrics.height())
    for text in filter(None, lines):
        painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft), text)
        line.translate(0, metrics.height())
    return image is not None


def _sheet_progress(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _report(progress: Progress, number: int, total: int) -> None:
    if number % _EVERY == 0:
        progress(number, total)


@contextmanager
def _new_file(file: Path) -> Iterator[TextIO]:
    """A text file that was not there; gone again when writing it fails or is cancelled."""
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


def _refusal(path: Path, error: BaseException, written_count: int = 0) -> ExportError:
    code = getattr(error, "errno", None)
    written_text = f" {written_count} images had been written." if written_count else ""
    if isinstance(error, FileExistsError):
        return ExportError(f"{path} already exists and was not overwritten; choose another name.{written_text}")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ExportError(f"{path} cannot be written: no permission; choose another folder.{written_text}")
    if code in (errno.ENOSPC, errno.EDQUOT):
        return ExportError(f"The disk of {path} is full; free some space or choose another disk.{written_text}")
    reason = getattr(error, "strerror", None) or error
    return ExportError(f"{path} cannot be written: {reason}; choose another folder.{written_text}")


IMAGE_FORMATS: tuple[ExportFormat[WriteImages], ...] = (
    ExportFormat("copies", "&Copies into a folder …", "Copy the image files", export_copies, target="folder"),
    ExportFormat("links", "&Links in a folder …", "Symbolic links to the image files", export_links, target="folder"),
    ExportFormat(
        "csv", "&Table (CSV) …", "File, caption, rank and score per row", export_table, "Tables", ".csv", "images"
    ),
    ExportFormat(
        "jsonl", "&JSON lines …", "One JSON object per line", export_json_lines, "JSON lines", ".jsonl", "images"
    ),
    ExportFormat(
        "sheet",
        "Contact &sheet (PNG) …",
        "Images with rank, score and caption, 200 per sheet",
        export_contact_sheet,
        "Images",
        ".png",
        "contact-sheet",
    ),
)
