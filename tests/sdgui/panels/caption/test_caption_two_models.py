"""Two captioning models that fail and resume, and edits of shown, selected or uncaptioned images."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, Qt
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.panels.caption.list.replace import finder
from sdgui.panels.caption.list.rows import CAPTION
from sdgui.panels.caption.model import HAND, Entry, ModelCaptions
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.worker.replies import Failure
from tests.sdgui.panels.caption.conftest import CTRL, OpenPanel, texts
from tests.sdgui.panels.caption.test_caption_maker import FACTS, caption
from tests.sdgui.panels.caption.test_caption_requests_and_menus import Works, works

__all__ = ["works"]  # fixture
SAID = ModelCaptions("k", (Candidate("a red cat", -1.0, -0.5), Candidate("a cat", -2.0, -0.7)))


def test_each_model_goes_on_with_what_it_left_itself_and_once(works: Works) -> None:
    work, model = works.work, works.model
    model.add_paths(["a", "b"])
    work.compares = True
    work.caption(["a", "b"])
    one, two = works.workers["one"], works.workers["two"]
    for worker in (one, two):
        worker.answer("caption_open", FACTS)
        caption(worker, 0)
    caption(one, 1)
    one.answer("caption", {})
    two.failed.emit(len(two.asked), Failure("It ended."))
    count, remedy = len(one.asked), works.messages[-1].remedy
    assert remedy is not None
    remedy.do()
    two.answer("caption_open", FACTS)
    assert (works.asked("two"), len(one.asked)) == (["b"], count), "the first has left nothing"
    caption(two, 0)
    two.answer("caption", {})
    count = len(two.asked)
    remedy.do()
    assert (len(two.asked), work.busy) == (count, False), "nothing is left any more"


def filled(panel: CaptionsPanel) -> CaptionsPanel:
    """Images that a model captioned, a person did, and none did."""
    entries = [
        Entry("/p/a.png", 0).with_captions("a", SAID), Entry("/p/b.png", 1, "a red dog", HAND), Entry("/p/c.png", 2),
    ]  # fmt: skip
    panel.model.add(entries)
    return panel


def replaced(panel: CaptionsPanel, words: str, replacement: str) -> list[str]:
    panel.edits.replace_all(finder(words, replacement, case=True, whole_words=True, regular=False))
    return texts(panel)


def test_a_word_that_is_taken_out_leaves_no_gap_and_what_changes_nothing_is_no_step(open_panel: OpenPanel) -> None:
    panel = filled(open_panel())
    assert replaced(panel, "red", "") == ["a cat", "a dog", ""]
    assert (panel.model.at(0).origin, panel.model.at(1).origin) == ("a", HAND), "the model's own words are the model's"
    assert panel.view.bar.text == "Replaced 2 in 2 captions."
    panel.view.bar.clear()
    assert replaced(panel, "cat", "cat") == ["a cat", "a dog", ""]
    assert (panel.undo.count(), panel.view.bar.message) == (1, None)
    panel.undo.undo()
    assert texts(panel) == ["a red cat", "a red dog", ""]
    panel.model.remove([entry.path for entry in panel.model.entries()])


def test_what_a_filter_hides_is_not_replaced_and_yet_exported(open_panel: OpenPanel) -> None:
    panel = filled(open_panel())
    panel.view.tools.words.setText("dog")
    panel.view.tools._emit_filter()
    assert panel.model.rowCount() == 1
    assert replaced(panel, "red", "blue") == ["a red cat", "a blue dog", ""]
    assert [Path(one.path).name for one in panel._to_export()] == ["a.png", "b.png"]
    panel.model.remove([entry.path for entry in panel.model.entries()])


def test_a_image_without_a_caption_does_not_go_to_the_basket(qtbot: QtBot, open_panel: OpenPanel) -> None:
    panel = filled(open_panel())
    basket = panel._services.basket
    panel.view.list.setFocus()
    panel.view.list.choose("/p/c.png")
    qtbot.keyClick(panel.view.list, Qt.Key.Key_B, CTRL | Qt.KeyboardModifier.AltModifier)
    panel._services.writer.wait()
    assert panel._services.store.fixes() == ()
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    panel.view.list.selectionModel().select(panel.model.index(1, CAPTION), flags)
    qtbot.keyClick(panel.view.list, Qt.Key.Key_B, CTRL | Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: basket.count == 1)
    assert [entry.fix.path for entry in panel._services.store.fixes()] == ["/p/b.png"]
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Home)  # no Control is held any more
    panel.model.remove([entry.path for entry in panel.model.entries()])
