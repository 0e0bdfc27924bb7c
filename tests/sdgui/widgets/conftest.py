"""Widgets are tested without a screen; the theme is applied once, as the window does."""

from __future__ import annotations

import os

import pytest
from PySide6.QtWidgets import QApplication

from sdgui.widgets.style.theme import Theme, apply_theme

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(autouse=True)
def look(qapp: QApplication) -> Theme:
    theme = apply_theme(qapp)
    if theme.scheme != "light":  # styling every widget anew costs time
        theme.set_scheme("light")
    return theme
