"""The chooser of presets by itself: found by words, reached by keys, sized, and taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import PRESETS, SIZES
from sdgui.shared.pickers.preset_facts import preset_needs
from sdgui.shared.pickers.presets import SIZE_TEXTS, PresetChooser

ALT = Qt.KeyboardModifier.AltModifier


@pytest.fixture
def chooser(qtbot: QtBot) -> Iterator[PresetChooser]:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(1000, 800)
    window.show()
    chooser = PresetChooser(window, "Start from this preset")
    chooser.open("clip", "demo")
    yield chooser
    chooser.hide()


def test_the_preset_under_the_cursor_is_described_for_the_size(qtbot: QtBot, chooser: PresetChooser) -> None:
    assert [button.text() for button in chooser.sizes.buttons()] == [SIZE_TEXTS[size] for size in SIZES]
    chooser.open("blip2", "demo")
    assert (chooser.selected_preset(), chooser.title.text()) == ("blip2", PRESETS["blip2"].title)
    assert (chooser.about.text(), chooser.paper.text()) == (PRESETS["blip2"].description, PRESETS["blip2"].paper)
    assert chooser.needs.text() == "\n".join(f"• {need.sentence}" for need in preset_needs("blip2", "demo")) != ""
    for size in ("base", "tiny"):
        chooser.sizes.button(SIZES.index(size)).click()  # type: ignore[arg-type]
        assert chooser.selected_size() == size
        assert chooser.needs.text() == "\n".join(f"• {need.sentence}" for need in preset_needs("blip2", size))  # type: ignore[arg-type]
    assert preset_needs("blip2", "base") == ()
    for number, size in enumerate(SIZES):
        qtbot.keyClick(chooser, Qt.Key(Qt.Key.Key_1 + number), ALT)
        assert chooser.selected_size() == size


def test_a_preset_is_chosen_by_enter_double_click_or_the_button(qtbot: QtBot, chooser: PresetChooser) -> None:
    took: list[tuple[str, str]] = []
    chooser.chosen.connect(lambda *preset: took.append(preset))
    assert chooser.button.text() == "Start from this preset"

    def double_click() -> None:
        chooser.list.itemDoubleClicked.emit(chooser.list.currentItem())

    ways = (
        lambda: qtbot.keyClick(chooser, Qt.Key.Key_Return),
        lambda: qtbot.keyClick(chooser, Qt.Key.Key_Enter),
        chooser.button.click,
        double_click,
    )
    for number, way in enumerate(ways, start=1):
        chooser.open("coca", "tiny")
        assert chooser.isVisible()
        assert chooser.focusWidget() is chooser.line
        way()
        assert (len(took), took[-1], chooser.isVisible()) == (number, ("coca", "tiny"), False)
