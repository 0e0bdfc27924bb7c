"""Curves of several runs on one plot, with toolbar and legend. (Signatures; being filled in.)"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

XMode = Literal["step", "time"]


class LivePlot(QWidget):
    """Curves by key. ``color`` is a palette index (follows the theme) or a QColor."""

    curve_hovered = Signal(str)  # key under the mouse in the legend, "" when it left
    visibility_changed = Signal(str, bool)  # key, shown: the user toggled it in the legend

    def __init__(self, title: str = "", unit: str = "", empty_text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)

    def set_curve(
        self,
        key: str,
        x: ArrayLike,
        y: ArrayLike,
        name: str = "",
        color: int | QColor = 0,
        style: Qt.PenStyle = Qt.PenStyle.SolidLine,
        times: ArrayLike | None = None,
    ) -> None:
        """Replace a curve. ``x`` steps, ``y`` values (nan and inf leave a gap), ``times`` seconds since the epoch."""
        raise NotImplementedError

    def append(self, key: str, x: ArrayLike, y: ArrayLike, times: ArrayLike | None = None) -> None:
        """Add points (scalars or arrays) to a curve that ``set_curve`` made; KeyError when there is none."""
        raise NotImplementedError

    def remove_curve(self, key: str) -> None: ...
    def clear(self) -> None: ...
    def keys(self) -> list[str]: ...
    def set_visible(self, key: str, visible: bool) -> None: ...
    def set_log(self, log: bool) -> None: ...
    def set_smoothing(self, weight: float) -> None:
        """0 (none) to 0.999, TensorBoard's meaning; the raw curve stays, faint."""

    def set_x_mode(self, mode: XMode) -> None: ...
    def reset_view(self) -> None: ...
    def save_csv(self, path: str) -> None: ...
    def save_image(self, path: str) -> None:
        """PNG or SVG, by the ending."""

    def points(self, key: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and raw values held."""
        raise NotImplementedError
