"""Colours that everyone can tell apart, icons for every state, and switching live."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.status import RunState
from sdgui.store.records import HUE_COUNT
from sdgui.widgets.style.colors import DARK, LIGHT, Colors
from sdgui.widgets.style.theme import Theme, theme

# Viénot, Brettel, Mollon 1999: linear RGB as a deuteranope and a protanope see it
_BLINDNESS = {
    "deuteranopia": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
    "protanopia": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
    "none": np.eye(3),
}


def _linear(color: str) -> np.ndarray:
    rgb = np.array(QColor(color).getRgbF()[:3])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _contrast(first: str, two: str) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted((float(_linear(first) @ weights), float(_linear(two) @ weights)))
    return (light + 0.05) / (dark + 0.05)


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_have_contrast(colors: Colors) -> None:
    for ground in (colors.surface, colors.window):
        for text in (colors.text, colors.muted, colors.accent_text, colors.good, colors.warning, colors.error):
            assert _contrast(text, ground) >= 4.5, (text, ground)
        assert _contrast(colors.strong_border, ground) >= 2.9
    for level in ("warning", "error"):
        assert _contrast(getattr(colors, level), getattr(colors, f"{level}_fill")) >= 4.5, level
    assert _contrast(colors.on_accent, colors.accent) >= 4.5
    for run in colors.runs:
        assert _contrast(run, colors.surface) >= 3.0, run


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_shades_of_a_run_colour_are_distinguishable(qapp: QApplication, scheme: Literal["light", "dark"]) -> None:
    look = theme()
    look.set_scheme(scheme)
    try:
        assert len(look.colors.runs) == HUE_COUNT, "as the store numbers them"
        for hue in range(8):
            shades = [look.run_color(hue + HUE_COUNT * repeat) for repeat in range(5)]
            assert shades[0].name() == look.colors.runs[hue]
            seen = [_lab(_linear(shade.name())) for shade in shades]
            assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 6.5, hue
    finally:
        look.set_scheme("system")


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("blindness", sorted(_BLINDNESS))
def test_run_colours_are_distinguishable(colors: Colors, blindness: str) -> None:
    seen = [_lab(_BLINDNESS[blindness] @ _linear(run)) for run in colors.runs]
    for (i, first), (j, two) in itertools.combinations(enumerate(seen), 2):
        assert np.linalg.norm(first - two) > 10, (blindness, colors.runs[i], colors.runs[j])


def test_every_state_has_its_own_icon_and_words(look: Theme) -> None:
    images = [look.state_icon(state).pixmap(32, 32).toImage() for state in RunState]
    assert all(not image.isNull() for image in images)
    assert all(first != two for first, two in itertools.combinations(images, 2))
    assert len({look.state_text(state) for state in RunState}) == len(RunState)


def test_the_theme_switches_live(look: Theme, qapp: QApplication, qtbot) -> None:
    with qtbot.waitSignal(look.changed):
        look.set_scheme("dark")
    assert look.dark
    assert qapp.palette().color(QPalette.ColorRole.Window) == QColor(DARK.window)
    assert DARK.surface in qapp.styleSheet()
    look.set_scheme("light")
    assert qapp.palette().color(QPalette.ColorRole.Window) == QColor(LIGHT.window)


class _Restyled(QObject):
    """Counts how often a widget is told of another style."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        self.times += event.type() == QEvent.Type.StyleChange
        return False


def test_switching_styles_a_deep_widget_as_often_as_a_shallow_one(look: Theme, qtbot: QtBot) -> None:
    outermost = QWidget()
    qtbot.addWidget(outermost)
    widgets = [outermost]
    for _ in range(8):
        widgets.append(QLabel("in it", widgets[-1]))
    outermost.show()
    heard = [_Restyled() for _ in widgets]
    for widget, counter in zip(widgets, heard, strict=True):
        widget.installEventFilter(counter)
    look.set_scheme("light" if look.dark else "dark")
    assert heard[-1].times == heard[0].times
