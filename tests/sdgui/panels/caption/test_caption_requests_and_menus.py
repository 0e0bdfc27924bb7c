"""The Caption panel around its list: messages, menus, next steps, counts, and its requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu
from pytestqt.qtbot import QtBot

from core.spec.presets import preset_config
from sdgui.app.start import make_application
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.model import Side
from sdgui.panels.caption.next_step import DEMO
from sdgui.panels.caption.settings import DEFAULTS
from sdgui.panels.caption.work import CaptionsWork
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.store.records import StoreError
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.message import Message
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure
from tests.sdgui.panels.caption.conftest import MODEL, OpenPanel
from tests.sdgui.panels.caption.test_caption_maker import FACTS, ONE, TWO, caption
from tests.sdgui.panels.scripted_workers import Workers


class Works:
    """Captioning over workers in miniature that answer when the test says so."""

    def __init__(self) -> None:
        self.workers = Workers()
        self.model, self.undo, self.strip = CaptionsModel(), QUndoStack(), ProgressStrip()
        self.messages: list[Message] = []
        self.choices: dict[Side, ModelChoice | None] = {"a": ONE, "b": TWO}
        pool = cast(WorkerPool, self.workers)
        self.work = CaptionsWork(
            pool, self.model, self.undo, self.choices.get, lambda: DEFAULTS, self.strip, self.messages.append
        )

    def asked(self, key: str) -> list[str]:
        """The images of the last request."""
        return list(self.workers[key].asked[-1][1].get("paths", []))


@pytest.fixture
def works(qtbot: QtBot) -> Iterator[Works]:
    make_application()
    made = Works()
    qtbot.addWidget(made.strip)
    yield made
    for maker in made.work.makers.values():
        maker.close()


def test_progress_is_shown_while_captioning_and_a_replacement_is_one_step(works: Works) -> None:
    work, strip = works.work, works.strip
    works.model.add_paths(["a", "b"])
    refused: list[int] = []
    work.refused.connect(refused.append)
    work.caption([])
    assert (work.busy, strip.isHidden()) == (False, True)
    work.caption(["a", "b"])
    assert work.busy
    assert strip.text.startswith("Opening the model · 0 % · 0 of 2 images")
    one = works.workers["one"]
    one.answer("caption_open", {**FACTS, "notes": ["It is old.", "It is slow."]})
    assert [(told.level, told.text, told.details) for told in works.messages] == [
        ("warning", "It is old.", "It is slow.")
    ]
    caption(one, 0)
    assert strip.text.startswith("Captioning · 50 % · 1 of 2 images")
    one.say("caption", index=1, error="")
    one.say("caption", note="cut to 12 tokens")
    assert (works.messages[-1].level, works.messages[-1].text) == ("info", "cut to 12 tokens")
    one.answer("caption", {})
    assert [(entry.text, entry.refused) for entry in works.model.entries()] == [
        ("image 0", ""), ("", "it could not be captioned"),
    ]  # fmt: skip
    assert (work.busy, strip.isHidden(), refused, works.undo.count()) == (False, True, [1], 0)
    work.caption(["a"])
    one.answer("caption_open", {**FACTS, "notes": ["It is old."]})
    assert works.messages[-1].text == "cut to 12 tokens", "a note is told once"
    one.say("caption", index=0, captions=[{"text": "another", "log_prob": None, "score": None}])
    one.answer("caption", {})
    assert works.undo.undoText() == "Re-caption 1 image"
    works.undo.undo()
    assert works.model.at(0).text == "image 0"
    works.undo.redo()
    assert works.model.at(0).text == "another"
    assert refused == [1]


def test_only_missing_captions_are_requested_from_each_of_two_models(works: Works) -> None:
    work, model = works.work, works.model
    model.add_paths(["a", "b", "c"])
    assert work.sides == ("a",)
    work.caption(["a"])
    one = works.workers["one"]
    one.answer("caption_open", FACTS)
    caption(one, 0)
    one.answer("caption", {})
    work.caption_uncaptioned()
    works.workers["one"].answer("caption_open", FACTS)
    assert works.asked("one") == ["b", "c"]
    caption(works.workers["one"], 0)
    caption(works.workers["one"], 1)
    works.workers["one"].answer("caption", {})
    work.compares = True
    assert work.sides == ("a", "b")
    model.update([model.at(1).with_text("", "")])
    work.caption_uncaptioned()
    works.workers["one"].answer("caption_open", FACTS)
    works.workers["two"].answer("caption_open", FACTS)
    assert (works.asked("one"), works.asked("two")) == (["b"], ["a", "b", "c"]), "a text that was emptied is missing"
    assert works.strip.text.startswith("Opening the model")
    caption(works.workers["two"], 0)
    assert not works.strip.text.startswith("Captioning"), "of two the first one is told"
    caption(works.workers["one"], 0)
    assert works.strip.text.startswith("Captioning")
    works.workers["one"].answer("caption", {})
    assert not works.strip.isHidden(), "the second is still at it"
    caption(works.workers["two"], 1)
    works.workers["two"].answer("caption", {})
    assert works.strip.isHidden()
    work.caption_missing("b")
    works.workers["two"].answer("caption_open", FACTS)
    assert works.asked("two") == ["c"]
    works.choices["a"] = None
    count = len(works.workers["one"].asked)
    work.caption_uncaptioned()
    work.open("a")
    assert len(works.workers["one"].asked) == count, "no model is chosen"


def test_stopped_or_failed_captioning_resumes_with_the_existing_images(works: Works) -> None:
    work, model = works.work, works.model
    model.add_paths(["a", "b", "c"])
    work.caption(["a", "b", "c"])
    one = works.workers["one"]
    one.answer("caption_open", FACTS)
    caption(one, 0)
    work.cancel()
    one.failed.emit(len(one.asked), Cancelled())
    told = works.messages[-1]
    assert (told.level, told.text) == ("info", "Captioning was stopped; finished captions are kept.")
    assert works.strip.isHidden()
    model.remove(["b"])
    assert told.remedy is not None
    assert told.remedy.label == "Continue"
    told.remedy.do()
    one.answer("caption_open", FACTS)
    assert works.asked("one") == ["c"]
    one.failed.emit(len(one.asked), Failure("It ended.", "a traceback"))
    told = works.messages[-1]
    assert (told.level, told.text, told.details) == ("error", "It ended.", "a traceback")
    assert told.remedy is not None
    assert told.remedy.label == "Try again"
    told.remedy.do()
    assert work.busy
    work.cancel()
    one.failed.emit(len(one.asked), Cancelled())
    told.remedy.do()
    one.answer("caption_open", FACTS)
    assert works.asked("one") == ["c"]


def test_without_a_model_captioning_is_refused_and_the_next_step_is_the_demo(
    qtbot: QtBot, open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdgui.shared.pickers.entries.included_models", list)
    panel = open_panel()
    view, made, told, defined = panel.view, list[str](), list[Message](), list[Any]()
    panel.message_requested.connect(told.append)
    panel.define_requested.connect(defined.append)
    for way in (panel.caption_waiting, panel.caption_selected, panel.caption_all):
        view.bar.clear()
        view.target.setFocus()
        way()
        assert view.bar.text == "First choose a model that can caption."
        assert view.tools.pickers["a"].hasFocus()
    monkeypatch.setattr(type(panel._services.demo), "make", lambda _self: made.append("demo"))
    view.empty.activated.emit()
    assert ([one.name for one in defined], made, told) == ([DEMO], ["demo"], [])
    panel._services.store.add_experiment(defined[0], DEMO)
    view.empty.activated.emit()
    assert ("select and launch it there" in told[0].text, len(defined), made) == (True, 1, ["demo"])
    assert panel._title("b") == "Second model"
    assert view.tools.pickers["a"].set_choice(MODEL)
    asked: list[str] = []
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (asked.append("files"), ([], ""))[1])
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: (asked.append("folder"), "")[1])
    view.empty.activated.emit()
    view.ask_folder()
    assert (asked, len(panel.model)) == (["files", "folder"], 0)
    config = preset_config("clip", "tiny")
    run = panel._services.store.add_run(panel._services.store.add_experiment(config, "mine").id)
    panel.use_run(run.id)
    assert view.bar.text == "This run cannot caption: it has no checkpoint yet, or no text decoder."
    view.bar.clear()

    def gone(*_: Any) -> None:
        raise StoreError("The run is gone.")

    monkeypatch.setattr("sdgui.panels.caption.panel.training_config", gone)
    panel.files.use_requested.emit("/x/train.csv", 3)
    assert view.bar.text == "The run is gone."
    panel.persistence.failed.emit("The disk is full.")
    assert (view.bar.text, view.bar.message is not None and view.bar.message.level) == ("The disk is full.", "error")


def test_menus_of_the_list_and_of_the_buttons(open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    panel, opened = open_panel(), list[QMenu]()
    monkeypatch.setattr(QMenu, "popup", lambda menu, *_at: opened.append(menu))
    panel.view.list.menu_requested.emit(QPoint(3, 3))

    def texts(menu: QMenu) -> list[str]:
        return [action.text().replace("&", "") for action in menu.actions() if action.text()]

    assert texts(opened[0])[:7] == [
        "Edit the caption", "Accept the model's best", "Accept the second model's", "Re-caption selected", "Copy",
        "Enlarge the image", "Remove from the list",
    ]  # fmt: skip
    assert texts(opened[0])[-1] == "Export"
    export = opened[0].actions()[-1].menu()
    assert isinstance(export, QMenu)
    assert texts(export)[-2:] == ["Save as training data", "Training data in a folder …"]
    tools = panel.view.tools
    assert texts(tools.add.menu()) == ["Add images …", "Add a folder …", "Paste"]
    assert texts(tools.again.menu()) == [
        "Uncaptioned", "Re-caption selected", "Re-caption all shown", "Generation settings …",
    ]  # fmt: skip
    assert (tools.how.toolTip(), tools.replace.toolTip()) != ("", "")
    worded = (tools.how, tools.add, tools.again, tools.export)
    assert {(one.property("hasText"), one.toolButtonStyle()) for one in worded} == {
        (True, Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
    }  # fmt: skip
    assert "Ctrl+M" in tools.compare.toolTip()
    assert (tools.undo.accessibleName(), tools.redo.accessibleName()) == ("Undo", "Redo")


def test_buttons_open_their_dialogs_and_refused_models_are_reported(
    qtbot: QtBot, open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_panel()
    view, tools, asked = panel.view, panel.view.tools, list[str]()
    tools.how.click()
    assert view.settings.isVisible()
    assert view.settings.geometry().top() >= tools.how.mapToGlobal(QPoint(0, tools.how.height())).y(), "below it"
    view.settings.hide()
    tools.replace.click()
    assert (view.replace.isVisible(), tools.words.isVisible(), view.replace.words.hasFocus()) == (True, False, True)
    next(child for child in view.replace.findChildren(IconButton)).click()
    assert (view.replace.isVisible(), tools.words.isVisible()) == (False, True)
    for side in ("a", "b"):
        tools.pickers[side].refused.emit(f"{side} has no text decoder.")  # type: ignore[index]
        assert (view.bar.text, view.bar.message is not None and view.bar.message.level) == (
            f"{side} has no text decoder.", "warning"
        )  # fmt: skip
    monkeypatch.setattr(tools.pickers["a"], "open", lambda: asked.append("model"))
    panel.ask_model()
    monkeypatch.setattr(view, "show_empty", lambda: asked.append("empty"))
    panel.refresh()
    assert asked == ["model", "empty"]
    panel.add_paths(["/p/a.png"])
    panel.refresh()
    assert asked[2:] == ["empty"], "of what was added, not of looking again"
    panel.edits.type("/p/a.png", "")
    assert not panel.undo.canUndo(), "nothing else was typed"
    panel.edits.type("/p/gone.png", "words")
    assert not panel.undo.canUndo()
    panel.edits.remove()
    assert panel.undo.undoText() == "Remove 1 image"
    count = panel.undo.count()
    panel.edits.remove()
    assert panel.undo.count() == count, "nothing is selected"
    panel.undo.undo()
    monkeypatch.undo()
    view.show_empty()
    sizes = view.split.sizes()
    view.split.setSizes([sizes[0] - 40, sizes[1] + 40])
    wide = view.split.sizes()[1]
    panel.left()
    again = open_panel()
    assert abs(again.view.split.sizes()[1] - wide) < 8


def test_counts_are_labelled_and_the_filter_is_debounced(qtbot: QtBot, open_panel: OpenPanel) -> None:
    panel = open_panel()
    view = panel.view
    view.show_counts()
    assert view.counts.text() == ""
    panel.add_paths(["/p/a.png"])
    view.show_counts()
    assert view.counts.text() == "1 image · 1 without a caption"
    assert view.stack.currentWidget() is view.split
    assert view.list.current_path() == "/p/a.png"
    panel.add_paths(["/p/b.png", "/p/a.png"])
    assert view.list.current_path() == "/p/a.png", "what is chosen stays"
    view.list.selectAll()
    assert panel._count_later.isActive()
    view.show_counts()
    assert view.counts.text() == "2 images · 2 without a caption · 2 selected"
    told: list[object] = []
    view.tools.filter_changed.connect(told.append)
    view.tools.words.setText("b")
    assert (told, view.tools._typing.isActive()) == ([], True)
    view.tools._emit_filter()
    view.show_counts()
    assert view.counts.text() == "2 images · 1 shown · 2 without a caption"
    view.tools.state.setCurrentIndex(2)
    view.tools.state.activated.emit(2)
    assert (panel.model.rowCount(), view.tools._typing.isActive()) == (0, False)
    view.tools.show_state("All images")
    view.tools.words.setText("")
    view.tools._emit_filter()
    assert view.tools.passes() is None
    view.tools.words.setText("hat")
    panel.focus_search()
    assert view.tools.words.selectedText() == "hat"
    panel.model.remove(["/p/a.png", "/p/b.png"])
    view.show_counts()
    assert view.stack.currentWidget() is view.empty
    assert view.counts.text() == ""


def test_comparing_starts_and_stops_a_second_model(
    qtbot: QtBot, open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_panel()
    tools, asked = panel.view.tools, list[str]()
    monkeypatch.setattr(panel.work, "caption_missing", lambda side: asked.append(f"missing {side}"))
    monkeypatch.setattr(panel.work.makers["b"], "cancel", lambda: asked.append("cancel"))
    monkeypatch.setattr(panel.work, "open", lambda side: asked.append(f"open {side}"))
    assert not tools.pickers["b"].isVisible()
    tools.compare.setChecked(True)
    assert (tools.pickers["b"].isVisible(), panel.work.compares, panel.model.compares) == (True, True, True)
    assert tools.pickers["b"].hasFocus()
    assert asked == ["missing b"]
    assert tools.pickers["b"].set_choice(MODEL)
    assert asked == ["missing b", "missing b", "open b"]
    assert panel.view.detail._titles["b"].startswith("coca")
    tools.compare.setChecked(False)
    assert (tools.pickers["b"].isVisible(), panel.work.compares, asked[-1]) == (False, False, "cancel")
    count = len(asked)
    assert tools.pickers["b"].set_choice(ModelChoice("open_clip:coca_ViT-L-14,laion2b_s13b_b90k", "", "large"))
    assert len(asked) == count, "it is not compared with"
    focused = QApplication.focusWidget()
    assert focused is not None
    panel.view.take_focus()
    assert focused.hasFocus(), "it is in the panel already"
    focused.clearFocus()
    panel.view.take_focus()
    assert panel.view.target.hasFocus()


def test_loading_the_list_is_reported_once_with_waiting_images(open_panel: OpenPanel) -> None:
    panel = open_panel()
    panel._held_paths = []
    panel.persistence.unreadable.emit("It is locked.")
    assert panel.view.bar.text == "It is locked. The list of captions is read again until it succeeds."
    panel.view.bar.clear()
    panel.persistence.unreadable.emit("It is locked.")
    assert panel.view.bar.message is None, "it was read"
    panel.add_paths(["/p/a.png", "/p/b.png"])
    assert panel.view.bar.text.endswith("2 images wait for it.")
    panel.persistence.unreadable.emit("The disk is gone.")
    assert panel.view.bar.text.startswith("The disk is gone.")
    panel.persistence.ready.emit({"k": {"model": "m"}})
    assert panel._origins == {"k": {"model": "m"}}
    assert len(panel.model) == 2
    assert panel.view.list.current_path() == "/p/a.png"
    panel.model.remove(["/p/a.png", "/p/b.png"])


def test_captioning_again_uses_the_selection_or_the_shown_rows(
    open_panel: OpenPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, asked = open_panel(), list[Any]()
    monkeypatch.setattr(panel.work, "caption", lambda paths: asked.append([Path(path).stem for path in paths]))
    for name in ("caption_uncaptioned", "caption_missing", "open"):
        monkeypatch.setattr(panel.work, name, lambda *side, name=name: asked.append((name, *side)))
    assert panel.view.tools.pickers["a"].set_choice(MODEL)
    assert asked == [("caption_missing", "a"), ("open", "a")], "it is loaded before the first image comes"
    panel.add_paths(["/p/a.png", "/p/b.png", "/p/c.png"])
    panel.add_paths(["/p/a.png"])
    panel.view.list.choose("/p/b.png")
    panel.caption_selected()
    panel.model.set_filter(lambda entry: entry.position < 2)
    panel.caption_all()
    panel.caption_waiting()
    assert asked[2:] == [["a", "b", "c"], ["b"], ["a", "b"], ("caption_uncaptioned",)]
    panel.model.set_filter(None)
    panel.model.remove([f"/p/{name}.png" for name in "abc"])
