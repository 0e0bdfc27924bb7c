"""The parts of a query as chips: words and images with a weight, included or excluded, and removable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent, QShowEvent, QWheelEvent
from PySide6.QtWidgets import QDoubleSpinBox, QFrame, QHBoxLayout, QScrollArea, QSizePolicy, QWidget

from sdgui.panels.search.model import Part
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import clear_layout, hbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role

_IMAGE_SIZE = 3 * SPACE  # width and height, in px
_HEIGHT = 28  # px, fits one line of text
_MAX_TITLE_LENGTH = 28


class Chip(QFrame):
    """The chip of one part. Minus and plus change the sign, Delete removes the part."""

    changed = Signal(object)  # Part
    removed = Signal()

    def __init__(self, part: Part, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._part = part
        set_role(self, "card")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self._sign = IconButton("ph.plus", "", parent=self)
        self._sign.clicked.connect(self._toggle_sign)
        title = part.title if len(part.title) <= _MAX_TITLE_LENGTH else f"{part.title[: _MAX_TITLE_LENGTH - 1]}…"
        self._title = PlainLabel(title, self)
        self._title.setToolTip(plain_tip(part.image or part.words))
        self._weight = _Weight(self, minimum=0.1, maximum=9.9, singleStep=0.1, decimals=1, prefix="×")
        self._weight.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self._weight.setFixedWidth(7 * SPACE)
        self._weight.setToolTip("Weight of this part (arrow keys)")
        self._weight.setAccessibleName(f"Weight of {part.title}")
        self._weight.setValue(abs(part.weight))
        self._weight.valueChanged.connect(self._set_weight)
        remove = IconButton("ph.x", f"Remove {part.title} from the query", parent=self)
        remove.clicked.connect(self.removed)
        widgets: list[QWidget] = [self._sign, self._title, self._weight, remove]
        if part.image:
            image = ImageLabel(_IMAGE_SIZE, self)
            image.show_image(Path(part.image))
            widgets.insert(1, image)
        hbox(*widgets, into=self, spacing=SPACE // 2, margins=(SPACE // 2, 0, SPACE // 2, 0))
        for button in (self._sign, remove):
            button.setFixedHeight(_IMAGE_SIZE)
        self.setFixedHeight(_HEIGHT)
        self._show()

    @property
    def part(self) -> Part:
        return self._part

    def _toggle_sign(self) -> None:
        self._set_part(replace(self._part, weight=-self._part.weight))

    def _set_weight(self, weight: float) -> None:
        self._set_part(replace(self._part, weight=weight if self._part.weight > 0 else -weight))

    def _set_part(self, part: Part) -> None:
        if part != self._part:
            self._part = part
            self._show()
            self.changed.emit(part)

    def _show(self) -> None:
        is_included = self._part.weight >= 0
        tip = "Included; click to exclude" if is_included else "Excluded; click to include"
        self._sign.set_icon("ph.plus" if is_included else "ph.minus", tip)
        self._sign.setAccessibleName(f"{self._part.title}: {tip}")
        self.setAccessibleName(f"Query part: {self._part.spoken}")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.removed.emit()
        elif event.key() == (Qt.Key.Key_Minus if self._part.weight > 0 else Qt.Key.Key_Plus):
            self._toggle_sign()
        else:
            super().keyPressEvent(event)


class _Weight(QDoubleSpinBox):
    """The weight without step buttons; the style sheet would reserve their space and leave none for the text."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._widen()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._widen()

    def _widen(self) -> None:
        line = self.lineEdit()
        line.setStyleSheet("padding: 0 4px; border: none; min-height: 0; background: transparent;")
        line.setGeometry(self.rect().adjusted(2, 1, -2, -1))


class ChipRow(QScrollArea):
    """The chips in a scrolling row; hidden if there are no parts.

    ``changed``: a part was changed or removed.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.chips: list[Chip] = []
        self._content = QWidget(self.viewport())
        self._row = hbox(into=self._content, spacing=SPACE // 2)
        self._row.setSizeConstraint(QHBoxLayout.SizeConstraint.SetFixedSize)
        self.setWidget(self._content)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Query parts")
        self.hide()

    def sizeHint(self) -> QSize:
        return self._row.sizeHint()

    def minimumSizeHint(self) -> QSize:
        return QSize(12 * SPACE if self.chips else 0, self._row.sizeHint().height())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll along the row."""
        turned = event.angleDelta().y() or event.angleDelta().x()
        self.horizontalScrollBar().setValue(self.horizontalScrollBar().value() - turned // 2)

    def parts(self) -> tuple[Part, ...]:
        return tuple(chip.part for chip in self.chips)

    def set_parts(self, parts: tuple[Part, ...]) -> None:
        """Replace the parts without emitting ``changed``."""
        clear_layout(self._row)
        self.chips = []
        for part in parts:
            self._append_chip(part)
        self.setVisible(bool(self.chips))
        self.updateGeometry()

    def add(self, part: Part) -> None:
        """Add a part."""
        self._append_chip(part)
        self.show()
        self.updateGeometry()
        QTimer.singleShot(0, self, lambda: self.ensureWidgetVisible(self.chips[-1]) if self.chips else None)
        self.changed.emit()

    def _append_chip(self, part: Part) -> None:
        chip = Chip(part, self)
        chip.changed.connect(lambda _part: self.changed.emit())
        chip.removed.connect(lambda: self._remove(chip))
        self.chips.append(chip)
        self._row.addWidget(chip)
        chip.show()

    def _remove(self, chip: Chip) -> None:
        index = self.chips.index(chip)
        self.set_parts(tuple(other.part for other in self.chips if other is not chip))
        if self.chips:
            self.chips[min(index, len(self.chips) - 1)].setFocus()
        self.changed.emit()
