"""Captioning requests to one or two workers: progress, what is missing, stopping and resuming."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from PySide6.QtGui import QUndoStack
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.model import Side
from sdgui.panels.caption.settings import DEFAULTS
from sdgui.panels.caption.work import CaptionsWork
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.widgets.message import Message
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Failure
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
        maker.drop()


def test_progress_is_shown_while_captioning_and_a_replacement_is_one_step(works: Works) -> None:
    work, strip = works.work, works.strip
    works.model.add_paths(["a", "b"])
    refused: list[int] = []
    work.images_failed.connect(refused.append)
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
    assert [(entry.text, entry.error) for entry in works.model.entries()] == [
        ("image 0", ""), ("", "the model returned no caption"),
    ]  # fmt: skip
    assert (work.busy, strip.isHidden(), refused, works.undo.count()) == (False, True, [1], 0)
    work.caption(["a"])
    one.answer("caption_open", {**FACTS, "notes": ["It is old."]})
    assert works.messages[-1].text == "cut to 12 tokens", "a note is told once"
    one.say("caption", index=0, captions=[{"text": "another", "log_prob": None, "score": None}])
    one.answer("caption", {})
    assert works.undo.undoText() == "Re-caption 1 image"
    works.undo.undo()
    assert works.model.entry_at(0).text == "image 0"
    works.undo.redo()
    assert works.model.entry_at(0).text == "another"
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
    model.update([model.entry_at(1).with_text("", "")])
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
    work.complete_side("b")
    works.workers["two"].answer("caption_open", FACTS)
    assert works.asked("two") == ["c"]
    works.choices["a"] = None
    count = len(works.workers["one"].asked)
    work.caption_uncaptioned()
    work.open("a")
    assert len(works.workers["one"].asked) == count, "no model is chosen"


def test_queued_images_are_captioned_by_the_model_that_is_chosen_meanwhile(works: Works) -> None:
    works.model.add_paths(["a", "b", "c", "d"])
    works.work.caption(["a", "b", "c"])
    one = works.workers["one"]
    one.answer("caption_open", FACTS)
    caption(one, 0)
    works.choices["a"] = TWO
    works.work.complete_side("a")
    two = works.workers["two"]
    two.answer("caption_open", FACTS)
    assert works.asked("two") == ["b", "c", "d"]
    for number in range(3):
        caption(two, number)
    two.answer("caption", {})
    assert (works.work.busy, works.strip.isHidden()) == (False, True)
    assert all(entry.text for entry in works.model.entries())


def test_progress_ends_if_nothing_is_left_for_the_newly_chosen_model(works: Works) -> None:
    works.model.add_paths(["a"])
    works.work.caption(["a"])
    one = works.workers["one"]
    one.answer("caption_open", FACTS)
    caption(one, 0)
    one.answer("caption", {})
    works.work.caption(["a"])
    one.answer("caption_open", FACTS)
    one.say("caption", index=0, captions=[{"text": "another", "log_prob": None, "score": None}])
    works.work.complete_side("a")  # before the request has ended
    assert (works.work.busy, works.strip.isHidden()) == (False, True)
    assert works.undo.undoText() == "Re-caption 1 image"


def test_answers_that_are_not_shown_yet_are_asked_again(works: Works) -> None:
    works.model.add_paths(["a", "b", "c"])
    works.work.caption(["a", "b", "c"])
    one = works.workers["one"]
    one.answer("caption_open", FACTS)
    caption(one, 0)
    caption(one, 1)  # waits for its batch
    works.work.caption_again("a", [])
    one.answer("caption_open", FACTS)
    assert works.asked("one") == ["b", "c"]


def test_stopped_or_failed_captioning_resumes_with_the_existing_images(works: Works) -> None:
    work, model = works.work, works.model
    model.add_paths(["a", "b", "c"])
    work.caption(["a", "b", "c"])
    one = works.workers["one"]
    one.answer("caption_open", FACTS)
    caption(one, 0)
    work.cancel()
    told = works.messages[-1]
    assert (told.level, told.text) == ("info", "Captioning was stopped. Finished captions are kept.")
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
    told.remedy.do()
    one.answer("caption_open", FACTS)
    assert works.asked("one") == ["c"]
