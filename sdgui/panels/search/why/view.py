"""Why a model retrieves an image: the image with its relevant patches, and each word's share of the relevance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QWidget

from sdgui.panels.search.why.image import HEAT, HeatImage
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import STYLE_SPACING, clear_layout, hbox, vbox
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.verbs import RelevantWord, Why

_MAX_WORDS = 40  # that are shown
_MAX_OPACITY = 0.5  # opacity behind the most relevant word; the text stays readable in both themes
_PLACES = (("upper", "middle", "lower"), ("left", "middle", "right"))


class WhyView(QFrame):
    """The explanation: call ``show_waiting``, then ``show_answer`` or ``show_message``."""

    closed = Signal()  # the user closed the view

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        set_role(self, "card")
        self.image = HeatImage(self)
        self.title = PlainLabel("", self, wordWrap=True, role="small")
        self._words = QWidget(self)
        self._flow = FlowLayout(self._words)
        close_button = IconButton("ph.x", "Close “Why this match?” (W)", parent=self)
        close_button.clicked.connect(self.closed)
        top = Qt.AlignmentFlag.AlignTop
        right = vbox(hbox((self.title, 1), (close_button, 0, top), spacing=STYLE_SPACING), (self._words, 1))
        hbox((self.image, 0, top), (right, 1), into=self, spacing=2 * SPACE, margins=SPACE)
        self.setFixedHeight(self.image.height() + 2 * SPACE + 2)
        self.setAccessibleName("Why this match")
        self.hide()

    def show_waiting(self, path: Path) -> None:
        """Show the image; an older explanation of the same image stays until the new one arrives."""
        is_same = self.image.path == path
        self.image.show_image(path)
        if not is_same:
            self.show_message("Computing the relevance…")

    def show_answer(self, answer: Why) -> None:
        """Show the relevance of patches and words."""
        self.image.show_patches(answer["patches"])
        words = answer["words"]
        self._set_words(words)
        is_relevant = any(word["relevance"] > 0 for word in words)
        self.title.setText(f"Cosine {answer['cosine']:.3f} · each word's share of the relevance")
        best = sorted(words, key=lambda word: -word["relevance"])[:3]
        top_words = (
            ", ".join(f"{word['text']} {_percent(word['relevance'])}" for word in best) if is_relevant else "no word"
        )
        self.setAccessibleDescription(
            f"Cosine {answer['cosine']:.3f}. Words: {top_words}. "
            f"Most relevant patch: {patch_position(answer['patches'])}."
        )

    def show_message(self, message: str) -> None:
        """Show ``message`` instead of an explanation: what is being computed, or why there is none."""
        self.image.show_patches([])
        self._set_words([])
        self.title.setText(message)
        self.setAccessibleDescription(message)

    def _set_words(self, words: Sequence[RelevantWord]) -> None:
        clear_layout(self._flow)
        highest = max((word["relevance"] for word in words), default=0.0)
        for word in words[:_MAX_WORDS]:
            label = _Word(word["text"], word["relevance"], highest, self._words)
            self._flow.addWidget(label)
            label.show()


class _Word(PlainLabel):
    """A word and its relevance, which also sets the opacity of the background."""

    def __init__(self, text: str, relevance: float, highest: float, parent: QWidget) -> None:
        super().__init__(f"{text}  {_percent(relevance)}", parent)
        self._background = QColor(HEAT)
        self._background.setAlphaF(_MAX_OPACITY * min(1.0, max(0.0, relevance / highest)) if highest > 0 else 0.0)
        self.setContentsMargins(SPACE, SPACE // 2, SPACE, SPACE // 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._background)
        painter.drawRoundedRect(self.rect(), SPACE / 2, SPACE / 2)
        painter.end()
        super().paintEvent(event)


def _percent(relevance: float) -> str:
    return f"{100 * relevance:.0f} %"


def patch_position(patches: Sequence[Sequence[float]]) -> str:
    """The position of the most relevant patch, such as ``upper left``; ``none`` if no patch is relevant."""
    relevance, y, x = max(
        ((relevance, y, x) for y, row in enumerate(patches) for x, relevance in enumerate(row)), default=(0.0, 0, 0)
    )
    if relevance <= 0:
        return "none"
    names = _PLACES[0][_third(y, len(patches))], _PLACES[1][_third(x, len(patches[y]))]
    return "middle" if names == ("middle", "middle") else " ".join(names)


def _third(index: int, count: int) -> int:
    """Which third (0, 1 or 2) of ``count`` patches contains the centre of patch ``index``."""
    return int(3 * (index + 0.5) / count)
