"""Why a model retrieves an image: the image with its relevant patches, and each word's share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QFrame, QWidget

from sdgui.panels.search.why.image import HEAT, HeatImage
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.layouts.boxes import clear_layout, hbox, vbox
from sdgui.widgets.layouts.flow_layout import FlowLayout
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.verbs import RelevantWord, Why

_MOST_WORDS = 40  # words of the caption that are shown
_MAX_OPACITY = 0.5  # opacity behind the most relevant word; the text stays readable in both themes
_PLACES = (("upper", "middle", "lower"), ("left", "middle", "right"))


class WhyView(QFrame):
    """The view: call ``show_waiting``, then ``show_answer`` or ``show_message``."""

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
        right = vbox(hbox((self.title, 1), (close_button, 0, top), spacing=-1), (self._words, 1))
        hbox((self.image, 0, top), (right, 1), into=self, spacing=2 * SPACE, margins=SPACE)
        self.setFixedHeight(self.image.height() + 2 * SPACE + 2)
        self.setAccessibleName("Why this match")
        self.hide()

    def show_waiting(self, path: Path) -> None:
        """Show the image; an earlier explanation of this image stays until the new one arrives."""
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
        self.title.setText(f"Cosine {answer['cosine']:.3f} · each word's share")
        best = sorted(words, key=lambda word: -word["relevance"])[:3]
        top_words = (
            ", ".join(f"{word['text']} {_percent(word['relevance'])}" for word in best) if is_relevant else "no word"
        )
        self.setAccessibleDescription(
            f"Cosine {answer['cosine']:.3f}. Words: {top_words}. "
            f"Most relevant patch: {patch_position(answer['patches'])}."
        )

    def show_message(self, sentence: str) -> None:
        """Show why there is no explanation."""
        self.image.show_patches([])
        self._set_words([])
        self.title.setText(sentence)
        self.setAccessibleDescription(sentence)

    def _set_words(self, words: Sequence[RelevantWord]) -> None:
        clear_layout(self._flow)
        highest = max((word["relevance"] for word in words), default=0.0)
        for word in words[:_MOST_WORDS]:
            label = _Word(word["text"], word["relevance"], highest, self._words)
            self._flow.addWidget(label)
            label.show()


class _Word(PlainLabel):
    """A word and its share, with a background whose opacity shows the share."""

    def __init__(self, text: str, share: float, highest: float, parent: QWidget) -> None:
        super().__init__(f"{text}  {_percent(share)}", parent)
        self._background = QColor(HEAT)
        self._background.setAlphaF(_MAX_OPACITY * min(1.0, max(0.0, share / highest)) if highest > 0 else 0.0)
        self.setContentsMargins(SPACE, SPACE // 2, SPACE, SPACE // 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._background)
        painter.drawRoundedRect(self.rect(), SPACE / 2, SPACE / 2)
        painter.end()
        super().paintEvent(event)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def patch_position(patches: Sequence[Sequence[float]]) -> str:
    """The position of the most relevant patch, such as ``upper left``; ``none`` if no patch is relevant."""
    share, y, x = max(
        ((share, y, x) for y, row in enumerate(patches) for x, share in enumerate(row)), default=(0.0, 0, 0)
    )
    if share <= 0:
        return "none"
    names = (_PLACES[0][(6 * y + 3) // (2 * len(patches))], _PLACES[1][(6 * x + 3) // (2 * len(patches[y]))])
    return "middle" if names == ("middle", "middle") else " ".join(names)
