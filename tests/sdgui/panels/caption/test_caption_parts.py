"""Captions: what is filtered, shown, kept and exported of an image, and the questions before an export."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.panels.caption.export import _safe
from sdgui.panels.caption.list.replace import finder
from sdgui.panels.caption.list.rows import CAPTION
from sdgui.panels.caption.model import HAND_WRITTEN, Entry, ModelCaptions, provenance, to_captioned_image
from sdgui.panels.caption.next_step import CHOOSE_IMAGES_STEP, TRAIN_DEMO_STEP
from sdgui.panels.caption.panel import CaptionsPanel
from tests.sdgui.panels.caption.conftest import MODEL, OpenPanel, drop, images, texts

A, B = (ModelCaptions(key, (Candidate(f"{key} best", -1.0, -0.5), Candidate(f"{key} next"))) for key in ("a", "b"))
ORIGINS = {"a": {"model": "one"}, "b": {"model": "two"}}


def both() -> Entry:
    return Entry("/p/x.png", 0).with_captions("a", A).with_captions("b", B)


def test_provenance_names_the_author_of_a_caption() -> None:
    entry = both()
    assert provenance(entry, ORIGINS) == {"model": "one"}
    assert provenance(entry.with_text("b next", "b"), ORIGINS) == {"model": "two"}
    hand = entry.with_text("a best", HAND_WRITTEN)
    assert provenance(hand, ORIGINS) == {"model": "one", "edited": True}
    assert to_captioned_image(hand, ORIGINS).captions == (Candidate("a best"),), "what a person wrote has no score"
    assert to_captioned_image(entry, ORIGINS).captions == (Candidate("a best", -1.0, -0.5),)
    assert provenance(Entry("/p/y.png", 1, "mine", HAND_WRITTEN), ORIGINS) == {"edited": True}


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
    [
        ("a b,c.PNG", "a_b_c.png"),
        ("é.jpg", "image.jpg"),
        ("no-ending", "no-ending"),
        (".png", "image.png"),
        ("..", "image"),
        ("x" * 90 + ".jpeg", "x" * 60 + ".jpeg"),
    ],
)
def test_file_names_are_valid_on_every_system(name: str, expected: str) -> None:
    assert _safe(name) == expected


def test_only_the_selection_is_captioned_again_and_exported(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, images(tmp_path, "a.png", "b.png", "bad.png"))
    assert [Path(one.path).name for one in panel._to_export()] == ["a.png", "b.png"], "what has a caption"
    panel.view.settings.set_settings(panel.view.settings.settings.model_copy(update={"prompt": "see"}))
    panel.view.list.choose(panel.model.entry_at(1).path)
    panel.caption_selected()
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["a a indeed", "see a b indeed", ""]
    panel.view.tools.filter_box.setText("a.png")
    panel.view.tools._emit_filter()
    panel.caption_shown()
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["see a a indeed", "see a b indeed", ""]
    panel.view.tools.filter_box.clear()
    panel.view.tools._emit_filter()
    panel.model.add_paths([str(tmp_path / "c.png")])
    panel.model.update([panel.model.entry_at(3).with_text("mine", HAND_WRITTEN)])
    panel.view.list.clearSelection()
    flags = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    for row in (0, 3):
        panel.view.list.selectionModel().select(panel.model.index(row, CAPTION), flags)
    assert [Path(one.path).name for one in panel._to_export()] == ["a.png", "c.png"]
    dragged = panel.model.mimeData([panel.model.index(row, 0) for row in (0, 1)])
    assert [Path(url.toLocalFile()).name for url in dragged.urls()] == ["a.png", "b.png"]
    assert dragged.text() == "see a a indeed\nsee a b indeed"


def test_another_model_captions_only_new_images(
    qtbot: QtBot, open_panel: OpenPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdgui.shared.pickers.entries.included_models", list)
    panel = open_panel()
    opened: list[object] = []
    panel.work.makers["a"].opened.connect(opened.append)
    assert panel.view.empty.accessibleDescription().startswith(TRAIN_DEMO_STEP[1][:20])
    assert panel.view.tools.pickers["a"].set_choice(MODEL)
    assert panel.view.empty.accessibleDescription().startswith(CHOOSE_IMAGES_STEP[1][:20])
    qtbot.waitUntil(lambda: bool(opened))  # loaded before the first image
    paths = images(tmp_path, "a.png", "slow.png")
    panel.view.target.accept_paths(paths)
    qtbot.waitUntil(lambda: len(panel.model) == 2 and texts(panel)[0] == "a a indeed")
    panel.caption_uncaptioned()
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
