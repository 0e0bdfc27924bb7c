"""An export in its thread: one at a time, reported, cancelled, and every way it can end; what a menu asks for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from sdgui.panels.caption.export import CAPTION_FORMATS
from sdgui.panels.clean.work import CLEANED
from sdgui.shared.export import task as task_module
from sdgui.shared.export.formats import Exported, ExportFormat, Progress
from sdgui.shared.export.images import IMAGE_FORMATS, WriteImages, draw_sheet
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.export.message import exported_message
from sdgui.shared.export.task import ExportTask
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.message import Message, Remedy
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure


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
    monkeypatch.setattr(task_module, "_EVERY", -1.0)  # everything is reported
    parts = Parts(qtbot)
    yield parts
    parts.task.close_threads()


def test_one_export_runs_at_a_time_and_shows_progress(qtbot: QtBot, parts: Parts, tmp_path: Path) -> None:
    go_on, written = threading.Event(), Exported(tmp_path, 4)

    def work(progress: Progress) -> Exported:
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

    def work(progress: Progress) -> Exported:
        begun.set()
        assert go_on.wait(60)
        progress(1, 4)
        return Exported(tmp_path, 4)

    parts.task.start("Exporting images", 4, work)
    assert begun.wait(60)
    parts.strip.cancelled.emit()
    go_on.set()
    qtbot.waitUntil(lambda: parts.outcomes == [Cancelled()])
    parts.task.start("Exporting images", 4, work)
    qtbot.waitUntil(lambda: len(parts.outcomes) == 2)
    assert isinstance(parts.outcomes[1], Exported)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UserError("It is full."), "It is full."),
        (OSError(28, "No space left on device", "/a.csv"), "/a.csv cannot be written: No space left on device;"),
        (OSError("odd"), "The file cannot be written: odd;"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
def test_every_end_of_an_export_is_reported(qtbot: QtBot, parts: Parts, error: Exception, text: str) -> None:
    def work(_progress: Progress) -> Exported:
        raise error

    parts.task.start("Exporting images", 4, work)
    qtbot.waitUntil(lambda: bool(parts.outcomes))
    (failure,) = parts.outcomes
    assert isinstance(failure, Failure)
    assert failure.text.startswith(text)
    assert not parts.task.running


def test_reports_in_quick_succession_are_skipped(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(task_module, "monotonic", lambda: clock[0])
    parts = Parts(qtbot)
    reported: list[int] = []
    parts.task._progress.connect(lambda done, _total: reported.append(done))
    for done, moment in enumerate((100.0, 100.01, 100.02, 100.04, 100.05, 100.08)):
        clock[0] = moment
        parts.task._report(done, 9)
    assert reported == [0, 3, 5]


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
    copies, _, table, *_ = inner.actions()
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


def ink(image: QImage, left: int, top: int, right: int, bottom: int) -> int:
    """Pixels that are not white."""
    white = 0xFFFFFFFF
    return sum(image.pixel(x, y) != white for x in range(left, right) for y in range(top, bottom))


def test_a_sheet_has_title_images_and_captions(qapp: object, tmp_path: Path) -> None:
    Image.new("RGB", (60, 20), "red").save(tmp_path / "a.png")
    bare, captioned = (
        GalleryItem(tmp_path / "a.png"),
        GalleryItem(tmp_path / "a.png", "a cat", 0.5, 1, True, badge="cat"),
    )
    gone = GalleryItem(tmp_path / "gone.png")
    drawn: list[int] = []
    plain = draw_sheet([bare, bare, bare], "", 2, drawn.append)
    assert drawn == [0, 1, 2]
    assert (plain.width() - 16) % (240 + 16) == 0
    assert plain.width() == 2 * 256 + 16
    titled = draw_sheet([bare, bare, bare], "a query", 2, drawn.append)
    rise = titled.height() - plain.height()
    assert rise > 14
    assert ink(titled, 0, 0, 120, rise) > 0
    assert ink(plain, 0, 0, 120, 16) == 0
    assert draw_sheet([bare], "", 0, drawn.append).width() == 256 + 16, "as many columns as rows"
    assert draw_sheet([bare] * 5, "", 0, drawn.append).width() == 3 * 256 + 16
    below = 16 + 240
    assert ink(plain, 16, below, 256, below + 40) == 0, "nothing is said of an image of which nothing is known"
    sheet = draw_sheet([captioned], "", 1, drawn.append)
    line = (sheet.height() - 16 - 16 - 240) // 3
    for number in range(2):
        assert ink(sheet, 16, below + number * line, 256, below + (number + 1) * line) > 0
    red = [
        (x, y) for x in range(0, 272, 4) for y in range(0, 272, 4) if sheet.pixelColor(x, y).getRgb()[:3] == (255, 0, 0)
    ]
    middle = [sum(coordinates) / len(red) for coordinates in zip(*red, strict=True)]
    assert middle == pytest.approx([16 + 120, 16 + 120], abs=4), "in the middle of its cell"
    framed = draw_sheet([gone], "", 1, drawn.append)
    assert ink(framed, 16, 16, 17, 256) > 200, "an image that cannot be read leaves its frame"
    assert ink(framed, 30, 30, 240, 240) == 0


def names(items: list[GalleryItem], file: Path) -> Exported:
    file.write_text("\n".join(item.path.name for item in items), encoding="utf-8")
    return Exported(file, len(items))


TOY: ExportFormat[WriteImages] = ExportFormat(
    "names", "&Names …", "A name per line", lambda items, file, *_: names(list(items), file), "Lists", ".txt", "names"
)


@pytest.mark.parametrize("formats", [IMAGE_FORMATS, CAPTION_FORMATS, (CLEANED,)])
def test_a_row_has_everything_for_menus_and_dialogs(formats: tuple[ExportFormat[object], ...]) -> None:
    assert len({row.name for row in formats}) == len(formats)
    for row in formats:
        assert row.title
        assert row.tip
        if row.target == "file":
            assert row.filter == f"{row.kind} (*{row.suffix})"
            assert row.file_name == f"{row.stem}{row.suffix}"
            assert row.kind
            assert row.stem
            assert row.suffix.startswith(".")


def test_a_format_needs_only_its_row(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = QWidget()
    qtbot.addWidget(panel)
    strip, bar = ProgressStrip(panel), MessageBar(panel)
    menu = ExportMenu(strip, bar.show_message, panel, formats=(*IMAGE_FORMATS, TOY))
    inner = menu.fill(QMenu(panel), [GalleryItem(tmp_path / "a.png"), GalleryItem(tmp_path / "b.png")])
    offered: list[str] = []

    def choose(_over: QWidget, _title: str, start: str, kinds: str, **_more: object) -> tuple[str, str]:
        offered.extend((Path(start).name, kinds))
        return str(tmp_path / "mine"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    inner.actions()[-1].trigger()
    qtbot.waitUntil(lambda: "2 images exported" in bar.text)
    assert offered == ["names.txt", "Lists (*.txt)"]
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "a.png\nb.png"
    menu.task.close_threads()


def test_skipped_images_are_a_warning_with_reasons(tmp_path: Path) -> None:
    report = Exported(tmp_path / "a.csv", 3, [(f"{number}.png", "missing") for number in range(60)])
    message = exported_message(report, "3 images exported.", Remedy("Use", lambda: None))
    assert (message.level, message.text) == ("warning", "3 images exported. 60 left out.")
    assert message.details.splitlines()[0] == "0.png: missing"
    assert message.details.splitlines()[-1] == "and 10 more"
    assert message.remedy is not None
    assert message.remedy.label == "Use"
    assert exported_message(Exported(tmp_path, 1), "1 image exported.").level == "info"
