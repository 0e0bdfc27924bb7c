"""The Mistakes tab: misclassified images, most confident first.

Flow: an `EvaluationResult` contains the first mistakes; scrolling down -> ``more_requested`` -> the panel asks the
worker -> ``append``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from core.spec.data.fixes import Fix, Kind
from core.spec.run.model_names import run_and_checkpoint
from sdgui.panels.classify.model import EvaluationResult
from sdgui.shared.basket import Basket, Finding, offer_in_menu
from sdgui.widgets.formats import count, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE

PAGE = 120  # images per request
LOAD_MORE_AT = 0.9  # scroll position from which more images are requested
_BASKET: tuple[tuple[str, str, Kind], ...] = (
    (
        "Add to the &basket: replace the label by the prediction",
        "Adds a data fix that replaces the label by the predicted class",
        "relabelled",
    ),
    ("Add to the b&asket: exclude", "Adds a data fix that excludes these images from the data", "excluded"),
)


class MistakesTab(QWidget):
    """The number of mistakes, and a gallery of the misclassified images."""

    more_requested = Signal(int)  # index of the first mistake to add

    def __init__(self, cache: Path, basket: Basket, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._result: EvaluationResult | None = None
        self._predicted: list[str] = []  # predicted class of each image
        self.summary = PlainLabel(self, wordWrap=True, role="muted")
        self.gallery = Gallery(cache, "", self)
        self._total, self._requested = 0, 0
        for title, tip, kind in _BASKET:
            offer_in_menu(self.gallery, basket, title, tip, partial(self._make_finding, kind))
        vbox(self.summary, (self.gallery, 1), into=self, margins=(SPACE, SPACE, 0, 0))
        self.gallery.scrolled.connect(lambda share: self._request_more() if share > LOAD_MORE_AT else None)

    def show_result(self, result: EvaluationResult) -> None:
        """Show the first mistakes of a result."""
        self._total = int(result.answer["mistake_count"])
        self._result, self._predicted = result, []
        self.gallery.set_items([])
        self._requested = 0
        samples = int(result.answer["samples"])
        if self._total:
            self.summary.setText(
                f"{count(self._total)} of {count(samples)} test images are misclassified, most confident first. "
                "Below each image: predicted class, true class."
            )
        else:
            self.summary.setText(f"All {count(samples)} test images are classified correctly.")
        self.append({"images": result.answer["mistakes"]})

    def append(self, answer: Mapping[str, Any]) -> None:
        """Add more mistakes; ``answer``: the answer of ``classify_mistakes``."""
        items = mistake_items(answer["images"], self.gallery.model.rowCount())
        self._predicted += [str(mistake["predicted"]) for mistake in answer["images"]]
        self.gallery.model.append(items)
        self._requested = self.gallery.model.rowCount()

    def _make_finding(self, kind: Kind, rows: list[int]) -> Finding | None:
        """The fixes that exclude the images at ``rows``, or label them with the predicted class."""
        target = self._result.evaluation.target if self._result is not None else None
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
                run=run_and_checkpoint(target.model)[0] or target.model,
            )
            for row in rows
        ]
        return Finding(target.data, tuple(fixes))

    def more_failed(self) -> None:
        """Handle a failed request: scrolling retries the request."""
        self._requested = self.gallery.model.rowCount()

    def _request_more(self) -> None:
        loaded = self.gallery.model.rowCount()
        if loaded == self._requested < self._total:
            self._requested = loaded + PAGE
            self.more_requested.emit(loaded)


def prediction_line(true: str, predicted: str, image: Mapping[str, Any]) -> str:
    """``true: cat, predicted: dog (12.0 %)``, and whether other classes have the same score."""
    tied = "; other classes have the same score" if image.get("tied") else ""
    return f"true: {true}, predicted: {predicted} ({percent(image['probability'])}){tied}"


def mistake_items(images: Sequence[Mapping[str, Any]], first: int) -> list[GalleryItem]:
    """Gallery items with the true and the predicted class."""
    return [
        GalleryItem(
            Path(mistake["image"]),
            f"predicted {mistake['predicted']}{' (tied)' if mistake.get('tied') else ''}, true {mistake['true']}",
            float(mistake["probability"]),
            first + number,
            correct=False,
            detail=prediction_line(str(mistake["true"]), str(mistake["predicted"]), mistake),
        )
        for number, mistake in enumerate(images, start=1)
    ]
