"""The list of captions after a restart, its settings, its exports, and many images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from sdgui.panels.caption import persistence as caption_persistence
from sdgui.panels.caption.export import CAPTION_FORMATS
from sdgui.panels.caption.list.rows import CAPTION
from sdgui.panels.caption.model import HAND
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.store.captions import KeptCaption
from sdgui.store.records import StoreError
from tests.sdgui.panels.caption.conftest import OpenPanel, drop, images, texts


def test_many_are_written_in_parts_and_all_are_there_when_the_place_is_closed_amid_it(
    open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_panel()
    store, parts = panel._services.store, list[int]()
    write = store.keep_captions

    def count_and_write(entries: Sequence[KeptCaption], origins: Mapping[str, Mapping[str, Any]]) -> None:
        parts.append(len(entries))
        write(entries, origins)

    monkeypatch.setattr(store, "keep_captions", count_and_write)
    panel.add_paths([f"/images/{number}.png" for number in range(1000)])
    before = panel.model.entries()
    again = open_panel()  # closes the first while it writes
    assert max(parts) <= 120
    assert sum(parts) == 1000
    assert again.model.entries() == before


def test_what_was_typed_is_on_its_way_to_the_store_when_the_panel_is_left(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    panel.persistence.flush()
    panel.edits.write({panel.model.at(0).path: ("a red kite", HAND)}, "Edit")
    panel.left()
    assert not panel.persistence._timer.isActive(), "a window that is killed now loses nothing"
    panel.persistence.close()
    entries, _ = panel._services.store.captions()
    assert [entry.text for entry in entries] == ["a red kite"]


def test_a_list_that_cannot_be_read_says_so_and_takes_what_is_dropped_once_it_can(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    panel.persistence.close()
    services, held = panel._services, [True]
    read = services.store.captions

    def captions(*where: Any) -> Any:
        if held[0]:
            raise StoreError("Another program holds the database.")
        return read(*where)

    monkeypatch.setattr(services.store, "captions", captions)
    monkeypatch.setattr(caption_persistence, "_AGAIN_MS", 100)
    again = CaptionsPanel(services)
    qtbot.addWidget(again)
    again.show()
    again.entered()
    qtbot.waitUntil(lambda: "Another program holds the database." in again.view.bar.text)
    again.view.bar.clear()
    again.add_paths(images(tmp_path, "b.png"))
    assert again.view.bar.text.endswith("is read again until it succeeds. 1 image waits for it.")
    held[0] = False
    again.view.bar.press_remedy()
    qtbot.waitUntil(lambda: len(again.model) == 2 and not again.work.busy)
    assert [entry.name for entry in again.model.entries()] == ["a.png", "b.png"]
    again.persistence.close()
    again.view.list.close_threads()
    again.view.target.close_threads()


def test_the_list_is_there_again_though_the_window_was_not_closed(
    qtbot: QtBot, panel: CaptionsPanel, open_panel: OpenPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, images(tmp_path / "p", "a.png", "bad.png", "c.png", "d.png"))
    panel.edits.type(panel.model.at(0).path, "mine\n 🦊")
    panel.view.list.choose(panel.model.at(3).path)
    panel.edits.remove()
    before, origins = panel.model.entries(), dict(panel._origins)
    panel.view.list.choose(panel.model.at(2).path)
    made_by = panel.view.detail.origin.text()
    store = panel._services.store  # as a window that is killed leaves it: nothing is said to the place
    qtbot.waitUntil(lambda: [kept.text for kept in store.captions()[0]] == [entry.text for entry in before])
    again = open_panel()
    qtbot.waitUntil(lambda: len(again.model) == 3)
    assert again.model.entries() == before
    assert again._origins == origins
    again.view.list.choose(again.model.at(2).path)
    assert again.view.detail.origin.text() == made_by != ""
    assert again.view.tools.pickers["a"].choice() is not None, "the model is remembered"
    drop(qtbot, again, images(tmp_path / "q", "e.png"))
    qtbot.waitUntil(lambda: texts(again)[-1] == "a e indeed")


def test_settings_that_cannot_be_used_say_why_on_their_field(panel: CaptionsPanel, open_panel: OpenPanel) -> None:
    sheet = panel.view.settings
    sheet.rows["captions"].set_text("9")
    sheet.rows["captions"].edited.emit("captions")
    assert "raise beams to 9" in sheet.errors()["captions"]
    assert sheet.settings.captions == 3
    sheet.rows["search"].set_text("sample")
    sheet.rows["search"].edited.emit("search")
    assert sheet.errors() == {}
    assert (sheet.settings.search, sheet.settings.captions) == ("sample", 9)
    assert sheet.rows["beams"].isHidden()
    assert not sheet.rows["temperature"].isHidden()
    assert not sheet.rows["seed"].isHidden()
    sheet.rows["top_p"].set_text("1.5")
    sheet.rows["top_p"].edited.emit("top_p")
    assert "top_p" in sheet.errors()
    assert panel.view.tools.how.text() == "sample, seed 0 · 9 captions"
    assert open_panel().view.settings.settings.captions == 9


def test_every_way_out_is_among_the_actions(panel: CaptionsPanel) -> None:
    actions = panel.view.tools.export.menu().actions()
    assert [action.objectName().removeprefix("captions_") for action in actions] == [
        "export_text",
        "export_csv",
        "export_jsonl",
        "export_coco",
        "source",
        "export_data",
    ]
    assert all(action.statusTip() for action in actions)


def test_an_export_of_nothing_says_so(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    (path,) = images(tmp_path, "a.png")
    drop(qtbot, panel, [path])
    Path(path).with_suffix(".txt").write_text("my own")
    panel.files.write(CAPTION_FORMATS[0].write, Path(), force=False)
    qtbot.waitUntil(lambda: "exported" in panel.view.bar.text)
    assert panel.view.bar.text == "No caption was exported; 1 left out."
    assert panel.view.bar._action.isHidden()
    assert "already exists." in panel.view.bar._details.toPlainText()


def test_a_file_that_the_dialog_did_not_ask_about_is_not_overwritten(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(qtbot, panel, images(tmp_path / "p", "a.png"))
    there = tmp_path / "mine.csv"
    there.write_text("precious")
    export = next(slot for kind, slot in panel.files.slots() if kind.name == "csv")
    answers = iter([str(tmp_path / "mine"), str(there)])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_args, **_more: (next(answers), ""))
    export()  # typed without its ending: the dialog looked for another file
    qtbot.waitUntil(lambda: not panel.files.task.running)
    assert there.read_text() == "precious"
    assert panel.view.bar.text == f"{there} already exists; choose another name."
    export()  # named whole: the dialog has asked
    qtbot.waitUntil(lambda: not panel.files.task.running)
    assert "a a indeed" in there.read_text()


def test_ten_thousand_images_read_only_the_thumbnails_in_view(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    panel.view.tools.pickers["a"]._entry = None  # nothing captions them
    panel.add_paths([f"/nowhere/{number}.png" for number in range(10_000)])
    panel.view.list.thumbnails.close()
    asked: list[Path] = []
    panel.view.list.thumbnails.get = lambda path: asked.append(path)  # type: ignore[method-assign]
    panel.view.list.scrollToBottom()
    panel.view.list.viewport().repaint()
    assert Path("/nowhere/9999.png") in asked
    assert len(set(asked)) < 40
    assert panel.model.index(9_999, CAPTION).data(Qt.ItemDataRole.AccessibleTextRole) == "9999.png: without a caption"


def test_captions_become_training_data_and_a_config(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    panel.files.save_training_data()
    qtbot.waitUntil(lambda: "1 caption saved as training data" in panel.view.bar.text)
    assert panel.view.bar.message is not None
    remedy = panel.view.bar.message.remedy
    assert remedy is not None
    with qtbot.waitSignal(panel.define_asked) as defined:
        remedy.do()
    (config,) = defined.args or [None]
    assert config is not None
    assert Path(config.data.train).is_file()
    assert Path(config.data.train).parent.name == "captions"
