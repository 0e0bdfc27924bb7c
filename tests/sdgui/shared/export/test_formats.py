"""Formats as rows: what a panel offers, what its dialogs ask, and what a row needs to be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.caption.export import CAPTION_FORMATS
from sdgui.panels.clean.work import CLEANED
from sdgui.shared.export.formats import Exported, ExportFormat
from sdgui.shared.export.images import IMAGE_FORMATS, WriteImages
from sdgui.shared.export.menu import ExportMenu
from sdgui.shared.export.message import exported_message
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.message import Remedy
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.progress_strip import ProgressStrip


def names(items: list[GalleryItem], file: Path) -> Exported:
    file.write_text("\n".join(item.path.name for item in items), encoding="utf-8")
    return Exported(file, len(items))


TOY: ExportFormat[WriteImages] = ExportFormat(
    "names", "&Names …", "A name per line", lambda items, file, *_: names(list(items), file), "Lists", ".txt", "names"
)


@pytest.mark.parametrize("formats", [IMAGE_FORMATS, CAPTION_FORMATS, (CLEANED,)])
def test_a_row_has_all_that_menus_and_dialogs_need(formats: tuple[ExportFormat[object], ...]) -> None:
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


def test_a_row_is_all_that_a_format_needs(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_was_left_out_is_a_warning_with_its_reasons(tmp_path: Path) -> None:
    report = Exported(tmp_path / "a.csv", 3, [(f"{number}.png", "missing") for number in range(60)])
    message = exported_message(report, "3 images exported.", Remedy("Use", lambda: None))
    assert (message.level, message.text) == ("warning", "3 images exported. 60 left out.")
    assert message.details.splitlines()[0] == "0.png: missing"
    assert message.details.splitlines()[-1] == "and 10 more"
    assert message.remedy is not None
    assert message.remedy.label == "Use"
    assert exported_message(Exported(tmp_path, 1), "1 image exported.").level == "info"
