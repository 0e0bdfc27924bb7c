"""Exports over real files: nothing is written over, what is missing is told, what cannot be written is a sentence."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest
from PIL import Image
from PySide6.QtWidgets import QMenu, QWidget
from pytestqt.qtbot import QtBot

from core.data.sources.opening import open_source
from core.spec.shards import member_path
from sdgui.app.start import make_application
from sdgui.shared.export.formats import free_path
from sdgui.shared.export.images import (
    ExportError,
    export_copies,
    export_table,
)
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip


def silent(_done: int, _total: int) -> None:
    return


@pytest.fixture(autouse=True)
def _application(qapp: object) -> None:
    make_application()


@pytest.fixture
def items(tmp_path: Path) -> list[GalleryItem]:
    """Two images of the same name, and one that is gone."""
    existing = []
    for number, color in enumerate(("red", "blue")):
        path = tmp_path / "images" / str(number) / "a.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (30, 20), color).save(path)
        existing.append(
            GalleryItem(path, f"caption, {number} “ü”", 0.5 - number / 10, number + 1, number == 0, badge="cat")
        )
    return [*existing, GalleryItem(tmp_path / "gone.png", "gone")]


def test_folders_get_numbered_names_and_existing_files_stay(items: list[GalleryItem], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.png").write_text("the user's own")
    os.utime(items[0].path, (1e9, 1e9))
    reports: list[tuple[int, int]] = []
    report = export_copies(items, folder, lambda done, total: reports.append((done, total)))
    assert (report.written, report.path) == (2, folder)
    assert report.skipped == [(str(tmp_path / "gone.png"), "the file is missing")]
    assert sorted(path.name for path in folder.iterdir()) == ["a-2.png", "a-3.png", "a.png"]
    assert (folder / "a.png").read_text() == "the user's own"
    assert (folder / "a-2.png").read_bytes() == items[0].path.read_bytes()
    assert (folder / "a-2.png").stat().st_mtime == 1e9, "a copy keeps when it was taken"
    assert reports[-1] == (3, 3)


def test_a_table_is_a_data_source(items: list[GalleryItem], tmp_path: Path) -> None:
    file = tmp_path / "images" / "found.csv"
    assert export_table(items[:2], file, silent).written == 2
    with file.open(encoding="utf-8", newline="") as reading:
        rows = list(csv.DictReader(reading))
    assert rows[0] == {
        "filepath": f"0{os.sep}a.png",
        "title": "caption, 0 “ü”",
        "rank": "1",
        "score": "0.5",
        "true": "true",
        "note": "cat",
    }
    source = open_source(file)
    assert [row.image for row in source.rows] == [item.path for item in items[:2]]


def test_an_existing_file_is_refused_and_kept(items: list[GalleryItem], tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("mine")
    with pytest.raises(ExportError, match="already exists"):
        export_table(items, file, silent)
    assert file.read_text() == "mine"
    assert free_path(file) == tmp_path / "mine-2.csv"


def test_a_folder_that_cannot_be_created_is_a_user_error(items: list[GalleryItem], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="Not a directory; choose a folder"):
        export_copies(items, tmp_path / "file" / "out", silent)


def test_missing_permissions_are_reported(
    items: list[GalleryItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "closed" / "a.png"))

    monkeypatch.setattr(Path, "open", refuse)  # the test may run as one who may do all
    with pytest.raises(ExportError, match="Permission denied; choose a folder that you may write to"):
        export_table(items, tmp_path / "closed", silent)


def test_an_unreadable_image_is_skipped_and_a_full_disk_reports_the_progress(
    items: list[GalleryItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = items[0].path
    open_file = Path.open

    def refuse(path: Path, *arguments: str, **options: str) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)  # the test may run as one who may do all
        report = export_copies(items[:2], tmp_path / "out", silent)
    assert (report.written, report.skipped) == (1, [(str(closed), "no permission to read it")])

    def full(_reading: BinaryIO, _writing: BinaryIO, _length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    copied = shutil.copyfileobj
    calls = iter([copied, full])
    monkeypatch.setattr(shutil, "copyfileobj", lambda *args: next(calls)(*args))
    with pytest.raises(ExportError, match="No space left on device; 1 image already written; free some space"):
        export_copies(items[:2], tmp_path / "other", silent)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["a.png"]


def test_a_failed_copy_leaves_no_partial_image(
    items: list[GalleryItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_reading: BinaryIO, writing: BinaryIO, _length: int) -> None:
        writing.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ExportError):
        export_copies(items, tmp_path / "out", silent)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_image_in_a_tar_is_extracted(items: list[GalleryItem], tmp_path: Path) -> None:
    content = items[0].path.read_bytes()
    tar = tmp_path / "a.tar"
    tar.write_bytes(b"x" * 512 + content)
    inside = GalleryItem(Path(member_path(tar, 512, len(content), "0.png")))
    gone = GalleryItem(Path(member_path(tar, 512, len(content) + 1, "1.png")))
    report = export_copies([inside, gone], tmp_path / "out", silent)
    assert (report.written, len(report.skipped)) == (1, 1)
    assert (tmp_path / "out" / "0.png").read_bytes() == content


def test_an_offset_beyond_the_limits_of_a_tar_is_skipped(items: list[GalleryItem], tmp_path: Path) -> None:
    tar = tmp_path / "a.tar"
    with tar.open("wb") as sparse:
        sparse.truncate(1 << 30)
    huge = GalleryItem(Path(member_path(tar, 512, 1 << 29, "1.png")))
    report = export_copies([huge, items[0]], tmp_path / "out", silent)
    assert (report.written, report.skipped) == (1, [(str(huge.path), "it could not be read")])


class Stop(Exception):
    pass


def test_a_cancelled_export_leaves_no_partial_file(items: list[GalleryItem], tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done:
            raise Stop

    with pytest.raises(Stop):
        export_table(items * 100, tmp_path / "half.csv", stop)
    assert not list(tmp_path.glob("half*"))


def test_a_panel_exports_in_a_thread_and_reports_the_outcome(
    qtbot: QtBot, items: list[GalleryItem], tmp_path: Path
) -> None:
    panel = QWidget()
    qtbot.addWidget(panel)
    strip, bar = ProgressStrip(panel), MessageBar(panel)
    menu = ExportMenu(strip, bar.show_message, panel)
    context = QMenu(panel)
    inner = menu.fill(context, items)
    assert [action.text().replace("&", "").split()[0] for action in inner.actions()] == ["Copies", "Table"]
    menu.run(export_copies, items, tmp_path / "out")
    assert not menu.fill(context, items).isEnabled()
    qtbot.waitUntil(lambda: "2 images exported" in bar.text, timeout=5000)
    assert "1 left out" in bar.text
    (tmp_path / "a.csv").touch()
    menu.run(export_table, items, tmp_path / "a.csv")
    qtbot.waitUntil(lambda: "already exists" in bar.text, timeout=5000)
    menu.run(export_table, items * 50_000, tmp_path / "b.csv")
    strip.cancelled.emit()
    qtbot.waitUntil(lambda: "cancelled" in bar.text, timeout=5000)
    assert not (tmp_path / "b.csv").exists()
    menu.task.close_threads()
