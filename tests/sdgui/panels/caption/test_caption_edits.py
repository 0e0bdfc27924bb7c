"""Captions edited: typed, accepted, replaced, removed, filtered; each edit can be undone."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.panels.caption.maker import Answer
from sdgui.panels.caption.model import HAND_WRITTEN, ModelCaptions
from sdgui.panels.caption.panel import CaptionsPanel
from tests.sdgui.panels.caption.conftest import CTRL, SHIFT, drop, images, texts


def test_a_caption_is_edited_in_place_by_keys_and_undone(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    paths = images(tmp_path, "a.png", "b.png")
    drop(qtbot, panel, paths)
    panel.view.list.setFocus()
    panel.view.list.choose(panel.model.entry_at(1).path)
    qtbot.keyClicks(panel.view.list, "m")
    editor = panel.window().focusWidget()
    qtbot.keyClicks(editor, "y words")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert texts(panel) == ["a a indeed", "my words"]
    assert panel.model.entry_at(1).state == "edited"
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Z, CTRL)
    assert texts(panel) == ["a a indeed", "a b indeed"]
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Z, CTRL | SHIFT)
    assert texts(panel)[1] == "my words"
    panel.edits.set_typed_text(panel.model.entry_at(1).path, "a b hardly")
    assert panel.model.entry_at(1).author == "a", "typing what the model said is the model's caption again"

    # A candidate is chosen by its number.
    panel.view.list.choose(paths[0])
    qtbot.keyClick(panel.view.list, Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert texts(panel) == ["a a perhaps", "a b hardly"]
    assert panel.model.data(panel.model.index(0, 2)) == "−0.500"
    assert "mean log-prob per token −0.500 · log p −2.000" in panel.view.detail.candidates.item(1).text()
    panel.undo.undo()
    assert texts(panel)[0] == "a a indeed"

    # An offer to undo disappears with the next edit. The detail shows the current image.
    assert panel.view.detail.name.text() == "a.png"
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Down)
    assert panel.view.detail.name.text() == "b.png"
    panel.view.replace.open()
    panel.view.replace.find_box.setText("a")
    panel.view.replace.replacement.setText("the")
    qtbot.keyClick(panel.view.replace.replacement, Qt.Key.Key_Return)
    assert panel.view.bar.text == "Replaced 4 in 2 captions."
    panel.edits.write({paths[1]: ("my words", HAND_WRITTEN)}, "Edit")
    assert panel.view.bar.message is None, "undoing it would undo the edit since"

    # A removed image returns to its place; an answer for an image that is gone is dropped.
    panel.view.list.setFocus()
    panel.view.list.choose(paths[0])
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Delete)
    assert texts(panel) == ["my words"]
    assert panel.view.list.current_path() == paths[1]
    panel.work._update_entries("a", [Answer(paths[0], ModelCaptions("origin", (Candidate("a ghost"),)))])
    assert texts(panel) == ["my words"]
    panel.undo.undo()
    assert [entry.path for entry in panel.model.entries()] == paths

    # Selected captions go to the basket, and all of them become training data.
    panel.view.list.choose(paths[1])
    qtbot.keyClick(panel.view.list, Qt.Key.Key_B, CTRL | Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: panel._services.basket.count == 1)
    (entry,) = panel._services.store.fixes()
    assert (entry.source, entry.fix.kind, entry.fix.path, entry.fix.value) == ("", "recaptioned", paths[1], "my words")
    panel.files.save_training_data()
    qtbot.waitUntil(lambda: "2 captions saved as training data" in panel.view.bar.text)
    with qtbot.waitSignal(panel.new_experiment_requested) as defined:
        panel.view.bar.press_remedy()
    (config,) = defined.args or [None]
    assert config is not None
    assert Path(config.data.train).is_file()
    assert Path(config.data.train).parent.name == "captions"


def test_find_and_replace_counts_and_is_one_step(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "ab.png", "c.png"))
    panel.view.replace.open()
    assert not panel.view.replace.isHidden()
    panel.view.replace.whole_words.setChecked(True)
    panel.view.replace.find_box.setText("A")
    qtbot.waitUntil(lambda: panel.view.replace.count_label.text() == "4 in 3 captions")
    assert panel.view.replace.button.isEnabled()
    panel.view.replace.case.setChecked(True)
    assert panel.view.replace.count_label.text() == "none"
    assert not panel.view.replace.button.isEnabled()
    panel.view.replace.case.setChecked(False)
    panel.view.replace.regular.setChecked(True)
    panel.view.replace.find_box.setText("a (a|ab) (")
    qtbot.waitUntil(lambda: panel.view.replace.count_label.text() == "invalid pattern")
    assert not panel.view.replace.button.isEnabled()
    panel.view.replace.find_box.setText("a (ab?) indeed")
    panel.view.replace.replacement.setText(r"\1!")
    qtbot.keyClick(panel.view.replace.replacement, Qt.Key.Key_Return)
    assert texts(panel) == ["a!", "ab!", "a c indeed"]
    assert panel.view.bar.text == "Replaced 2 in 2 captions."
    panel.undo.undo()
    assert panel.view.bar.message is None, "there is nothing to undo any more"
    assert texts(panel)[0] == "a a indeed"
    qtbot.keyClick(panel.view.replace.replacement, Qt.Key.Key_Return)
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
        panel.view.replace.find_box.setText("indeed")
        panel.view.replace.recount()
        assert panel.view.replace.count_label.text() == found, "in those that are selected, if there are several"
    panel.view.replace.replacement.setText("perhaps")
    panel.view.replace.find_box.setText("dog")
    panel.view.replace.button.click()
    assert (panel.view.replace.count_label.text(), panel.undo.canUndo()) == ("none", False), "counted once more before"
    panel.view.replace.find_box.setText("indeed")
    panel.view.replace.recount()
    panel.view.replace.button.click()
    assert texts(panel) == ["a a indeed", "a ab perhaps", "a c perhaps"]


def test_undoing_a_removal_leaves_images_added_again(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    paths = images(tmp_path, "a.png", "b.png", "c.png", "d.png")
    drop(qtbot, panel, paths)
    for path in paths[1], paths[3]:
        panel.edits.set_typed_text(path, "mine, typed first")
    panel.view.list.selectAll()
    panel.edits.remove()
    drop(qtbot, panel, [*paths[:2], paths[3]])
    panel.model.update([panel.model.entry_at(row).with_text("typed since", "hand") for row in (0, 2)])
    panel.undo.undo()
    entries = panel.model.visible_entries()
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
    panel.caption_shown()
    qtbot.waitUntil(lambda: texts(panel)[1] == "see a b indeed")
    panel.edits.set_typed_text(panel.model.entry_at(0).path, "mine")
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["mine", "see a b indeed", "see a later indeed"]
    panel.undo.undo()
    assert texts(panel) == ["mine", "a b indeed", "a later indeed"]
    assert panel.model.entry_at(0).state == "edited"
    assert panel.model.entry_at(0).captions["a"].candidates[0].text == "a a indeed", (
        "its candidates are the earlier ones"
    )
    panel.undo.redo()
    assert texts(panel) == ["mine", "see a b indeed", "see a later indeed"]
    assert panel.model.entry_at(0).state == "edited"
    panel.undo.undo()
    panel.undo.undo()
    assert texts(panel)[0] == "see a a indeed", "typing was the step before"


def test_the_filter_has_states_and_words_and_copying_takes_the_selection(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "bad.png", "c.png", "d.png"))
    panel.edits.set_typed_text(panel.model.entry_at(2).path, "mine")
    panel.edits.set_typed_text(panel.model.entry_at(3).path, "")
    panel.model.update([panel.model.entry_at(0).with_captions("b", ModelCaptions("b", (Candidate("another"),)))])

    def shown() -> str:
        return "".join(entry.name[0] for entry in panel.model.visible_entries())

    found = {}
    for title in (
        "All images",
        "Without a caption",
        "Captioned",
        "Edited by hand",
        "Failed",
        "Captions differ between models",
    ):
        panel.view.tools.show_state(title)
        found[title] = shown()
    assert found == {
        "All images": "abcd", "Without a caption": "d", "Captioned": "ac", "Edited by hand": "c", "Failed": "b",
        "Captions differ between models": "a",
    }  # fmt: skip
    panel.view.tools.show_state("Captioned")
    panel.view.list.selectAll()
    panel.view.show_counts()
    assert panel.view.counts.text().endswith("2 selected")
    panel.view.replace.open()
    panel.view.replace.find_box.setText("indeed")
    panel.view.replace.recount()
    assert panel.view.replace.count_label.text() == "1 in 1 caption", "in what is shown"
    qtbot.keyClick(panel.view.replace, Qt.Key.Key_Escape)
    panel.focus_search()
    qtbot.keyClicks(panel.view.tools.filter_box, "A INDEED")
    qtbot.waitUntil(lambda: shown() == "a")
    panel.view.tools.show_state("Edited by hand")
    assert shown() == "", "words search within the state"
    panel.view.tools.show_state("All images")
    panel.view.tools.filter_box.clear()
    qtbot.waitUntil(lambda: shown() == "abcd")
    panel.view.list.selectAll()
    panel.view.list.copy()
    clipboard = QGuiApplication.clipboard()
    assert clipboard.text().split("\n") == texts(panel)
    assert [url.toLocalFile() for url in clipboard.mimeData().urls()] == [one.path for one in panel.model.entries()]
    panel.view.list.clearSelection()
    clipboard.setText("mine")
    panel.view.list.copy()
    assert clipboard.text() == "mine", "nothing is selected"
    clipboard.clear()  # offscreen, what it holds outlives the application
