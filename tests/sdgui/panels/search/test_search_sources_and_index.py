"""Pieces of the Search panel by themselves: where to search, the index sheet; a side's words, keys and menu."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from sdgui.panels.search.collection import DATA, HELD_OUT, INDEX, CollectionBox, short_folder
from sdgui.panels.search.index import IndexSheet, _report
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.message import Message
from sdgui.worker.replies import Cancelled, Failure


def test_the_collection_is_chosen_announced_and_remembered(
    qtbot: QtBot, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = CollectionBox(services)
    qtbot.addWidget(box)
    box.show()
    told, folders, left, sheets = list[int](), list[None](), list[None](), list[bool]()
    box.changed.connect(told.append)
    box.folder_chosen.connect(lambda: folders.append(None))
    box.close_requested.connect(lambda: left.append(None))
    box.sheet_toggled.connect(sheets.append)

    def seen() -> list[bool]:
        return [one.isVisible() for one in (box.data, *box.indexes, box.browse)]

    def choose(kind: str) -> None:
        box.kind_box.setCurrentIndex(box.kind_box.findData(kind))
        box.kind_box.activated.emit(box.kind_box.currentIndex())

    assert box.data._data_facts._images_only, "images without captions can be searched"
    assert (box.kind, box.title(), seen()) == (HELD_OUT, "Validation split", [False] * 4)
    choose(DATA)
    assert (box.kind, box.title(), seen(), told) == (DATA, "Choose images", [True, False, False, False], [-1])
    choose(INDEX)
    assert (box.title(), seen(), told) == ("Choose an index", [False, True, False, True], [-1, -1])
    box.set_comparing(True)
    assert seen() == [False, True, True, True]
    box.set_kind("nonsense")
    assert (box.kind, told) == (HELD_OUT, [-1, -1]), "who sets it knows it"
    (tmp_path / "mine").mkdir()
    box.search_folder(str(tmp_path / "mine"))
    assert (box.kind, box.title(), told[2:], len(folders)) == (DATA, "mine", [-1], 1)
    box.search_folder(str(tmp_path / "mine"))
    assert (told[2:], len(folders)) == ([-1], 2), "it is searched already, but may be typed in"
    one, two = str(tmp_path / "a" / "one"), str(tmp_path / "b" / "two")
    box.show_index(0, one)
    assert (box.kind, box.title(), told[3:]) == (INDEX, "a/one", [-1]), "both leave what they searched"
    box.show_index(1, two)
    assert (told[4:], box.index(0), box.index(1)) == ([1], one, two)
    assert [box.indexes[0].itemData(row) for row in range(2)] == [two, one], "both sides may choose either"
    box.show_index(1, two)
    assert told.pop() == 1
    assert (box._recent(), box.indexes[1].count()) == ([two, one], 2), "each is listed once"
    box.indexes[1].setCurrentIndex(1)
    box.indexes[1].activated.emit(1)
    assert told[5:] == [1]
    state = json.loads(json.dumps(box.state()))
    assert state == {"where": INDEX, "data": str(tmp_path / "mine"), "indexes": [one, one]}
    for number in range(9):
        box.show_index(0, str(tmp_path / f"i{number}"))
    assert len(box._recent()) == 8
    count = len(told)
    again = CollectionBox(services)
    qtbot.addWidget(again)
    assert again.indexes[0].count() == 8
    assert again.index(0) == "", "none is chosen"
    again.changed.connect(told.append)
    recent = again._recent()
    again.restore({**state, "indexes": [recent[3], ""]})
    assert (again.kind, again.data.source(), again.index(0), again.index(1)) == (
        INDEX, str(tmp_path / "mine"), recent[3], "",
    )  # fmt: skip
    again.restore({"where": DATA, "data": str(tmp_path / "gone"), "indexes": 5})
    assert (again.kind, again.data.source(), len(told)) == (DATA, str(tmp_path / "mine"), count)
    services.settings.setValue("search/indexes", "{")
    assert again._recent() == []
    services.settings.setValue("search/indexes", '{"a": 1}')
    assert again._recent() == []
    services.settings.remove("search/indexes")
    box.set_comparing(False)
    box.indexes[1].setCurrentIndex(-1)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: two)
    box.ask_index()
    assert (box.index(0), box.index(1)) == (two, ""), "there is one model"
    count = len(told)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    box.ask_folder()
    box.ask_index()
    assert (len(left), len(told)) == (1, count), "nothing was chosen"
    box.sheet_button.click()
    assert sheets == [True]
    assert (short_folder("/a/b"), short_folder("b")) == ("a/b", "b")


class Sent(list[tuple[str, dict[str, Any]]]):
    """What a sheet asked, with ways to answer the last."""

    done: Any
    failed: Any

    def ask(self, _purpose: str, verb: Any, done: Any, failed: Any, _partial: Any, **asked: Any) -> None:
        self.append((verb.name, asked))
        self.done, self.failed = done, failed


def test_an_index_is_built_from_the_selection_and_its_end_is_reported(
    qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice: list[ModelChoice | None] = [None]
    sheet = IndexSheet(services, lambda: choice[0])
    qtbot.addWidget(sheet)
    assert sheet.images._data_facts._images_only
    told, ended, finished, working = list[Message](), list[str](), list[None](), list[tuple[Any, ...]]()
    sheet.message_requested.connect(told.append)
    sheet.succeeded.connect(ended.append)
    sheet.finished.connect(lambda: finished.append(None))
    sheet.working.connect(lambda *what: working.append(what))
    sent = Sent()
    monkeypatch.setattr(sheet._calls, "ask", sent.ask)
    buttons = (sheet.build_button, sheet.refresh_button, sheet.relocate_button)
    sheet.build_button.click()
    choice[0] = ModelChoice("m", "teacher", "model")
    sheet.build_button.click()
    sheet.images.set_source("/images")
    sheet.build_button.click()
    sheet.refresh_button.click()
    sheet.new_folder.setText("/new")
    sheet.relocate_button.click()
    sheet.old_folder.setText(" /old ")
    sheet.relocate_button.click()
    assert [message.text for message in told] == [
        "Choose a model above first.",
        "Choose the images to index.",
        "Choose the index folder.",
        "Choose the index folder.",
        "Enter the old and the new folder of the images.",
        "Choose the index folder.",
    ]
    assert sent == []
    sheet.index_folder.setText(" /made ")
    sheet.build_button.click()
    assert sent[-1] == ("search_index", {
        "folder": "/made", "source": "/images", "drop_missing": False, "model": "m", "weights": "teacher",
    })  # fmt: skip
    assert working == [("index", "starting", 0, 0)]
    assert [one.isEnabled() for one in buttons] == [False] * 3
    counts = {
        "added": 1,
        "changed": 0,
        "removed": 0,
        "unchanged": 0,
        "images": 1,
        "log": ["read"],
        "bad": [],
        "unreachable": 0,
    }
    sent.done(counts)
    assert (ended, len(finished), [one.isEnabled() for one in buttons]) == (["/made"], 1, [True] * 3)
    assert (told[-1].level, told[-1].text, told[-1].details) == ("info", "made: 1 image indexed; 1 added.", "read")
    sheet.relocate_button.click()
    assert sent[-1] == ("search_relocate", {"folder": "/made", "old": "/old", "new": "/new"})
    sent.done({"relocated": 3})
    assert told[-1].text == "3 images of /made were relocated."
    sheet.remove_missing.setChecked(True)
    sheet.refresh_button.click()
    assert sent[-1][1] == {"folder": "/made", "drop_missing": True}
    sent.failed(Failure("The disk is full.", "more"))
    assert (told[-1].level, told[-1].text, told[-1].details) == ("error", "The disk is full.", "more")
    assert [one.isEnabled() for one in buttons] == [True] * 3
    sheet.refresh_button.click()
    sent.failed(Cancelled())
    assert told[-1].text == "Stopped. The images encoded so far are saved in /made. Press the button again to continue."
    assert (len(ended), len(finished)) == (2, 4)
    for found in ("", "/found"):
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_, found=found: found)
        for button in sheet.findChildren(IconButton):
            if button.parent() is sheet:
                button.click()
        assert (sheet.index_folder.text(), sheet.new_folder.text()) == (
            (" /made ", "/new") if not found else (found, found)
        )


def test_the_report_of_an_index_names_its_problems() -> None:
    counts = {"added": 4, "changed": 0, "removed": 1, "unchanged": 2, "images": 6, "log": []}
    fine = _report("/x/made", {**counts, "unreachable": 0, "bad": []})
    assert (fine.level, fine.text) == ("info", "made: 6 images indexed; 4 added, 1 removed, 2 unchanged.")
    away = _report("/x/made", {**counts, "unreachable": 3, "bad": []})
    assert (away.level, away.text.endswith("3 are unavailable and stay in the index.")) == ("warning", True)
    bad = _report("/x/made", {**counts, "unreachable": 0, "bad": [f"{number}.png" for number in range(22)]})
    assert "22 cannot be used." in bad.text
    assert bad.details.splitlines()[-1] == "and 2 more"
    assert _report("/x", {"relocated": 5}).text == "5 images of /x were relocated."
    assert _report("/x", {"relocated": 1}).text == "1 image of /x was relocated."
