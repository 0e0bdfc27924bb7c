"""Exports of captions by themselves: what is asked before, said after, and left alone while one is under way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate, CaptionedImage
from sdgui.app.start import make_application
from sdgui.panels.caption.export import CAPTION_FORMATS, _safe, save_source
from sdgui.panels.caption.files import CaptionFiles
from sdgui.shared.export.formats import Exported
from sdgui.widgets.message import Message
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure


class Files:
    """Exports of some images, and what they told."""

    def __init__(self, folder: Path, host: QWidget) -> None:
        self.images: list[CaptionedImage] = []
        self.strip = ProgressStrip(host)
        self.messages: list[Message] = []
        self.folder = folder
        self.files = CaptionFiles(lambda: self.images, self.strip, self.messages.append, folder / "home", host)
        self.ways = {kind.name: slot for kind, slot in self.files.slots()}

    def add(self, *names: str) -> None:
        for name in names:
            path = self.folder / f"{name}.png"
            path.write_bytes(b"image")
            self.images.append(CaptionedImage(str(path), (Candidate(f"a {name}"),), {"model": "m"}))

    @property
    def text(self) -> str:
        return self.messages[-1].text


@pytest.fixture
def files(qtbot: QtBot, tmp_path: Path) -> Iterator[Files]:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    host.show()
    made = Files(tmp_path, host)
    yield made
    qtbot.waitUntil(lambda: not made.files.task.running)


def test_of_nothing_there_is_nothing_to_export(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(files.folder))
    files.files.save_training_data()
    for way in files.ways.values():
        way()
    assert [message.text for message in files.messages] == ["There are no captions to export yet."] * 6
    assert not files.files.task.running
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    files.ways["data"]()
    assert len(files.messages) == 6, "no folder was chosen"


def test_text_files_that_are_there_are_counted_and_asked_about(qtbot: QtBot, files: Files) -> None:
    files.add("a", "b")
    for name in "ab":
        (files.folder / f"{name}.txt").write_text("mine")
    files.ways["text"]()
    assert not files.strip.isHidden()
    assert files.strip.text.startswith("Checking for existing text files")
    over = files.files.parent()
    assert over is not None
    qtbot.waitUntil(lambda: over.findChild(QMessageBox, "overwrite") is not None)
    box = over.findChild(QMessageBox, "overwrite")
    assert isinstance(box, QMessageBox)
    assert box.text() == "2 text files already exist next to the images."
    assert box.informativeText() == "Overwriting loses their current content."
    assert box.windowTitle() == "Export captions"
    assert box.icon() == QMessageBox.Icon.Question
    default = box.defaultButton()
    assert default is not None
    assert default.text() == "&Keep them", "Enter loses nothing"
    assert {button.text().replace("&", "") for button in box.buttons()} == {"Keep them", "Overwrite", "Cancel"}
    default.click()
    qtbot.waitUntil(lambda: bool(files.messages))
    assert files.text == "No caption was exported; 2 left out."
    assert files.messages[0].level == "warning"


def test_an_export_says_what_was_written_and_the_next_dialog_opens_there(
    qtbot: QtBot, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.add("a", "b")
    asked: list[Path] = []
    (files.folder / "out").mkdir()

    def choose(_over: object, _title: str, start: str, *_rest: Any, **_more: Any) -> tuple[str, str]:
        asked.append(Path(start))
        return str(files.folder / "out" / f"{len(asked)}.csv"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    files.ways["csv"]()
    files.ways["csv"]()
    assert len(asked) == 1, "one export at a time"
    qtbot.waitUntil(lambda: bool(files.messages))
    assert files.text == f"2 captions exported to {files.folder / 'out' / '1.csv'}."
    assert files.strip.isHidden()
    files.ways["csv"]()
    qtbot.waitUntil(lambda: len(files.messages) == 2)
    assert asked[1] == files.folder / "out" / "captions.csv"
    del files.images[1]
    used: list[tuple[str, int]] = []
    files.files.use_asked.connect(lambda manifest, images: used.append((manifest, images)))
    files.files.save_training_data()
    qtbot.waitUntil(lambda: len(files.messages) == 3)
    table = files.folder / "home" / "data" / "captions" / "train.csv"
    assert files.text == f"1 caption saved as training data: {table}."
    remedy = files.messages[-1].remedy
    assert remedy is not None
    assert remedy.label == "Use in a new experiment"
    remedy.do()
    assert used == [(str(table), 1)]
    files.files._show_failure(Failure("The disk is full.", "more"))
    assert (files.messages[-1].level, files.text, files.messages[-1].details) == ("error", "The disk is full.", "more")
    files.files._show_failure(Cancelled())
    assert files.messages[-1].level == "info"
    files.files._show_report(Exported(Path("/x"), 0, [("/a.png", "it is gone")]))
    assert (files.text, files.messages[-1].details) == ("No caption was exported; 1 left out.", "/a.png: it is gone")


def test_progress_is_told_for_each_image_and_images_are_copied_or_linked(files: Files) -> None:
    files.add("a", "b")
    for export in CAPTION_FORMATS:
        steps: list[tuple[int, int]] = []
        where = files.folder / f"x-{export.name}"
        export.write(files.images, where, lambda *step, into=steps: into.append(step), False)
        assert steps[0] == (0, 2)
        assert steps == [(0, 2)] if export.name == "coco" else steps == [(0, 2), (1, 2)]
    for copy in (False, True):
        folder = files.folder / f"set-{copy}"
        found = save_source(files.images, folder, lambda *_: None, copy=copy)
        inside = sorted((folder / "images").iterdir())
        assert [path.name for path in inside] == ["000000-a.png", "000001-b.png"]
        assert [path.is_symlink() for path in inside] == [not copy] * 2
        assert (found.path, found.written, found.skipped) == (folder / "train.csv", 2, [])
    assert _safe("x" * 90 + ".jpeg") == "x" * 60 + ".jpeg"
    assert _safe("..") == "image"
