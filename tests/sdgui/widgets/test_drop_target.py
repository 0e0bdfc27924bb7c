"""What is dropped or pasted becomes images or refusals: real files, folders, links, image data, addresses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QColor, QDragEnterEvent, QDragLeaveEvent, QDropEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from sdgui.widgets.drop_target import DropTarget, FileDrop
from sdgui.widgets.dropped_files import BATCH_SIZE, expand


class Heard:
    def __init__(self, target: DropTarget) -> None:
        self.parts: list[list[str]] = []
        self.refused: list[tuple[str, str]] = []
        self.finished = 0
        target.dropped.connect(self.parts.append)
        target.refused.connect(self.refused.extend)
        target.finished.connect(self._end)

    def _end(self) -> None:
        self.finished += 1

    @property
    def images(self) -> list[str]:
        return [image for part in self.parts for image in part]


@pytest.fixture
def target(qtbot: QtBot, tmp_path: Path) -> Iterator[DropTarget]:
    target = DropTarget(tmp_path / "pasted")
    qtbot.addWidget(target)
    target.set_content(QLabel("inside"))
    target.resize(400, 300)
    target.show()
    yield target
    target.close_threads()


@pytest.fixture
def heard(target: DropTarget) -> Heard:
    return Heard(target)


def image(path: Path, color: str = "red") -> str:
    Image.new("RGB", (8, 8), color).save(path)
    return str(path)


def of(*urls: str | Path) -> QMimeData:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(url)) if isinstance(url, Path) else QUrl(url) for url in urls])
    return data


def test_files_and_folders_are_accepted_once_and_the_rest_refused(
    target: DropTarget, heard: Heard, tmp_path: Path, qtbot: QtBot
) -> None:
    inner = tmp_path / "folder" / "b"
    inner.mkdir(parents=True)
    first, two, three = (
        image(tmp_path / "1\n🙂.png"),
        image(inner / "2.JPG"),
        image(tmp_path / "folder" / "3.png"),
    )
    nameless = tmp_path / "download"
    nameless.write_bytes(Path(first).read_bytes())
    (tmp_path / "film.mp4").write_bytes(b"0123456789")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "words.doc").write_bytes(b"words")
    (inner / "notes.txt").write_text("no image")
    (inner / ".hidden.png").write_bytes(b"x")
    (inner / "up").symlink_to(tmp_path / "folder", target_is_directory=True)
    names = ("film.mp4", "empty.png", "words.doc", "gone.png")
    target.accept_data(of(Path(first), nameless, tmp_path / "folder", Path(two), *(tmp_path / name for name in names)))
    assert target.busy
    qtbot.waitUntil(lambda: heard.finished == 1)
    assert heard.images == [first, str(nameless), three, two]
    why = {Path(path).name: reason for path, reason in heard.refused}
    assert set(why) == {*names, "folder"}
    assert "video" in why["film.mp4"]
    assert "empty" in why["empty.png"]
    assert ".doc" in why["words.doc"]
    assert "no such file" in why["gone.png"]
    assert why["folder"].startswith("1 file ")


def test_many_files_arrive_in_batches_and_can_be_cancelled(tmp_path: Path) -> None:
    for number in range(2 * BATCH_SIZE + 10):
        (tmp_path / f"{number:04}.png").touch()
    parts = list(expand([str(tmp_path)]))
    assert [len(part.images) for part in parts] == [BATCH_SIZE, BATCH_SIZE, 10]
    assert parts[0].images[0] == str(tmp_path / "0000.png")
    answers = iter([False] * BATCH_SIZE + [True] * 5000)
    assert [len(part.images) for part in expand([str(tmp_path)], lambda: next(answers))] == [BATCH_SIZE]


@pytest.mark.ci
def test_many_files_keep_the_window_responsive(target: DropTarget, heard: Heard, tmp_path: Path, qtbot: QtBot) -> None:
    for number in range(4 * BATCH_SIZE):
        (tmp_path / f"{number:04}.png").touch()
    seen: list[int] = []  # parts, at each turn
    turn = QTimer(target, interval=0)
    turn.timeout.connect(lambda: seen.append(len(heard.parts)))
    turn.start()
    target.accept_paths([tmp_path])
    target._pool.waitForDone(200)  # as when the window is busy: the thread has all the time it wants
    qtbot.waitUntil(lambda: heard.finished == 1)
    assert {1, 2, 3} <= set(seen)
    assert len(heard.images) == 4 * BATCH_SIZE


def test_a_self_link_does_not_hide_its_folder(tmp_path: Path) -> None:
    first = image(tmp_path / "1.png")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "0.png").symlink_to(tmp_path / "0.png")
    (part,) = expand([str(tmp_path)])
    assert part.images == [str(tmp_path / "0.png"), first], "which of them can be read is told when it is"
    assert part.refused == [(str(tmp_path), "1 file that is not an image was skipped")]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    first = image(tmp_path / "1.png")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(Path(first).read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    (part,) = expand([str(tmp_path)])
    assert part.images == [first]
    assert part.refused == [(f"{tmp_path}{os.sep}?.png", "its name is not valid text; rename it")]


def test_an_unreadable_folder_is_not_called_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_folder: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    (part,) = expand([str(tmp_path)])
    assert part.refused == [(str(tmp_path), "the folder cannot be read: Permission denied")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    (part,) = expand([str(closed)])
    assert "cannot be read" in part.refused[0][1]


def test_image_data_is_saved_once_and_accepted(target: DropTarget, heard: Heard, tmp_path: Path, qtbot: QtBot) -> None:
    image = QImage(5, 4, QImage.Format.Format_RGB32)
    image.fill(QColor("blue"))
    data = of("https://example.org/cat.jpg")  # as a browser drags an image: its address and its data
    data.setImageData(image)
    target.accept_data(data)
    QGuiApplication.clipboard().setImage(image)
    target.setFocus()
    qtbot.keyClick(target, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: len(heard.images) == 2 and not target.busy)
    assert len(set(heard.images)) == 1
    assert heard.refused == []
    saved = Image.open(heard.images[0])
    assert Path(heard.images[0]).parent == tmp_path / "pasted"
    assert (saved.size, saved.convert("RGB").getpixel((0, 0))) == ((5, 4), (0, 0, 255))


def test_a_pasted_image_that_cannot_be_saved_gives_the_reason(qtbot: QtBot, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    target = DropTarget(tmp_path / "file" / "pasted")
    qtbot.addWidget(target)
    heard = Heard(target)
    data = QMimeData()
    data.setImageData(QImage(2, 2, QImage.Format.Format_RGB32))
    target.accept_data(data)
    qtbot.waitUntil(lambda: heard.finished == 1)
    assert "could not be saved" in heard.refused[0][1]
    target.close_threads()


def test_urls_and_words_are_refused_and_pasted_paths_accepted(
    target: DropTarget, heard: Heard, tmp_path: Path, qtbot: QtBot
) -> None:
    target.accept_data(of("https://example.org/cat.jpg"))
    words = QMimeData()
    words.setText("just words " * 50)
    target.accept_data(words)
    assert [reason.split(";")[0] for _, reason in heard.refused][1] == "it is text"
    assert "web" in heard.refused[0][1]
    assert len(heard.refused[1][0]) <= 80
    path = image(tmp_path / "a.png")
    text = QMimeData()
    text.setText(f"{path}\n")
    target.accept_data(text)
    qtbot.waitUntil(lambda: heard.images == [path])


def test_ctrl_v_in_a_text_box_pastes_text(target: DropTarget, heard: Heard, qtbot: QtBot) -> None:
    box = QLineEdit()
    target.set_content(box)
    target.activateWindow()
    qtbot.waitUntil(target.isActiveWindow)
    box.setFocus()
    QGuiApplication.clipboard().setText("a dog")
    qtbot.keyClick(box, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert box.text() == "a dog"
    assert heard.refused == []


def test_a_dragged_file_shows_what_a_panel_does_with_it(qtbot: QtBot, tmp_path: Path) -> None:
    panel, paths = QWidget(), list[str]()
    qtbot.addWidget(panel)
    drop = FileDrop(panel, "Open this table")
    drop.dropped.connect(paths.append)
    panel.resize(400, 300)
    panel.show()
    action, button, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    plain = panel.grab().toImage()
    for data, hinted in ((of(tmp_path / "pairs.csv"), True), (of("https://example.org/a.png"), False)):
        enter = QDragEnterEvent(QPoint(5, 5), action, data, button, keys)
        QApplication.sendEvent(panel, enter)
        assert (enter.isAccepted(), panel.grab().toImage() != plain) == (hinted, hinted)
        QApplication.sendEvent(panel, QDragLeaveEvent())
        assert panel.grab().toImage() == plain
    data = of(tmp_path / "pairs.csv")
    QApplication.sendEvent(panel, QDragEnterEvent(QPoint(5, 5), action, data, button, keys))
    QApplication.sendEvent(panel, QDropEvent(QPointF(5, 5), action, data, button, keys))
    assert paths == [str(tmp_path / "pairs.csv")]
    assert panel.grab().toImage() == plain


def test_sidecars_stand_for_their_images(target: DropTarget, heard: Heard, tmp_path: Path, qtbot: QtBot) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    first, two = image(tmp_path / "1.png"), image(folder / "2.JPG")
    for text in (tmp_path / "1.txt", folder / "2.txt", tmp_path / "alone.txt"):
        text.write_text("a caption")
    target.accept_data(of(folder, tmp_path / "1.txt", Path(first), tmp_path / "alone.txt"))
    qtbot.waitUntil(lambda: heard.finished == 1)
    assert heard.images == [two, first], "each once, whether it or its text was dropped"
    assert [Path(path).name for path, _ in heard.refused] == ["alone.txt"]
