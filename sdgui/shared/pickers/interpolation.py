"""The slider next to a model chip: from the initial to the tuned weights of a run, or from one model to another.

Flow: slider -> ``ModelChip.set_alpha`` -> the chip's ``changed`` and ``interpolated``. It is hidden if the
chosen model has nothing to interpolate with.
"""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QSlider, QWidget

from sdgui.shared.pickers.model_chip import ModelChip
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE

_SETTLE_MS = 150  # delay before the weights at a new position are used
_PARTS, _STEP, _PAGE = 100, 5, 10  # range, key step and page step of the slider, in hundredths of alpha
_WIDTH, _NARROW = 12 * SPACE, 8 * SPACE
_MAX_LENGTH = 12  # displayed characters of another model's title


class InterpolationSlider(QWidget):
    """Sets alpha of ``chip``: 0 is the initial model, 1 the tuned one."""

    save_requested = Signal(object)  # ModelChoice: save these weights as a model

    def __init__(self, chip: ModelChip, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._chip, self._is_available = chip, True
        chip.interpolates = True
        self.slider = _Slider(self)
        self.initial, self.tuned = (PlainLabel(text, self, role="small") for text in ("Initial", "Tuned"))
        self.value = PlainLabel(self, role="small")
        self.value.setMinimumWidth(self.value.fontMetrics().horizontalAdvance("0.00") + 2)
        self.save = IconButton("ph.floppy-disk", "Save as model…", parent=self)
        hbox(self.initial, self.slider, self.tuned, self.value, self.save, into=self, spacing=SPACE // 2)
        self._settle = QTimer(self, singleShot=True, interval=_SETTLE_MS)
        self._settle.timeout.connect(self._use_value)
        self.slider.valueChanged.connect(self._on_slid)
        self.slider.sliderReleased.connect(self._use_value)
        self.save.clicked.connect(self._ask_save)
        chip.shown.connect(self.follow)
        self.follow()

    def set_available(self, is_available: bool) -> None:
        """Hide the slider for every model unless ``is_available``."""
        self._is_available = is_available
        self.follow()

    def set_compact(self, is_compact: bool) -> None:
        """Save space for a second model: only the tooltip shows the names of the ends."""
        for label in (self.initial, self.tuned):
            label.setVisible(not is_compact)
        self.slider.setFixedWidth(_NARROW if is_compact else _WIDTH)

    def follow(self) -> None:
        """Show alpha of the chosen model, unless the user is moving the slider."""
        ends = self._chip.interpolation_ends()
        self.setVisible(ends is not None and self._is_available)
        if ends is None:
            self._settle.stop()
            return
        for label, text, title in ((self.initial, "Initial", ends[0]), (self.tuned, "Tuned", ends[1])):
            label.setText(title[:_MAX_LENGTH] if self._chip.interpolates_with_another() else text)
            label.setToolTip(plain_tip(title))
        tip = (
            f"Interpolates the weights: 0 is {ends[0]}, 1 is {ends[1]}. The arrow keys change the value by 0.05; "
            "a double-click sets it to 1. Images are encoded again for each value."
        )
        self.slider.setToolTip(plain_tip(tip))
        if not self._settle.isActive() and not self.slider.isSliderDown():
            self.slider.blockSignals(True)
            self.slider.setValue(round(_PARTS * self._chip.alpha))
            self.slider.blockSignals(False)
            self._show_value()

    def _on_slid(self) -> None:
        self._show_value()
        self._settle.start()

    def _show_value(self) -> None:
        text = f"{self.slider.value() / _PARTS:.2f}"
        self.value.setText(text)
        self.slider.setAccessibleDescription(f"{text} tuned weights")
        self.save.setEnabled(0 < self.slider.value() < _PARTS)

    def _use_value(self) -> None:
        self._settle.stop()
        self._chip.set_alpha(self.slider.value() / _PARTS)

    def _ask_save(self) -> None:
        self._use_value()
        if (choice := self._chip.choice()) is not None:
            self.save_requested.emit(choice)


class _Slider(QSlider):
    """A slider from 0 to 1 in hundredths; a double click sets 1, and the wheel scrolls the page."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setRange(0, _PARTS)
        self.setValue(_PARTS)
        self.setSingleStep(_STEP)
        self.setPageStep(_PAGE)
        self.setAccessibleName("Initial to tuned weights")
        self.setFixedWidth(_WIDTH)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)
        self.setValue(_PARTS)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
