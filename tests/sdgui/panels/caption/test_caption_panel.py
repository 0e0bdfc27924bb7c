"""The Caption place with a worker in miniature: captioned, refused, edited, compared, replaced, kept, stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtWidgets import QStyle, QStyleOptionViewItem, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.caption import keeper as captions_keeper
from sdgui.panels.caption.export import export_json_lines
from sdgui.panels.caption.list.rows import CAPTION, SECOND
from sdgui.panels.caption.panel import CaptionsPanel
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.captions import KeptCaption
from sdgui.store.records import StoreError
from sdgui.widgets.actions import Actions
from tests.sdgui.conftest import program

CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
MODEL = ModelChoice("open_clip:coca_ViT-B-32,mscoco_finetuned_laion2b_s13b_b90k", "", "coca")
OpenPanel = Callable[[], CaptionsPanel]


@pytest.fixture
def open_panel(qtbot: QtBot, home: Path, qapp: object) -> Iterator[OpenPanel]:
    """Opens the place on ``home`` (again, if called twice)."""
    make_application()
    opened: list[tuple[CaptionsPanel, QWidget]] = []

    def close() -> None:
        if opened:
            panel, host = opened.pop()
            panel.left()
            panel.work.makers["a"].close()
            panel.work.makers["b"].close()
            panel.keeper.close()
            panel.list.close_threads()
            panel.target.close_threads()
            panel._services.pool.close()
            panel._services.store.close()
            host.close()
            host.deleteLater()
            panel._services.pool.deleteLater()
            qtbot.wait(20)  # both are gone before the next test

    def open_it() -> CaptionsPanel:
        close()
        host = QWidget()
        host.resize(1100, 700)
        panel = CaptionsPanel(make_services(home, worker=program("fake_captioner.py")))
        panel.set_actions(Actions(host))
        QVBoxLayout(host).addWidget(panel)
        opened.append((panel, host))
        host.show()
        host.activateWindow()
        panel.entered()
        qtbot.waitUntil(lambda: panel._held is None)
        return panel

    yield open_it
    close()


@pytest.fixture
def panel(open_panel: OpenPanel) -> CaptionsPanel:
    """With a model chosen."""
    place = open_panel()
    assert place.tools.pickers["a"].set_choice(MODEL)
    return place


def pictures(folder: Path, *names: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    image = QImage(8, 8, QImage.Format.Format_RGB32)
    for name in names:
        image.fill(Qt.GlobalColor.red)
        assert image.save(str(folder / name))
    return [str(folder / name) for name in names]


def texts(panel: CaptionsPanel) -> list[str]:
    return [entry.text for entry in panel.model.entries()]


def drop(qtbot: QtBot, panel: CaptionsPanel, paths: list[str]) -> None:
    panel.target.take_paths(paths)
    qtbot.waitUntil(lambda: not panel.target.busy, timeout=10000)
    qtbot.waitUntil(lambda: len(panel.model) >= len(paths) and not panel.work.busy, timeout=20000)


def test_what_is_dropped_is_captioned_and_what_cannot_be_says_why(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    assert panel.stack.currentWidget() is panel.empty
    paths = pictures(tmp_path / "p", "cat.png", "bad.png", "dog 🦊.png")
    (tmp_path / "p" / "notes.md").write_text("words")
    drop(qtbot, panel, [str(tmp_path / "p"), paths[0]])
    assert texts(panel) == ["", "a cat indeed", "a dog 🦊 indeed"]
    bad, cat, _ = panel.model.entries()
    assert (bad.state, bad.refused) == ("refused", "it is no picture")
    assert [(one.text, one.score) for one in cat.made["a"].candidates] == [
        ("a cat indeed", -0.25),
        ("a cat perhaps", -0.5),
        ("a cat hardly", -0.75),
    ]
    assert panel.bar.text.endswith("1 file that is not a picture was skipped. 1 picture could not be captioned.")
    panel.bar.press_remedy()
    assert [entry.name for entry in panel.model.shown()] == ["bad.png"]
    qtbot.waitUntil(lambda: panel.counts.text() == "3 pictures · 1 shown · 2 captioned · 1 refused")
    panel.list.choose(bad.path)
    assert panel.detail.state.text() == "Refused: it is no picture"


def test_a_caption_is_edited_in_place_by_keys_and_undone(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "b.png"))
    panel.list.setFocus()
    panel.list.choose(panel.model.at(1).path)
    qtbot.keyClicks(panel.list, "m")
    editor = panel.list.findChild(QWidget, "") or panel.list.viewport().focusWidget()
    assert editor is not None
    editor = panel.window().focusWidget()
    qtbot.keyClicks(editor, "y words")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert texts(panel) == ["a a indeed", "my words"]
    assert panel.model.at(1).state == "edited"
    qtbot.keyClick(panel.list, Qt.Key.Key_Z, CTRL)
    assert texts(panel) == ["a a indeed", "a b indeed"]
    qtbot.keyClick(panel.list, Qt.Key.Key_Z, CTRL | SHIFT)
    assert texts(panel)[1] == "my words"
    panel.edits.type(panel.model.at(1).path, "a b hardly")
    assert panel.model.at(1).origin == "a", "typing what the model said is the model's caption again"


def test_a_candidate_is_taken_by_its_number(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png"))
    panel.list.setFocus()
    qtbot.keyClick(panel.list, Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert texts(panel) == ["a a perhaps"]
    assert panel.model.data(panel.model.index(0, 2)) == "-0.5"
    assert "score -0.5 · log p -2" in panel.detail.candidates.item(1).text()
    panel.undo.undo()
    assert texts(panel) == ["a a indeed"]


def test_a_candidate_shows_its_figures_however_narrow_the_column_is(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, pictures(tmp_path, f"{'dog with a long name ' * 4}.png"))
    view = panel.detail.candidates
    assert view.count() == 3
    for width in range(230, 330, 7):
        panel.split.setSizes([900 - width, width])
        qtbot.wait(1)
        for row in range(view.count()):
            option = QStyleOptionViewItem()
            view.initViewItemOption(option)
            view.itemDelegate().initStyleOption(option, view.model().index(row, 0))
            option.rect = view.visualItemRect(view.item(row))
            room = view.style().subElementRect(QStyle.SubElement.SE_ItemViewItemText, option, view)
            text = option.fontMetrics.boundingRect(room, int(Qt.TextFlag.TextWordWrap), option.text)
            assert text.height() <= room.height(), (width, option.text)
            assert option.rect.width() <= view.viewport().width()


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
    panel.add_paths([f"/pictures/{number}.png" for number in range(1000)])
    before = panel.model.entries()
    again = open_panel()  # closes the first while it writes
    assert max(parts) <= 120
    assert sum(parts) == 1000
    assert again.model.entries() == before


def test_captioning_again_with_other_settings_keeps_what_a_person_wrote_and_can_be_undone(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "b.png", "c.png"))
    panel.edits.type(panel.model.at(2).path, "mine")
    panel.settings.rows["prompt"].set_text("a picture of")
    panel.settings.rows["prompt"].edited.emit("prompt")
    panel.list.selectAll()
    panel.list.setFocus()
    qtbot.keyClick(panel.list, Qt.Key.Key_G, CTRL)
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["a picture of a a indeed", "a picture of a b indeed", "mine"]
    origin = panel._origins[panel.model.at(0).made["a"].origin]
    assert origin["settings"]["prompt"] == "a picture of"
    assert origin["settings"]["max_tokens"] == 12, "the model's context is shorter than the default"
    assert (origin["digest"], origin["step"]) == ("d" * 64, 30)
    panel.undo.undo()
    assert texts(panel) == ["a a indeed", "a b indeed", "mine"]
    panel.undo.redo()
    assert texts(panel)[0] == "a picture of a a indeed"


def test_undoing_captioning_again_keeps_what_was_typed_while_it_was_under_way(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "b.png", "slow.png"))
    panel.settings.set_settings(panel.settings.settings.model_copy(update={"prompt": "see"}))
    panel.caption_all()
    qtbot.waitUntil(lambda: texts(panel)[1] == "see a b indeed")
    panel.edits.type(panel.model.at(0).path, "mine")
    qtbot.waitUntil(lambda: not panel.work.busy)
    assert texts(panel) == ["mine", "see a b indeed", "see a slow indeed"]
    panel.undo.undo()
    assert texts(panel) == ["mine", "a b indeed", "a slow indeed"]
    assert panel.model.at(0).state == "edited"
    assert panel.model.at(0).made["a"].candidates[0].text == "a a indeed", "its candidates are the earlier ones"
    panel.undo.redo()
    assert texts(panel) == ["mine", "see a b indeed", "see a slow indeed"]
    assert panel.model.at(0).state == "edited"
    panel.undo.undo()
    panel.undo.undo()
    assert texts(panel)[0] == "see a a indeed", "typing was the step before"


def test_two_models_stand_side_by_side(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "open_clip_config.json").write_text('{"model_cfg": {"multimodal_cfg": {}}}')
    drop(qtbot, panel, pictures(tmp_path / "p", "a.png", "b.png"))
    panel.tools.compare.click()
    assert panel.tools.pickers["b"].set_choice(ModelChoice(str(other), "", "other"))
    qtbot.waitUntil(lambda: panel.model.at(1).differs() and not panel.work.busy, timeout=20000)
    assert panel.model.data(panel.model.index(0, SECOND)) == "A A INDEED"
    assert texts(panel) == ["a a indeed", "a b indeed"]
    panel.list.choose(panel.model.at(1).path)
    panel.edits.take_second()
    assert texts(panel) == ["a a indeed", "A B INDEED"]
    assert panel.model.at(1).origin == "b"
    assert "other" in panel.detail.origin.text()
    panel.detail.set_titles({"a": "chosen later", "b": "chosen later"})
    heads = [item.text() for item in panel.detail._items() if not item.flags() & Qt.ItemFlag.ItemIsSelectable]
    assert heads[1] == "other · step 30", "who said it, not who is chosen now"
    panel.tools.compare.click()
    assert panel.model.columnCount() == 3


def test_find_and_replace_counts_and_is_one_step(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "ab.png", "c.png"))
    panel.replace.open()
    panel.replace.whole.setChecked(True)
    panel.replace.words.setText("A")
    qtbot.waitUntil(lambda: panel.replace.found.text() == "4 in 3 captions")
    panel.replace.case.setChecked(True)
    assert panel.replace.found.text() == "none"
    panel.replace.case.setChecked(False)
    panel.replace.regular.setChecked(True)
    panel.replace.words.setText("a (a|ab) (")
    qtbot.waitUntil(lambda: panel.replace.found.text() == "invalid pattern")
    assert not panel.replace.button.isEnabled()
    panel.replace.words.setText("a (ab?) indeed")
    panel.replace.replacement.setText(r"\1!")
    qtbot.keyClick(panel.replace.replacement, Qt.Key.Key_Return)
    assert texts(panel) == ["a!", "ab!", "a c indeed"]
    assert panel.bar.text == "Replaced 2 in 2 captions."
    panel.bar.press_remedy()
    assert texts(panel) == ["a a indeed", "a ab indeed", "a c indeed"]
    assert not panel.undo.canUndo()


def test_the_filter_shows_what_fits_and_what_is_copied_is_what_is_chosen(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    paths = pictures(tmp_path, "cat.png", "dog.png", "cow.png")
    drop(qtbot, panel, paths)
    panel.focus_search()
    qtbot.keyClicks(panel.tools.words, "INDEED co")
    qtbot.waitUntil(lambda: [entry.name for entry in panel.model.shown()] == ["cow.png"])
    panel.tools.words.clear()
    qtbot.waitUntil(lambda: panel.model.rowCount() == 3)
    panel.list.selectAll()
    panel.list.copy()
    clipboard = QGuiApplication.clipboard()
    assert clipboard.text().splitlines() == texts(panel)
    urls = clipboard.mimeData().urls()
    assert [url.toLocalFile() for url in urls] == [entry.path for entry in panel.model.entries()]
    clipboard.clear()  # offscreen, what it holds outlives the application


def test_what_is_removed_comes_back_in_its_place(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "b.png", "c.png"))
    panel.list.setFocus()
    panel.list.choose(panel.model.at(1).path)
    qtbot.keyClick(panel.list, Qt.Key.Key_Delete)
    assert texts(panel) == ["a a indeed", "a c indeed"]
    assert panel.list.current_path().endswith("c.png")
    panel.undo.undo()
    assert texts(panel) == ["a a indeed", "a b indeed", "a c indeed"]


def test_undoing_a_removal_leaves_what_was_added_again_as_it_is(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    paths = pictures(tmp_path, "a.png", "b.png", "c.png")
    drop(qtbot, panel, paths)
    panel.edits.type(paths[1], "mine, typed first")
    panel.list.selectAll()
    panel.edits.remove()
    drop(qtbot, panel, paths[:2])
    panel.model.update([panel.model.at(0).with_text("typed since", "hand")])
    panel.undo.undo()
    entries = panel.model.shown()
    assert {Path(entry.path).name: entry.text for entry in entries} == {
        "a.png": "typed since",
        "b.png": "mine, typed first",
        "c.png": "a c indeed",
    }, "what a person wrote is never overwritten by what a model said"
    assert [entry.position for entry in entries] == sorted(entry.position for entry in entries)
    panel.undo.redo()
    assert not texts(panel)
    panel.undo.undo()
    assert "typed since" in texts(panel), "a removal done again is of what was there then"


def test_a_list_that_cannot_be_read_says_so_and_takes_what_is_dropped_once_it_can(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png"))
    panel.keeper.close()
    services, held = panel._services, [True]
    read = services.store.captions

    def captions(*where: Any) -> Any:
        if held[0]:
            raise StoreError("Another program holds the database.")
        return read(*where)

    monkeypatch.setattr(services.store, "captions", captions)
    monkeypatch.setattr(captions_keeper, "_AGAIN_MS", 100)
    again = CaptionsPanel(services)
    qtbot.addWidget(again)
    again.show()
    again.entered()
    qtbot.waitUntil(lambda: "Another program holds the database." in again.bar.text)
    again.bar.clear()
    again.add_paths(pictures(tmp_path, "b.png"))
    assert again.bar.text.endswith("is read again until that succeeds. 1 picture waits for it.")
    held[0] = False
    again.bar.press_remedy()
    qtbot.waitUntil(lambda: len(again.model) == 2 and not again.work.busy)
    assert [entry.name for entry in again.model.entries()] == ["a.png", "b.png"]
    again.keeper.close()
    again.list.close_threads()
    again.target.close_threads()


def test_the_list_is_there_again_though_the_window_was_not_closed(
    qtbot: QtBot, panel: CaptionsPanel, open_panel: OpenPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, pictures(tmp_path / "p", "a.png", "bad.png", "c.png", "d.png"))
    panel.edits.type(panel.model.at(0).path, "mine\n 🦊")
    panel.list.choose(panel.model.at(3).path)
    panel.edits.remove()
    before, origins = panel.model.entries(), dict(panel._origins)
    store = panel._services.store  # as a window that is killed leaves it: nothing is said to the place
    qtbot.waitUntil(lambda: [kept.text for kept in store.captions()[0]] == [entry.text for entry in before])
    again = open_panel()
    qtbot.waitUntil(lambda: len(again.model) == 3)
    assert again.model.entries() == before
    assert again._origins == origins
    assert again.tools.pickers["a"].choice() is not None, "the model is remembered"
    drop(qtbot, again, pictures(tmp_path / "q", "e.png"))
    qtbot.waitUntil(lambda: texts(again)[-1] == "a e indeed")


def test_captioning_is_stopped_and_gone_on_with(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    panel.target.take_paths(pictures(tmp_path, "a.png", "slow.png", "z.png"))
    qtbot.waitUntil(lambda: len(panel.model) == 3 and texts(panel)[0] == "a a indeed", timeout=10000)
    panel.strip.cancelled.emit()
    qtbot.waitUntil(lambda: "stopped" in panel.bar.text)
    assert texts(panel) == ["a a indeed", "", ""]
    panel.list.choose(panel.model.at(1).path)
    panel.edits.remove()
    panel.bar.press_remedy()
    qtbot.waitUntil(lambda: texts(panel) == ["a a indeed", "a z indeed"])


def test_captioning_goes_on_in_view_when_an_export_ends_or_is_cancelled(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    panel.target.take_paths(pictures(tmp_path, "a.png", "slow.png"))
    qtbot.waitUntil(lambda: len(panel.model) == 2 and texts(panel)[0] == "a a indeed", timeout=10000)
    panel.files.write(export_json_lines, tmp_path / "captions.jsonl", force=False)
    assert panel.files.running
    panel.export_strip.cancelled.emit()
    qtbot.waitUntil(lambda: not panel.files.running)
    assert panel.export_strip.isHidden()
    assert panel.work.busy
    assert not panel.strip.isHidden()
    panel.strip.cancelled.emit()
    qtbot.waitUntil(lambda: not panel.work.busy)


def test_a_worker_that_died_says_so_and_a_new_one_is_started(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    panel.target.take_paths(pictures(tmp_path, "a.png", "die.png"))
    qtbot.waitUntil(lambda: "ended with code 3" in panel.bar.text, timeout=10000)
    assert "memory access fault" in panel.bar._details.toPlainText()
    assert texts(panel) == ["a a indeed", ""]
    panel.list.choose(panel.model.at(1).path)
    panel.edits.remove()
    drop(qtbot, panel, pictures(tmp_path / "q", "e.png"))
    qtbot.waitUntil(lambda: texts(panel) == ["a a indeed", "a e indeed"])


def test_captioning_again_that_failed_is_tried_again_with_what_is_left(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "b.png"))
    panel.settings.set_settings(panel.settings.settings.model_copy(update={"prompt": "die"}))
    panel.caption_all()
    qtbot.waitUntil(lambda: "ended with code 3" in panel.bar.text, timeout=10000)
    panel.settings.set_settings(panel.settings.settings.model_copy(update={"prompt": "see"}))
    panel.bar.press_remedy()
    qtbot.waitUntil(lambda: texts(panel) == ["see a a indeed", "see a b indeed"], timeout=10000)


def test_a_caption_that_was_emptied_counts_as_missing(qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path) -> None:
    drop(qtbot, panel, pictures(tmp_path, "a.png", "b.png"))
    panel.edits.type(panel.model.at(0).path, "")
    assert panel.model.at(0).state == "waiting"
    panel.caption_waiting()
    qtbot.waitUntil(lambda: texts(panel) == ["a a indeed", "a b indeed"], timeout=10000)


def test_what_was_not_taken_is_still_said_when_something_could_not_be_captioned(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    paths = [*pictures(tmp_path, "a.png", "bad.png"), str(tmp_path / "film.mp4")]
    Path(paths[2]).write_bytes(b"0123456789")
    data = QMimeData()
    data.setUrls([*(QUrl.fromLocalFile(path) for path in paths), QUrl("https://example.org/cat.jpg")])
    panel.target.take(data)
    qtbot.waitUntil(lambda: "could not be captioned" in panel.bar.text, timeout=10000)
    assert panel.bar.text.startswith("Not taken: https://example.org/cat.jpg")
    assert panel.bar.text.endswith("And 1 more. 1 picture could not be captioned.")
    assert "film.mp4: it is a video" in panel.bar._details.toPlainText()
    panel.bar.press_remedy()
    assert [entry.name for entry in panel.model.shown()] == ["bad.png"]


def test_what_is_chosen_stays_chosen_while_the_list_is_filtered(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    paths = pictures(tmp_path, "a.png", "b.png", "c.png")
    drop(qtbot, panel, paths)
    panel.list.choose(paths[1])
    for words, chosen in (("indeed", paths[1]), ("c.png", paths[2]), ("", paths[2])):
        panel.tools.words.setText(words)
        panel.tools._tell()
        assert panel.list.current_path() == chosen
        assert panel.detail.name.text() == Path(chosen).name


def test_pictures_dropped_before_there_is_a_model_wait_and_say_so(
    qtbot: QtBot, open_panel: OpenPanel, tmp_path: Path
) -> None:
    panel = open_panel()
    drop(qtbot, panel, pictures(tmp_path, "a.png"))
    assert panel.bar.text == "First choose a model that can caption."
    assert panel.tools.pickers["a"].set_choice(MODEL)
    qtbot.waitUntil(lambda: texts(panel) == ["a a indeed"], timeout=10000)


def test_every_way_out_is_among_the_actions(panel: CaptionsPanel) -> None:
    actions = panel.tools.export.menu().actions()
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
    (path,) = pictures(tmp_path, "a.png")
    drop(qtbot, panel, [path])
    Path(path).with_suffix(".txt").write_text("my own")
    panel.files._write_sidecars(panel._to_export(), force=False)
    qtbot.waitUntil(lambda: "exported" in panel.bar.text)
    assert panel.bar.text == "No caption was exported; 1 left out."
    assert panel.bar._action.isHidden()
    assert "is left alone." in panel.bar._details.toPlainText()


def test_settings_that_cannot_be_used_say_why_on_their_field(panel: CaptionsPanel, open_panel: OpenPanel) -> None:
    sheet = panel.settings
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
    assert panel.tools.how.text() == "sample, seed 0 · 9 captions"
    assert open_panel().settings.settings.captions == 9


def test_ten_thousand_pictures_read_only_the_thumbnails_in_view(
    qtbot: QtBot, panel: CaptionsPanel, tmp_path: Path
) -> None:
    panel.tools.pickers["a"]._entry = None  # nothing captions them
    panel.add_paths([f"/nowhere/{number}.png" for number in range(10_000)])
    panel.list.thumbnails.close()
    asked: list[Path] = []
    panel.list.thumbnails.get = lambda path: asked.append(path)  # type: ignore[method-assign]
    panel.list.scrollToBottom()
    panel.list.viewport().repaint()
    assert Path("/nowhere/9999.png") in asked
    assert len(set(asked)) < 40
    assert panel.model.index(9_999, CAPTION).data(Qt.ItemDataRole.AccessibleTextRole) == "9999.png: without a caption"
