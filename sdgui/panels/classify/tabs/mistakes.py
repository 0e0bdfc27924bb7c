"""The Mistakes tab: misclassified pictures, most confident first.

Flow: a `Measured` brings the first ones; scrolling down -> ``more_asked`` -> the panel asks the worker -> ``append``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from sdgui.panels.classify.model import Measured
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role

PAGE = 120


class MistakesTab(QWidget):
    """Their number, and the pictures."""

    more_asked = Signal(int)  # from which number on

    def __init__(self, cache: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.line = PlainLabel(self, wordWrap=True)
        set_role(self.line, "muted")
        self.gallery = Gallery(cache, "", self)
        self._total, self._asked = 0, 0
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, 0, 0)
        column.setSpacing(SPACE)
        column.addWidget(self.line)
        column.addWidget(self.gallery, 1)
        self.gallery.view.verticalScrollBar().valueChanged.connect(lambda _value: self._more())

    def show_result(self, found: Measured) -> None:
        """Show the first mistakes of a result."""
        self._total = int(found.answer["mistake_count"])
        self.gallery.set_items([])
        self._asked = 0
        samples = int(found.answer["samples"])
        if self._total:
            self.line.setText(
                f"{count(self._total)} of {count(samples)} test pictures are misclassified, most confident first. "
                "Captions: predicted class, not true class."
            )
        else:
            self.line.setText(f"All {count(samples)} test pictures are classified correctly.")
        self.append({"pictures": found.answer["mistakes"]})

    def append(self, answer: Mapping[str, Any]) -> None:
        """Add more; ``answer`` of ``classify_mistakes``."""
        items = mistake_items(answer["pictures"], self.gallery.model.rowCount())
        self.gallery.model.append(items)
        self._asked = self.gallery.model.rowCount()

    def more_failed(self) -> None:
        """The request failed: scrolling asks again."""
        self._asked = self.gallery.model.rowCount()

    def _more(self) -> None:
        bar, there = self.gallery.view.verticalScrollBar(), self.gallery.model.rowCount()
        if there == self._asked < self._total and bar.value() >= bar.maximum() - bar.pageStep():
            self._asked = there + PAGE  # not asked for twice
            self.more_asked.emit(there)


def mistake_items(pictures: Sequence[Mapping[str, Any]], first: int = 0) -> list[GalleryItem]:
    """Pictures with their true and their predicted class."""
    return [
        GalleryItem(
            Path(one["image"]),
            f"{one['predicted']}, not {one['true']}",
            float(one["probability"]),
            first + number,
            correct=False,
            detail=f"true: {one['true']}, predicted: {one['predicted']} with {percent(one['probability'])}",
        )
        for number, one in enumerate(pictures, start=1)
    ]
