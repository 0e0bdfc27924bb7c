"""Captions edited: typed, accepted, replaced, removed, filtered; each edit can be undone."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.panels.caption.model import HAND
from sdgui.panels.caption.panel import CaptionsPanel
from tests.sdgui.panels.caption.conftest import CTRL, SHIFT, drop, images, texts


def test_a_caption_is_edited_in_place_by_keys_and_undone(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "b.png"))
    panel.view.list.setFocus()
    panel.view.list.choose(panel.model.at(1).path)
    qtbot.keyClicks(panel.view.list, "m")
    editor = panel.view.list.findChild(QWidget, "") or panel.view.list.viewport().focusWidget()
    assert editor is not None
    editor = panel.window().focusWidget()
    qtbot.keyClicks(editor, "y words")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert texts(panel) == ["a a indeed", "my words"]
    assert panel.model.at(1).state == "edited"
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Z, CTRL)
    assert texts(panel) == ["a a indeed", "a b indeed"]
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Z, CTRL | SHIFT)
    assert texts(panel)[1] == "my words"
    panel.edits.type(panel.model.at(1).path, "a b hardly")
    assert panel.model.at(1).origin == "a", "typing what the model said is the model's caption again"


def test_a_candidate_is_chosen_by_its_number(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    panel.view.list.setFocus()
    qtbot.keyClick(panel.view.list, Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert texts(panel) == ["a a perhaps"]
    assert panel.model.data(panel.model.index(0, 2)) == "−0.500"
    assert "mean log-prob per token −0.500 · log p −2.000" in panel.view.detail.candidates.item(1).text()
    panel.undo.undo()
    assert texts(panel) == ["a a indeed"]


def test_find_and_replace_counts_and_is_one_step(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "ab.png", "c.png"))
    panel.view.replace.open()
    assert not panel.view.replace.isHidden()
    panel.view.replace.whole_words.setChecked(True)
    panel.view.replace.words.setText("A")
    qtbot.waitUntil(lambda: panel.view.replace.count_label.text() == "4 in 3 captions")
    assert panel.view.replace.button.isEnabled()
    panel.view.replace.case.setChecked(True)
    assert panel.view.replace.count_label.text() == "none"
    assert not panel.view.replace.button.isEnabled()
    panel.view.replace.case.setChecked(False)
    panel.view.replace.regular.setChecked(True)
    panel.view.replace.words.setText("a (a|ab) (")
    qtbot.waitUntil(lambda: panel.view.replace.count_label.text() == "invalid pattern")
    assert not panel.view.replace.button.isEnabled()
    panel.view.replace.words.setText("a (ab?) indeed")
    panel.view.replace.replacement.setText(r"\1!")
    qtbot.keyClick(panel.view.replace.replacement, Qt.Key.Key_Return)
    assert texts(panel) == ["a!", "ab!", "a c indeed"]
    assert panel.view.bar.text == "Replaced 2 in 2 captions."
    assert (panel.view.replace.count_label.text(), panel.view.replace.button.isEnabled()) == ("none", False)
    panel.view.bar.press_remedy()
    assert texts(panel) == ["a a indeed", "a ab indeed", "a c indeed"]
    assert not panel.undo.canUndo()
    panel.view.replace.regular.setChecked(False)
    for rows, found in (((1,), "3 in 3 captions"), ((1, 2), "2 in 2 captions")):
        panel.view.list.clearSelection()
        for row in rows:
            panel.view.list.selectionModel().select(
                panel.model.index(row, 1),
                QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows,
            )
        panel.view.replace.words.setText("indeed")
        panel.view.replace.recount()
        assert panel.view.replace.count_label.text() == found, "in those that are selected, if there are several"
    panel.view.replace.replacement.setText("perhaps")
    panel.view.replace.button.click()
    assert texts(panel) == ["a a indeed", "a ab perhaps", "a c perhaps"]


def test_the_filter_shows_matches_and_copying_takes_the_selection(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    paths = images(tmp_path, "cat.png", "dog.png", "cow.png")
    drop(qtbot, panel, paths)
    panel.focus_search()
    qtbot.keyClicks(panel.view.tools.words, "INDEED co")
    qtbot.waitUntil(lambda: [entry.name for entry in panel.model.shown()] == ["cow.png"])
    panel.view.tools.words.clear()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 3)
    panel.view.list.selectAll()
    panel.view.list.copy()
    clipboard = QGuiApplication.clipboard()
    assert clipboard.text().splitlines() == texts(panel)
    urls = clipboard.mimeData().urls()
    assert [url.toLocalFile() for url in urls] == [entry.path for entry in panel.model.entries()]
    clipboard.clear()  # offscreen, what it holds outlives the application


def test_words_search_within_the_filter(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "cat.png", "bad cat.png", "bad dog.png"))
    panel.view.tools.show_state("Refused")
    assert [entry.name for entry in panel.model.shown()] == ["bad cat.png", "bad dog.png"]
    qtbot.keyClicks(panel.view.tools.words, "cat")
    qtbot.waitUntil(lambda: [entry.name for entry in panel.model.shown()] == ["bad cat.png"])
    panel.view.tools.show_state("All images")
    assert [entry.name for entry in panel.model.shown()] == ["cat.png", "bad cat.png"]


def test_a_removed_image_comes_back_in_its_place(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "b.png", "c.png"))
    panel.view.list.setFocus()
    panel.view.list.choose(panel.model.at(1).path)
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Delete)
    assert texts(panel) == ["a a indeed", "a c indeed"]
    assert panel.view.list.current_path().endswith("c.png")
    panel.undo.undo()
    assert texts(panel) == ["a a indeed", "a b indeed", "a c indeed"]


def test_undoing_a_removal_leaves_images_added_again(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    paths = images(tmp_path, "a.png", "b.png", "c.png", "d.png")
    drop(qtbot, panel, paths)
    for path in paths[1], paths[3]:
        panel.edits.type(path, "mine, typed first")
    panel.view.list.selectAll()
    panel.edits.remove()
    drop(qtbot, panel, [*paths[:2], paths[3]])
    panel.model.update([panel.model.at(row).with_text("typed since", "hand") for row in (0, 2)])
    panel.undo.undo()
    entries = panel.model.shown()
    assert {Path(entry.path).name: entry.text for entry in entries} == {
        "a.png": "typed since",
        "b.png": "mine, typed first",
        "c.png": "a c indeed",
        "d.png": "typed since",
    }, "what a person wrote is never overwritten by what a model said, or by what was written before"
    assert [entry.position for entry in entries] == sorted(entry.position for entry in entries)
    panel.undo.redo()
    assert not texts(panel)
    panel.undo.undo()
    assert "typed since" in texts(panel), "a removal done again is of what was there then"


def test_undoing_captioning_again_keeps_text_typed_meanwhile(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "b.png", "later.png"))
    panel.view.settings.set_settings(panel.view.settings.settings.model_copy(update={"prompt": "see"}))
    panel.caption_all()
    qtbot.waitUntil(lambda: texts(panel)[1] == "see a b indeed")
    panel.edits.type(panel.model.at(0).path, "mine")
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["mine", "see a b indeed", "see a later indeed"]
    panel.undo.undo()
    assert texts(panel) == ["mine", "a b indeed", "a later indeed"]
    assert panel.model.at(0).state == "edited"
    assert panel.model.at(0).captions["a"].candidates[0].text == "a a indeed", "its candidates are the earlier ones"
    panel.undo.redo()
    assert texts(panel) == ["mine", "see a b indeed", "see a later indeed"]
    assert panel.model.at(0).state == "edited"
    panel.undo.undo()
    panel.undo.undo()
    assert texts(panel)[0] == "see a a indeed", "typing was the step before"


def test_selected_captions_go_to_the_basket(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    paths = images(tmp_path, "a.png", "b.png")
    drop(qtbot, panel, paths)
    panel.view.list.setFocus()
    panel.edits.type(paths[1], "my words")
    panel.view.list.choose(paths[1])
    qtbot.keyClick(panel.view.list, Qt.Key.Key_B, CTRL | Qt.KeyboardModifier.AltModifier)
    basket = panel._services.basket
    qtbot.waitUntil(lambda: basket.count == 1)
    (entry,) = panel._services.store.fixes()
    assert (entry.source, entry.fix.kind, entry.fix.path, entry.fix.value) == ("", "recaptioned", paths[1], "my words")


def test_the_detail_shows_the_current_image_and_an_undo_offer_ends_with_the_next_edit(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    first, second = paths = images(tmp_path, "a.png", "b.png")
    drop(qtbot, panel, paths)
    panel.view.list.choose(first)
    assert panel.view.detail.name.text() == "a.png"
    panel.view.list.setFocus()
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Down)
    assert panel.view.detail.name.text() == "b.png"
    panel.view.replace.open()
    panel.view.replace.words.setText("indeed")
    panel.view.replace.replacement.setText("hat")
    qtbot.keyClick(panel.view.replace.replacement, Qt.Key.Key_Return)
    assert panel.view.bar.text == "Replaced 2 in 2 captions."
    panel.edits.write({second: ("mine", HAND)}, "Edit")
    assert panel.view.bar.message is None, "undoing it would undo the edit since"
