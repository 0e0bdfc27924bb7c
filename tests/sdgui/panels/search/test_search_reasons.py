"""Why a match, by hand: words on a ground as strong as their share, heat over the image, what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.search.why.image import HeatImage
from sdgui.panels.search.why.view import WhyView
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
    assert (reasons.title.text(), words()) == ("Computing the relevance…", [])
    qtbot.waitUntil(lambda: reasons.image._image is not None)
    found = [
        {"text": text, "relevance": share} for text, share in (("a", 0.1), ("red", 0.6), ("hat", 0.3), ("on", 0.0))
    ]
    reasons.show_answer({"cosine": 0.25, "patches": [[0.0, 1.0], [0.0, 0.0]], "words": found})  # type: ignore[typeddict-item]
    assert reasons.title.text() == "Cosine 0.250 · each word's share of the relevance"
    assert words() == ["a  10 %", "red  60 %", "hat  30 %", "on  0 %"]
    assert reasons.accessibleDescription() == (
        "Cosine 0.250. Words: red 60 %, hat 30 %, a 10 %. Most relevant patch: upper right."
    )
    grounds = [child._background.alphaF() for child in reasons._words.findChildren(QLabel) if child.isVisible()]  # type: ignore[attr-defined]
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
    reasons.show_message("Type words.")
    assert (reasons.title.text(), reasons.accessibleDescription(), words(), reasons.image._heat) == (
        "Type words.", "Type words.", [], None,
    )  # fmt: skip
    next(child for child in reasons.findChildren(QWidget) if child.toolTip().startswith("Close “Why")).click()  # type: ignore[attr-defined]
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
