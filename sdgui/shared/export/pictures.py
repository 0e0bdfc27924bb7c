"""Pictures of a gallery written out: links, copies, a table, JSON lines, contact sheets. For a thread; no widgets.

Flow: gallery -> ``ExportTask`` (thread) -> **these** -> files. What is there is never written over: a folder gets
further names, a file that exists is refused. A table names its columns as data sources do: it can be trained on.
"""

from __future__ import annotations

import csv
import errno
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QImage, QPainter

from core.spec.cells import marked_row
from core.spec.errors import UserError
from sdgui.widgets.gallery.delegate import two_lines
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.gallery.pictures import read_picture

SHEET = 200  # pictures on one contact sheet
_SIDE, _GAP = 240, 16  # px
_EVERY = 50  # rows between two words of progress
COLUMNS = ("filepath", "title", "rank", "score", "true", "note")

Progress = Callable[[int, int], None]  # done, total; raising ends the export


class ExportError(UserError):
    """Nothing, or not all, could be written; the message names the place and the remedy."""


@dataclass
class Exported:
    """What was written, and what was left out and why."""

    where: Path  # the folder, or the (first) file
    written: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def free_path(path: Path, number: int = 1) -> Path:
    """``path``, or the first of ``NAME-2``, ``NAME-3`` … that is free; earlier numbers are passed over."""
    found = path if number < 2 else path.with_name(f"{path.stem}-{number}{path.suffix}")
    number = max(2, number + 1)
    while found.exists() or found.is_symlink():
        found, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return found


def export_copies(items: Sequence[GalleryItem], folder: Path, progress: Progress) -> Exported:
    """Copy the pictures into ``folder``, times kept. Raises ExportError when it cannot be written."""
    return _each(items, folder, progress, _copy)


def export_links(items: Sequence[GalleryItem], folder: Path, progress: Progress) -> Exported:
    """Symbolic links to the pictures in ``folder``. Raises ExportError, also where there are no links."""
    return _each(items, folder, progress, lambda source, target: target.symlink_to(source.absolute()))


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        try:
            shutil.copyfileobj(reading, writing, 1 << 20)
        except BaseException:
            target.unlink(missing_ok=True)  # no half of a picture
            raise
    shutil.copystat(source, target)


def _each(
    items: Sequence[GalleryItem], folder: Path, progress: Progress, put: Callable[[Path, Path], None]
) -> Exported:
    report = Exported(folder)
    alike: Counter[str] = Counter()  # many pictures may have the same name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refusal(folder, error) from error
    for number, item in enumerate(items):
        progress(number, len(items))
        if not item.path.is_file():
            report.skipped.append((str(item.path), "the file is missing"))
            continue
        try:
            alike[item.path.name] += 1
            put(item.path, free_path(folder / item.path.name, alike[item.path.name]))
        except PermissionError as error:
            if error.filename == str(item.path):
                report.skipped.append((str(item.path), "it may not be read"))
                continue
            raise _refusal(folder, error, report.written) from error
        except (OSError, NotImplementedError) as error:
            raise _refusal(folder, error, report.written) from error
        report.written += 1
    progress(len(items), len(items))
    return report


def export_table(items: Sequence[GalleryItem], file: Path, progress: Progress) -> Exported:
    """A CSV with filepath, title, rank, score, true, note. Raises ExportError; an existing file stays."""
    with _new_file(file) as writing:
        table = csv.writer(writing)
        table.writerow(COLUMNS)
        for number, item in enumerate(items):
            _tell(progress, number, len(items))
            record = _record(item, file.parent)
            table.writerow(marked_row("" if record[name] is None else record[name] for name in COLUMNS))
    return Exported(file, len(items))


def export_json_lines(items: Sequence[GalleryItem], file: Path, progress: Progress) -> Exported:
    """An object a line, with what of COLUMNS there is. Raises ExportError; an existing file stays."""
    with _new_file(file) as writing:
        for number, item in enumerate(items):
            _tell(progress, number, len(items))
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
    """PNG sheets of at most 200 pictures with rank, score and caption: ``file``, ``file-2`` … Raises ExportError."""
    sheets = [items[start : start + SHEET] for start in range(0, len(items), SHEET)]
    report = Exported(file)
    for number, part in enumerate(sheets):
        place = file if number == 0 else free_path(file)
        image = draw_sheet(part, title, columns, partial(_tell_sheet, progress, number * SHEET, len(items)))
        report.skipped += [(str(item.path), "it could not be read") for item in part if not item.path.is_file()]
        with _new_file(place):
            pass  # the name is ours from here on
        if not image.save(str(place), "PNG"):  # type: ignore[call-overload]  # PySide6's stub asks for bytes
            place.unlink(missing_ok=True)
            raise ExportError(f"{place} could not be written; is the disk full? Choose another folder.")
        report.written += len(part)
    progress(len(items), len(items))
    return report


def draw_sheet(items: Sequence[GalleryItem], title: str, columns: int, done: Callable[[int], None]) -> QImage:
    """One sheet, dark on white; an unreadable picture leaves an empty frame."""
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
    shown = metrics.elidedText(title, Qt.TextElideMode.ElideRight, image.width() - 2 * _GAP)
    painter.drawText(_GAP, _GAP + metrics.ascent(), shown)
    try:
        for number, item in enumerate(items):
            done(number)
            x, y = _GAP + number % columns * cell.width(), top + number // columns * cell.height()
            _draw_cell(painter, item, QRect(x, y, _SIDE, _SIDE), font, metrics)
    finally:
        painter.end()
    return image


def _draw_cell(painter: QPainter, item: GalleryItem, place: QRect, font: QFont, metrics: QFontMetrics) -> None:
    picture, _ = read_picture(item.path, place.size())
    if picture is None:
        painter.drawRect(place.adjusted(0, 0, -1, -1))
    else:
        box = QRect(0, 0, picture.width(), picture.height())
        box.moveCenter(place.center())
        painter.drawImage(box.topLeft(), picture)
    mark = {True: "✓", False: "✗", None: ""}[item.correct]
    rank, score = f"#{item.rank}" if item.rank else "", f"{item.score:.3f}" if item.score is not None else ""
    lines = [" ".join(part for part in (rank, score, mark, item.badge) if part)]
    lines += two_lines(item.caption, font, metrics, place.width())
    line = QRect(place.left(), place.bottom() + 2, place.width(), metrics.height())
    for text in filter(None, lines):
        painter.drawText(line, int(Qt.AlignmentFlag.AlignLeft), text)
        line.translate(0, metrics.height())


def _tell_sheet(progress: Progress, before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _tell(progress: Progress, number: int, total: int) -> None:
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


def _refusal(place: Path, error: BaseException, written: int = 0) -> ExportError:
    code = getattr(error, "errno", None)
    kept = f" {written} pictures were written before." if written else ""
    if isinstance(error, FileExistsError):
        return ExportError(f"{place} already exists and was not overwritten; choose another name.{kept}")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ExportError(f"{place} may not be written; choose a folder of your own.{kept}")
    if code in (errno.ENOSPC, errno.EDQUOT):
        return ExportError(f"The disk of {place} is full; free some space, or choose another.{kept}")
    reason = getattr(error, "strerror", None) or error
    return ExportError(f"{place} cannot be written: {reason}; choose another place.{kept}")
