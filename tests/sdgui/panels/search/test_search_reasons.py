"""Why a match, by hand: words on a ground as strong as their share, heat over the image, what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.why.image import HEAT, HeatImage, centre_square, heat
from sdgui.panels.search.why.view import WhyView, patch_position
from sdgui.widgets.style.theme import theme


def test_reasons_are_highlighted_words_and_a_heat_map(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    reasons = WhyView()
    qtbot.addWidget(reasons)
    reasons.show()
    closed: list[None] = []
    reasons.closed.connect(lambda: closed.append(None))
    image = QImage(40, 20, QImage.Format.Format_RGB32)
    image.fill(QColor("red"))
    image.save(str(tmp_path / "a.png"))

    def words() -> list[str]:
        return [child.text() for child in reasons._words.findChildren(QLabel) if child.isVisible()]

    reasons.show_waiting(tmp_path / "a.png")
    assert (reasons.title.text(), words()) == ("Computing the relevance …", [])
    qtbot.waitUntil(lambda: reasons.image._image is not None)
    found = [
        {"text": text, "relevance": share} for text, share in (("a", 0.1), ("red", 0.6), ("hat", 0.3), ("on", 0.0))
    ]
    reasons.show_answer({"cosine": 0.25, "patches": [[0.0, 1.0], [0.0, 0.0]], "words": found})  # type: ignore[typeddict-item]
    assert reasons.title.text() == "Cosine 0.250 · each word's share"
    assert words() == ["a  10 %", "red  60 %", "hat  30 %", "on  0 %"]
    assert reasons.accessibleDescription() == (
        "Cosine 0.250. Words: red 60 %, hat 30 %, a 10 %. Most relevant patch: upper right."
    )
    grounds = [child._ground.alphaF() for child in reasons._words.findChildren(QLabel) if child.isVisible()]  # type: ignore[attr-defined]
    assert grounds == pytest.approx([0.5 / 6, 0.5, 0.25, 0.0], abs=0.01)
    labels = [child for child in reasons._words.findChildren(QLabel) if child.isVisible()]
    inks = [label.grab().toImage().pixelColor(2, label.height() // 2).saturation() for label in labels]
    assert inks[3] < inks[0] < inks[2] < inks[1], "the ground is as strong as the share"
    shown = reasons.image.grab().toImage()
    side = shown.width()
    assert shown.pixelColor(side - 4, 4).saturation() > 100 > 5 > shown.pixelColor(4, side - 4).saturation()
    reasons.show_waiting(tmp_path / "a.png")
    assert len(words()) == 4, "the older reasons stay until the newer are there"
    reasons.show_answer({"cosine": 0.25, "patches": [[0.0]], "words": [{"text": "a", "relevance": 0.0}]})
    assert "Words: no word. Most relevant patch: none." in reasons.accessibleDescription()
    assert reasons.image._heat is None
    reasons.show_answer({"cosine": 0.2, "patches": [[1.0]], "words": found * 20})  # type: ignore[typeddict-item]
    assert len(words()) == 40
    reasons.show_sentence("Type words.")
    assert (reasons.title.text(), reasons.accessibleDescription(), words(), reasons.image._heat) == (
        "Type words.", "Type words.", [], None,
    )  # fmt: skip
    next(child for child in reasons.findChildren(QWidget) if child.toolTip().startswith("Close: why")).click()  # type: ignore[attr-defined]
    assert len(closed) == 1


def test_an_unreadable_image_gives_the_reason_and_clears_the_last(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    image = HeatImage()
    qtbot.addWidget(image)
    image.show()
    (tmp_path / "b.png").write_bytes(b"no image")
    image.show_patches([[1.0]])
    image.show_image(tmp_path / "b.png")
    assert image._heat is None
    qtbot.waitUntil(lambda: image.toolTip() != "")
    assert image.toolTip().startswith("The image cannot be shown: ")
    assert image.grab().toImage().pixelColor(5, 5) == theme().color("raised")
    image.show_image(None)
    assert image.path is None


def test_heat_follows_the_relevance_over_the_centre_of_the_image() -> None:
    assert heat([]) is None
    assert heat([[0.0, 0.0]]) is None
    assert heat([[1.0, 0.0], [1.0]]) is None, "rows of other lengths are no image"
    found = heat([[2.0, 1.0, -1.0]])
    assert found is not None
    assert (found.width(), found.height()) == (3, 1)
    assert [found.pixelColor(x, 0).alphaF() for x in range(3)] == pytest.approx([0.8, 0.4, 0.0], abs=0.01)
    assert found.pixelColor(0, 0).rgb() == HEAT.rgb()
    image = QImage(60, 20, QImage.Format.Format_ARGB32)
    image.fill(QColor(0, 0, 0, 0))
    for x in range(20, 40):
        for y in range(10):
            image.setPixelColor(x, y, QColor("black"))
    square = centre_square(image)
    assert (square.width(), square.height()) == (20, 20)
    assert [square.pixelColor(10, y).lightness() for y in (5, 15)] == [0, 255], "white where it is transparent"
    tall = centre_square(image.copy(20, 0, 10, 20))
    assert (tall.width(), tall.height()) == (10, 10)
    assert [tall.pixelColor(5, y).lightness() for y in (2, 8)] == [0, 255]
    places = {
        patch_position([[float((y, x) == at) for x in range(3)] for y in range(3)])
        for at in ((0, 0), (1, 0), (2, 2), (0, 1))
    }
    assert places == {"upper left", "middle left", "lower right", "upper middle"}
    assert patch_position([[0.0], [0.0], [0.5]]) == "lower middle"
    seven = [patch_position([[float((y, x) == (at, at)) for x in range(7)] for y in range(7)]) for at in range(7)]
    assert seven == ["upper left"] * 2 + ["middle"] * 3 + ["lower right"] * 2
