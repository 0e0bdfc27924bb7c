"""The chooser of presets by itself: found by words, reached by keys, sized, and taken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.presets import PRESETS, SIZES
from sdgui.shared.pickers.preset_facts import FAMILIES, preset_needs
from sdgui.shared.pickers.presets import SIZE_TEXTS, PresetChooser

NAME = Qt.ItemDataRole.UserRole
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


def listed(chooser: PresetChooser) -> list[str]:
    """What is seen of the list: headings, and presets by name."""
    rows = [chooser.list.item(row) for row in range(chooser.list.count())]
    return [str(row.data(NAME) or row.text().upper()) for row in rows if not row.isHidden()]


def test_headings_disappear_with_their_last_preset(chooser: PresetChooser) -> None:
    expected = []
    for family in FAMILIES:
        expected += [family.title.upper(), *(preset.name for preset in family.presets)]
    assert listed(chooser) == expected
    chooser.line.setText("furlanello")
    family = next(
        candidate for candidate in FAMILIES if any(preset.name == "born-again" for preset in candidate.presets)
    )
    assert listed(chooser) == [family.title.upper(), "born-again"]
    assert chooser.preset_chosen() == "born-again"
    chooser.line.setText("no such system")
    assert listed(chooser) == []
    assert (chooser.title.text(), chooser.about.text(), chooser.button.isEnabled()) == ("No matching preset", "", False)
    chooser._choose()
    assert chooser.isVisible(), "there is nothing to choose"
    chooser.line.clear()
    assert listed(chooser) == expected
    assert chooser.button.isEnabled()
    heading = chooser.list.item(0)
    assert heading.flags() == Qt.ItemFlag.NoItemFlags
    chooser.open("coca", "nonsense")
    assert (chooser.list.count(), chooser.size_chosen()) == (len(expected), "demo"), "it is filled once"
    chooser.line.setText("furlanello")
    chooser.hide()
    chooser.open("coca", "tiny")
    assert (chooser.line.text(), listed(chooser), chooser.preset_chosen()) == ("", expected, "coca")


def test_the_preset_under_the_cursor_is_described_for_the_size(qtbot: QtBot, chooser: PresetChooser) -> None:
    assert [button.text() for button in chooser.sizes.buttons()] == [SIZE_TEXTS[size] for size in SIZES]
    chooser.open("blip2", "demo")
    assert (chooser.preset_chosen(), chooser.title.text()) == ("blip2", PRESETS["blip2"].title)
    assert (chooser.about.text(), chooser.paper.text()) == (PRESETS["blip2"].description, PRESETS["blip2"].paper)
    assert chooser.marks.text() == "\n".join(f"• {need.sentence}" for need in preset_needs("blip2", "demo")) != ""
    for size in ("base", "tiny"):
        chooser.sizes.button(SIZES.index(size)).click()  # type: ignore[arg-type]
        assert chooser.size_chosen() == size
        assert chooser.marks.text() == "\n".join(f"• {need.sentence}" for need in preset_needs("blip2", size))  # type: ignore[arg-type]
    assert preset_needs("blip2", "base") == ()
    for number, size in enumerate(SIZES):
        qtbot.keyClick(chooser, Qt.Key(Qt.Key.Key_1 + number), ALT)
        assert chooser.size_chosen() == size


def test_arrow_and_page_keys_skip_headings_and_hidden_entries(qtbot: QtBot, chooser: PresetChooser) -> None:
    every = [name for name in listed(chooser) if name in PRESETS]
    position = every.index(chooser.preset_chosen())
    steps = ((Qt.Key.Key_Down, 1), (Qt.Key.Key_PageDown, 8), (Qt.Key.Key_Up, -1), (Qt.Key.Key_PageUp, -8))
    for key, by in (*steps, (Qt.Key.Key_PageUp, -8), (Qt.Key.Key_Up, -1)):
        qtbot.keyClick(chooser.line, key)
        position = min(max(position + by, 0), len(every) - 1)
        assert chooser.preset_chosen() == every[position]
    for _ in range(len(every) // 8 + 1):
        qtbot.keyClick(chooser.line, Qt.Key.Key_PageDown)
    assert chooser.preset_chosen() == every[-1]
    chooser.line.setText("no such system")
    qtbot.keyClick(chooser.line, Qt.Key.Key_Down)
    assert chooser.preset_chosen() == ""


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


def test_the_picker_stays_within_its_window_and_shows_requirements(chooser: PresetChooser) -> None:
    window = chooser._over.window()
    assert window.width() > chooser.width()
    assert window.height() > chooser.height()
    centre = chooser.geometry().center().x() - window.mapToGlobal(window.rect().center()).x()
    assert abs(centre) <= 2
    rows = {str(row.data(NAME)): row for row in map(chooser.list.item, range(chooser.list.count())) if row.data(NAME)}
    assert rows["clip"].toolTip() == "clip"
    assert rows["coca"].toolTip() == f"coca: needs {', '.join(need.word for need in preset_needs('coca'))}"
    spoken = rows["coca"].data(Qt.ItemDataRole.AccessibleTextRole)
    family = next(candidate for candidate in FAMILIES if any(preset.name == "coca" for preset in candidate.presets))
    assert spoken == f"{PRESETS['coca'].title}, {family.title}, {preset_needs('coca')[0].word}"
    assert not rows["clip"].icon().isNull()
