"""The Try it tab: which classes are shown for which picture, and what is asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from sdgui.panels.classify.tabs.try_it import TryTab


class Tried:
    """The Try it tab, what it asks, and answers to it."""

    def __init__(self, tab: TryTab, folder: Path) -> None:
        self.tab = tab
        self.asked: list[tuple[list[str], list[str], bool]] = []
        self.paths = [str(folder / "pictures" / f"{number}-0.png") for number in range(3)]
        tab.asked.connect(lambda pictures, names, current: self.asked.append((pictures, names, current)))
        tab.show_probe("colours", "a probe")
        tab.add(self.paths)

    def answer(self, path: str, name: str) -> None:
        classes = [{"class": name, "probability": 1.0}]
        one = {"image": path, "probe": classes, "zero_shot": None, "error": ""}
        self.tab.show_answer({"pictures": [one]})

    def choose(self, row: int) -> None:
        self.tab.gallery.view.setCurrentIndex(self.tab.gallery.model.index(row))

    @property
    def shown(self) -> list[str]:
        return [row["class"] for row in self.tab.by_probe.rows()]


@pytest.fixture
def tried(qtbot: QtBot, tmp_path: Path) -> Tried:
    tab = TryTab(tmp_path, QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(tab)
    tab.show()
    return Tried(tab, tmp_path)


def test_a_picture_without_an_answer_does_not_show_anothers_classes(tried: Tried) -> None:
    tried.answer(tried.paths[0], "cat")
    assert tried.shown == ["cat"]
    tried.choose(1)
    assert tried.shown == []
    tried.choose(0)
    assert tried.shown == ["cat"]


def test_known_answers_stay_until_the_question_is_another(qtbot: QtBot, tried: Tried) -> None:
    for path, name in zip(tried.paths[:2], ("cat", "dog"), strict=True):
        tried.answer(path, name)
    tried.asked.clear()
    tried.choose(2)
    qtbot.waitUntil(lambda: bool(tried.asked))
    tried.tab.show_probe("colours", "a probe")  # the same one: another tab was looked at
    tried.tab.ask_more()
    assert tried.asked == [([tried.paths[2]], [], True), ([tried.paths[2]], [], False)]
    tried.choose(1)
    assert tried.shown == ["dog"]
    tried.asked.clear()
    tried.tab.names.setPlainText("fox, owl")
    qtbot.waitUntil(lambda: bool(tried.asked))
    assert tried.asked == [([tried.paths[1]], ["fox", "owl"], True)]
    assert tried.shown == ["dog"], "until the new ones come"
    tried.tab.show_probe("shapes", "another probe")
    assert tried.shown == []


def test_a_picture_that_was_removed_and_added_again_is_asked_for_again(tried: Tried) -> None:
    tried.answer(tried.paths[0], "cat")
    tried.tab._remove([0, 1, 2])
    assert tried.shown == []
    tried.asked.clear()
    tried.tab.add(tried.paths[:1])
    assert tried.asked == [([tried.paths[0]], [], True)]


def test_why_a_picture_cannot_be_read_is_said_while_it_is_looked_at(tried: Tried) -> None:
    why = "It is no picture."
    tried.tab.show_answer({"pictures": [{"image": tried.paths[0], "probe": None, "zero_shot": None, "error": why}]})
    tried.answer(tried.paths[1], "cat")
    assert (tried.tab.line.text(), tried.tab.line.isVisible()) == (why, True)
    tried.choose(1)
    assert (tried.tab.line.text(), tried.tab.line.isVisible(), tried.shown) == ("", False, ["cat"])
    tried.choose(0)
    assert (tried.tab.line.isVisible(), tried.shown) == (True, [])
