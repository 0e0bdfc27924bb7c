"""Demo images to caption with one click while the list is empty."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QToolButton, QWidget

from sdgui.runs.demo import DemoData
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE

_EXAMPLE_COUNT = 6
_IMAGE_SIZE = 7 * SPACE  # width and height, in px


class Examples(QWidget):
    """A row of image buttons; pressing one captions its image."""

    chosen = Signal(str)  # path of the image

    def __init__(self, demo: DemoData, parent: QWidget) -> None:
        super().__init__(parent)
        self._demo = demo
        self.buttons: list[QToolButton] = []
        self._row = hbox()
        label = PlainLabel("Or try a demo image", self, role="small")
        vbox((label, 0, Qt.AlignmentFlag.AlignHCenter), self._row, into=self, margins=(0, 2 * SPACE, 0, 0))
        self.hide()

    def fill(self) -> bool:
        """Show the images if the demo data exists; returns whether any are shown."""
        for path in () if self.buttons else self._demo.examples(_EXAMPLE_COUNT):
            button = QToolButton(self)
            button.setIcon(QIcon(str(path)))
            button.setIconSize(QSize(_IMAGE_SIZE, _IMAGE_SIZE))
            button.setToolTip("Caption this image")
            button.setAccessibleName(f"Caption demo image {len(self.buttons) + 1}")
            button.setCursor(Qt.CursorShape.PointingHandCursor)
            button.clicked.connect(lambda _checked=False, path=str(path): self.chosen.emit(path))
            self.buttons.append(button)
            self._row.addWidget(button)
        return bool(self.buttons)
