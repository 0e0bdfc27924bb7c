"""An export in its thread: one at a time, reported, cancelled, and every way it can end; what a menu asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.shared.export import task as task_module
from sdgui.shared.export.formats import ExportResult, Progress
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.export.message import exported_message
from sdgui.shared.export.task import ExportTask
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled


class Parts:
    """A task with its strip, and what it told."""

    def __init__(self, qtbot: QtBot) -> None:
        self.strip = ProgressStrip()
        qtbot.addWidget(self.strip)
        self.task = ExportTask(self.strip)
        self.outcomes: list[object] = []
        self.task.done.connect(self.outcomes.append)
        self.task.failed.connect(self.outcomes.append)


@pytest.fixture
def parts(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    monkeypatch.setattr(task_module, "_REPORT_SECONDS", -1.0)  # everything is reported
    parts = Parts(qtbot)
    yield parts
    parts.task.close_threads()


def test_one_export_runs_at_a_time_and_shows_progress(qtbot: QtBot, parts: Parts, tmp_path: Path) -> None:
    go_on, written = threading.Event(), ExportResult(tmp_path, 4)

    def work(progress: Progress) -> ExportResult:
        progress(1, 4)
        assert go_on.wait(60)
        return written

    parts.task.start("Exporting images", 4, work)
    assert parts.task.running
    with pytest.raises(RuntimeError, match="already running"):
        parts.task.start("Another", 1, work)
    qtbot.waitUntil(lambda: parts.strip.text == "Exporting images · 25 % · 1 of 4 images")
    go_on.set()
    qtbot.waitUntil(lambda: bool(parts.outcomes))
    assert (parts.outcomes, parts.task.running, parts.strip.isHidden()) == ([written], False, True)
    parts.task._progress.emit(3, 4)
    assert parts.strip.isHidden(), "a report that comes late is of nothing"


def test_a_cancelled_export_ends_at_its_next_report_and_another_may_follow(
    qtbot: QtBot, parts: Parts, tmp_path: Path
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(progress: Progress) -> ExportResult:
        begun.set()
        assert go_on.wait(60)
        progress(1, 4)
        return ExportResult(tmp_path, 4)

    parts.task.start("Exporting images", 4, work)
    assert begun.wait(60)
    parts.strip.cancelled.emit()
    go_on.set()
    qtbot.waitUntil(lambda: parts.outcomes == [Cancelled()])
    parts.task.start("Exporting images", 4, work)
    qtbot.waitUntil(lambda: len(parts.outcomes) == 2)
    assert isinstance(parts.outcomes[1], ExportResult)


def test_the_menu_asks_where_and_starts_beside_the_last_one(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, messages = QWidget(), list[Message]()
    qtbot.addWidget(panel)
    menu = ExportMenu(ProgressStrip(panel), messages.append, panel)
    starts: list[str] = []
    answers = ["", "", str(tmp_path / "out"), str(tmp_path / "a.csv"), ""]

    def file(_over: QWidget, _title: str, start: str, _kinds: str, **more: QFileDialog.Option) -> tuple[str, str]:
        starts.append(start)
        assert more["options"] == QFileDialog.Option.DontConfirmOverwrite, "an existing file is refused"
        return answers.pop(0), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", file)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answers.pop(0))
    Image.new("RGB", (3, 3)).save(tmp_path / "x.png")
    items = [GalleryItem(tmp_path / "x.png", "x")]
    assert not menu.fill(QMenu(panel), []).isEnabled()
    inner = menu.fill(QMenu(panel), items)
    assert (inner.isEnabled(), inner.toolTipsVisible(), inner.title()) == (True, True, "&Export")
    copies, table = inner.actions()
    table.trigger()
    copies.trigger()
    assert (messages, menu.task.running) == ([], False), "nothing was chosen"
    copies.trigger()
    qtbot.waitUntil(lambda: len(messages) == 1)
    assert messages[0].text == f"1 image exported to {tmp_path / 'out'}."
    table.trigger()
    qtbot.waitUntil(lambda: len(messages) == 2)
    table.trigger()
    assert [str(Path(start).parent) for start in starts] == [str(Path.home()), str(tmp_path / "out"), str(tmp_path)]
    menu.task.close_threads()


def test_skipped_images_are_a_warning_with_reasons(tmp_path: Path) -> None:
    report = ExportResult(tmp_path / "a.csv", 3, [(f"{number}.png", "missing") for number in range(60)])
    message = exported_message(report, "3 images exported.", Remedy("Use", lambda: None))
    assert (message.level, message.text) == ("warning", "3 images exported. 60 left out.")
    assert message.details.splitlines()[0] == "0.png: missing"
    assert message.details.splitlines()[-1] == "and 10 more"
    assert message.remedy is not None
    assert message.remedy.label == "Use"
    assert exported_message(ExportResult(tmp_path, 1), "1 image exported.").level == "info"
