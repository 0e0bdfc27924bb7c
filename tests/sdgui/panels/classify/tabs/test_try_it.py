"""The Try it tab: which classes are shown for which image, and what is asked for again."""

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
        self.paths = [str(folder / "images" / f"{number}-0.png") for number in range(3)]
        tab.predictions_requested.connect(lambda images, names, current: self.asked.append((images, names, current)))
        tab.show_probe("colours", "a probe")
        tab.add(self.paths)

    def answer(self, path: str, name: str) -> None:
        classes = [{"class": name, "probability": 1.0}]
        one = {"image": path, "probe": classes, "zero_shot": None, "error": ""}
        self.tab.show_answer({"images": [one]})

    def choose(self, row: int) -> None:
        self.tab.gallery.view.setCurrentIndex(self.tab.gallery.model.index(row))

    @property
    def shown(self) -> list[str]:
        return [row["class"] for row in self.tab.by_probe.model.rows]


@pytest.fixture
def tried(qtbot: QtBot, tmp_path: Path) -> Tried:
    tab = TryTab(tmp_path, QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(tab)
    tab.show()
    return Tried(tab, tmp_path)


def test_an_image_without_an_answer_does_not_show_the_classes_of_another(tried: Tried) -> None:
    tried.answer(tried.paths[0], "cat")
    assert tried.shown == ["cat"]
    tried.choose(1)
    assert tried.shown == []
    tried.choose(0)
    assert tried.shown == ["cat"]


def test_cached_answers_stay_until_the_question_changes(qtbot: QtBot, tried: Tried) -> None:
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


def test_an_image_removed_and_added_again_is_requested_again(tried: Tried) -> None:
    tried.answer(tried.paths[0], "cat")
    tried.tab._remove([0, 1, 2])
    assert tried.shown == []
    tried.asked.clear()
    tried.tab.add(tried.paths[:1])
    assert tried.asked == [([tried.paths[0]], [], True)]


def test_names_come_from_the_data_and_update_while_typing(qtbot: QtBot, tried: Tried) -> None:
    tab = tried.tab
    assert not tab.names_from_data.isEnabled()
    tab.set_class_names(["cat", "Smith, John"])
    assert tab.names_from_data.isEnabled()
    tab.names_from_data.click()
    assert tab.typed_names() == ["cat", "Smith, John"], "a line each, whatever commas there are"
    for text, names in ((" a , b ,, ", ["a", "b"]), ("a\n\n b, c ", ["a", "b, c"]), ("", []), ("a, b\n", ["a", "b"])):
        tab.names.setPlainText(text)
        assert tab.typed_names() == names
    tab.set_class_names([f"class {number}" for number in range(1000)])
    assert "only the first 200 of 1,000" in tab.names_from_data.toolTip()
    tab.set_class_names([])
    assert not tab.names_from_data.isEnabled()
    tab.show_probe("")
    assert tab.probe_title.text().startswith("No probe yet")
    tab.show_probe("colours", "another")
    assert tab.probe_title.text() == "Probe: colours"


def test_an_image_shows_its_likeliest_class_by_probe_or_names(tried: Tried) -> None:
    def classes(*names: str) -> list[dict[str, object]]:
        return [{"class": name, "probability": 0.5} for name in names]

    one, two, three = tried.paths
    tried.tab.show_answer({"images": [
        {"image": one, "probe": classes("cat", "dog"), "zero_shot": classes("fox"), "error": ""},
        {"image": two, "probe": None, "zero_shot": classes("fox"), "error": ""},
        {"image": three, "probe": None, "zero_shot": None, "error": "It is no image."},
        {"image": "/removed.png", "probe": classes("cat"), "zero_shot": None, "error": ""},
    ]})  # fmt: skip
    items = tried.tab.gallery.items()
    assert [(item.caption, item.score) for item in items] == [("cat", 0.5), ("fox", 0.5), ("", None)]
    assert items[0].detail == "cat 50.0 %\ndog 50.0 %"
    assert items[2].detail == "It is no image."
    assert [row["class"] for row in tried.tab.by_names.model.rows] == ["fox"]
