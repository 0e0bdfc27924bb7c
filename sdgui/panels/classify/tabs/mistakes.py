"""The Mistakes tab: misclassified pictures, most confident first.

Flow: a `Measured` brings the first ones; scrolling down -> ``more_asked`` -> the panel asks the worker -> ``append``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from core.spec.data.fixes import Fix, Kind
from sdgui.panels.classify.model import Measured
from sdgui.shared.basket import Basket, Finding, offer_in_menu
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role

PAGE = 120
_BASKET: tuple[tuple[str, str, Kind], ...] = (
    ("Add to the &basket: wrong label, take the predicted one", "The label becomes the predicted class", "relabelled"),
    ("Add to the b&asket: leave out", "The pictures are left out of the data", "excluded"),
)


class MistakesTab(QWidget):
    """Their number, and the pictures."""

    more_asked = Signal(int)  # from which number on

    def __init__(self, cache: Path, basket: Basket, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: Measured | None = None
        self._predicted: list[str] = []  # of each picture
        self.line = PlainLabel(self, wordWrap=True)
        set_role(self.line, "muted")
        self.gallery = Gallery(cache, "", self)
        self._total, self._asked = 0, 0
        for title, tip, kind in _BASKET:
            offer_in_menu(self.gallery, basket, title, tip, partial(self._finding, kind))
        column = QVBoxLayout(self)
        column.setContentsMargins(SPACE, SPACE, 0, 0)
        column.setSpacing(SPACE)
        column.addWidget(self.line)
        column.addWidget(self.gallery, 1)
        self.gallery.view.verticalScrollBar().valueChanged.connect(lambda _value: self._more())

    def show_result(self, found: Measured) -> None:
        """Show the first mistakes of a result."""
        self._total = int(found.answer["mistake_count"])
        self._found, self._predicted = found, []
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
        self._predicted += [str(one["predicted"]) for one in answer["pictures"]]
        self.gallery.model.append(items)
        self._asked = self.gallery.model.rowCount()

    def _finding(self, kind: Kind, rows: list[int]) -> Finding | None:
        """The pictures at ``rows`` left out, or with the predicted class for their label."""
        target = self._found.measure.target if self._found is not None else None
        if target is None or not rows or (kind == "relabelled" and not target.label):
            return None
        label = target.label if kind == "relabelled" else ""
        items = self.gallery.items()
        fixes = [
            Fix(
                kind=kind,
                path=str(items[row].path),
                label=label,
                value=self._predicted[row] if label else "",
                panel="Classify",
                run=target.model.rpartition("@")[0] or target.model,
            )
            for row in rows
        ]
        return Finding(target.data, tuple(fixes))

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
