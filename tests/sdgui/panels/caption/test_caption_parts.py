"""Captions: what is filtered, shown, kept and exported of an image, and the questions before an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.panels.caption.export import _safe
from sdgui.panels.caption.list.commands import typed
from sdgui.panels.caption.list.replace import finder
from sdgui.panels.caption.list.rows import CAPTION
from sdgui.panels.caption.maker import Answer
from sdgui.panels.caption.model import HAND, Entry, ModelCaptions, provenance, to_captioned_image
from sdgui.panels.caption.next_step import ADD, TRAIN
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.shared.pickers.entries import ModelChoice, remember
from sdgui.worker.replies import Cancelled
from tests.sdgui.panels.caption.conftest import MODEL, OpenPanel, drop, images, texts

A, B = (ModelCaptions(key, (Candidate(f"{key} best", -1.0, -0.5), Candidate(f"{key} next"))) for key in ("a", "b"))
ORIGINS = {"a": {"model": "one"}, "b": {"model": "two"}}


def both() -> Entry:
    return Entry("/p/x.png", 0).with_captions("a", A).with_captions("b", B)


def test_provenance_names_the_author_of_a_caption() -> None:
    entry = both()
    assert provenance(entry, ORIGINS) == {"model": "one"}
    assert provenance(entry.with_text("b next", "b"), ORIGINS) == {"model": "two"}
    hand = entry.with_text("a best", HAND)
    assert provenance(hand, ORIGINS) == {"model": "one", "edited": True}
    assert to_captioned_image(hand, ORIGINS).captions == (Candidate("a best"),), "what a person wrote has no score"
    assert to_captioned_image(entry, ORIGINS).captions == (Candidate("a best", -1.0, -0.5),)
    assert provenance(Entry("/p/y.png", 1, "mine", HAND), ORIGINS) == {"edited": True}


def test_a_later_model_takes_over_only_unedited_captions() -> None:
    assert Entry("/p/x.png", 0, refused="gone").with_captions("a", A).refused == ""
    taken = both().with_text("b best", "b")
    assert taken.with_captions("a", A).text == "b best", "the user chose the second model's"
    assert typed(both(), "b next") == ("b next", "b")
    assert typed(both(), "mine") == ("mine", HAND)
    assert typed(both(), "") == ("", "")


def test_find_and_replace_treats_text_literally() -> None:
    plain = finder("a.c", r"\1", case=False, whole_words=False, regular=False)
    assert plain.replaced("abc A.C") == (r"abc \1", 1)
    assert finder("cat", "dog", case=True, whole_words=True, regular=False).replaced("cat Cat cats") == (
        "dog Cat cats",
        1,
    )
    either = finder("cat|dog", "pet", case=True, whole_words=True, regular=True)
    assert either.replaced("cat catalog hotdog dog") == ("pet catalog hotdog pet", 2), "each of them a whole word"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a b,c.PNG", "a_b_c.png"), ("é.jpg", "image.jpg"), ("no-ending", "no-ending"), (".png", "image.png")],
)
def test_file_names_are_valid_on_every_system(name: str, expected: str) -> None:
    assert _safe(name) == expected


def test_the_filter_knows_every_state(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "bad.png", "c.png", "d.png"))
    panel.edits.type(panel.model.at(2).path, "mine")
    panel.edits.type(panel.model.at(3).path, "")
    other = ModelCaptions("b", (Candidate("another"),))
    panel.model.update([panel.model.at(0).with_captions("b", other)])
    found = {}
    for title in ("All images", "Without a caption", "Captioned", "Edited by hand", "Refused", "Models differ"):
        panel.view.tools.show_state(title)
        found[title] = "".join(entry.name[0] for entry in panel.model.shown())
    assert found == {
        "All images": "abcd",
        "Without a caption": "d",
        "Captioned": "ac",
        "Edited by hand": "c",
        "Refused": "b",
        "Models differ": "a",
    }
    panel.view.tools.show_state("Captioned")
    panel.view.list.selectAll()
    panel.view.show_counts()
    assert panel.view.counts.text().endswith("2 selected")
    panel.view.replace.open()
    panel.view.replace.words.setText("indeed")
    panel.view.replace.recount()
    assert panel.view.replace.count_label.text() == "1 in 1 captions", "in what is shown"
    panel.view.tools.show_state("All images")
    qtbot.keyClick(panel.view.replace, Qt.Key.Key_Escape)
    assert panel.view.replace.isHidden()


def test_only_the_selection_is_captioned_again_and_exported(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "b.png", "bad.png"))
    assert [Path(one.path).name for one in panel._to_export()] == ["a.png", "b.png"], "what has a caption"
    panel.view.settings.set_settings(panel.view.settings.settings.model_copy(update={"prompt": "see"}))
    panel.view.list.choose(panel.model.at(1).path)
    panel.caption_selected()
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["a a indeed", "see a b indeed", ""]
    panel.view.tools.words.setText("a.png")
    panel.view.tools._emit_filter()
    panel.caption_all()
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["see a a indeed", "see a b indeed", ""]
    panel.view.tools.words.clear()
    panel.view.tools._emit_filter()
    panel.model.add_paths([str(tmp_path / "c.png")])
    panel.model.update([panel.model.at(3).with_text("mine", HAND)])
    panel.view.list.clearSelection()
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    for row in (0, 3):
        panel.view.list.selectionModel().select(panel.model.index(row, CAPTION), flags)
    assert [Path(one.path).name for one in panel._to_export()] == ["a.png", "c.png"]
    dragged = panel.model.mimeData([panel.model.index(row, 0) for row in (0, 1)])
    assert [Path(url.toLocalFile()).name for url in dragged.urls()] == ["a.png", "b.png"]
    assert dragged.text() == "see a a indeed\nsee a b indeed"


def test_a_training_folder_is_new_and_dialogs_open_in_the_last_folder(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(qtbot, panel, images(tmp_path / "p", "a.png"))
    ways = {kind.name: slot for kind, slot in panel.files.slots()}
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions" / "mine").touch()
    ways["data"]()
    qtbot.waitUntil(lambda: (tmp_path / "captions-2" / "train.csv").is_file() and not panel.files.task.running)
    asked: list[Any] = []

    def choose(_over: object, _title: str, start: str, *_rest: Any, **_more: Any) -> tuple[str, str]:
        asked.append(Path(start).parent)
        return str(tmp_path / "out" / "x.csv"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    (tmp_path / "out").mkdir()
    for _ in range(2):
        ways["csv"]()
        qtbot.waitUntil(lambda: not panel.files.task.running)
    assert asked[1] == tmp_path / "out"
    panel.files._show_failure(Cancelled())
    assert panel.view.bar.text == "The export was cancelled. Text files that are already written are kept."
    panel.model.remove([entry.path for entry in panel.model.entries()])
    ways["csv"]()
    assert panel.view.bar.text == "There are no captions to export yet."


def test_another_model_captions_only_new_images(
    qtbot: QtBot, open_panel: OpenPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdgui.shared.pickers.entries.included_models", list)
    panel = open_panel()
    assert panel.view.empty.accessibleDescription().startswith(TRAIN[1][:20])
    assert panel.view.tools.pickers["a"].set_choice(MODEL)
    assert panel.view.empty.accessibleDescription().startswith(ADD[1][:20])
    qtbot.waitUntil(lambda: panel.work.makers["a"].facts is not None)  # loaded before the first image
    paths = images(tmp_path, "a.png", "slow.png")
    panel.view.target.take_paths(paths)
    qtbot.waitUntil(lambda: len(panel.model) == 2 and texts(panel)[0] == "a a indeed")
    panel.caption_waiting()
    panel.work.caption([paths[1]])
    assert panel.work.makers["a"]._total == 2, "what is being captioned is not asked for again"
    panel.view.list.setFocus()
    panel.view.list.choose(paths[0])
    panel.view.list.setCurrentIndex(panel.model.index(0, 0))
    qtbot.keyClick(panel.view.list, Qt.Key.Key_Return)
    editor = panel.window().focusWidget()
    assert editor is not panel.view.list
    editor.insertPlainText("two\nlines")  # type: ignore[union-attr]
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert texts(panel)[0] == "two lines"
    panel.view.list.setCurrentIndex(panel.model.index(0, 0))
    qtbot.keyClick(panel.view.list, "x")
    assert panel.view.list.currentIndex().column() == CAPTION
    panel.view.strip.cancelled.emit()
    qtbot.waitUntil(lambda: not panel.work.busy)


def test_a_caption_for_a_removed_image_is_dropped(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png"))
    gone = Answer(str(tmp_path / "gone.png"), ModelCaptions("origin", (Candidate("a ghost"),)))
    there = Answer(str(tmp_path / "a.png"), ModelCaptions("origin", (Candidate("a new one"),)))
    panel.work._update_entries("a", [gone, there])
    assert texts(panel) == ["a new one"]


def test_the_panels_own_model_is_restored_after_other_use(open_panel: OpenPanel) -> None:
    panel = open_panel()
    assert panel.view.tools.pickers["a"].set_choice(MODEL)
    panel.on_leave()
    other = ModelChoice("open_clip:coca_ViT-L-14,laion2b_s13b_b90k", "", "used elsewhere since")
    remember(panel._services.settings, other)
    found = open_panel().view.tools.pickers["a"].choice()
    assert found is not None
    assert found.model == MODEL.model
