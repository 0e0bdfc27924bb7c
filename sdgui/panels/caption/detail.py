"""The selected image of the Caption panel: large, with all candidates of both models, scores and provenance.

Flow: the list's current entry -> ``show_entry`` -> candidates; Enter, double click or Alt+number ->
``candidate_accepted``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import (
    QListView,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from core.spec.caption_files import Candidate
from core.spec.run.model_names import parse_interpolated, run_and_checkpoint, tuned_name
from sdgui.panels.caption.model import SIDES, STATE_TEXTS, Entry, Side
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.formats import capitalize, count, fixed
from sdgui.widgets.gallery.image_label import ImageLabel
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, theme

_IMAGE_SIZE = 26 * SPACE  # width and height, in px
_CANDIDATE = Qt.ItemDataRole.UserRole
_ROW_MARGIN = 6 * SPACE  # padding and icon of a candidate's row, in px


class CaptionsDetail(QWidget):
    """The selected image, its candidates and where they come from."""

    candidate_accepted = Signal(str, str, str)  # path, text, side: use this candidate as the caption

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entry: Entry | None = None
        self._titles: dict[Side, str] = {"a": "Model", "b": "Second model"}  # title of each side's model
        self._origins: Mapping[str, Mapping[str, Any]] = {}
        self._run_names: Mapping[str, str] = {}  # folder of a run -> its name
        blank = QPixmap(16, 16)
        blank.fill(Qt.GlobalColor.transparent)
        self._blank = QIcon(blank)
        self.image = ImageLabel(_IMAGE_SIZE, self)
        self.name = ElidedLabel("", self, Qt.TextElideMode.ElideMiddle, role="title")
        self.state = PlainLabel(self, wordWrap=True, role="small")
        self.candidates = QListWidget(self)
        self.candidates.setAccessibleName("Candidates")
        self.candidates.setToolTip(
            "Press Enter or double-click to use a candidate as the caption; Alt+1 to Alt+9 use candidates 1 to 9"
        )
        self.candidates.setWordWrap(True)
        self.candidates.setItemDelegate(_WrappingDelegate(self.candidates))
        self.candidates.setIconSize(QSize(16, 16))
        self.candidates.setResizeMode(QListView.ResizeMode.Adjust)
        self.candidates.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.provenance = PlainLabel(self, wordWrap=True, role="small")
        self.provenance.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.provenance.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        image = (self.image, 0, Qt.AlignmentFlag.AlignHCenter)
        texts = (self.name, self.state, (self.candidates, 1), self.provenance)
        vbox(image, *texts, into=self, spacing=SPACE // 2, margins=(SPACE, 0, 0, 0))
        self.candidates.itemActivated.connect(self._accept)
        self.candidates.setMinimumHeight(12 * SPACE)
        self.setMinimumWidth(_IMAGE_SIZE + 2 * SPACE)
        theme().changed.connect(self._restyle)  # a method, so that it is disconnected with this widget
        self.show_entry(None)

    def _restyle(self) -> None:
        self.show_entry(self._entry)

    def set_titles(self, titles: Mapping[Side, str]) -> None:
        """Set the titles of the two models."""
        self._titles = dict(titles)
        self.show_entry(self._entry)

    def set_origins(self, origins: Mapping[str, Mapping[str, Any]], run_names: Mapping[str, str]) -> None:
        """Set the origins of captions (key -> model, weights and settings) and the names of runs by folder."""
        are_renamed = run_names != self._run_names
        self._origins, self._run_names = origins, run_names
        if are_renamed:
            self.show_entry(self._entry)

    def show_entry(self, entry: Entry | None) -> None:
        """Show an image with its candidates; None clears the view."""
        previous_entry, self._entry = self._entry, entry
        if entry is None or previous_entry is None or entry.path != previous_entry.path:
            self.image.show_image(Path(entry.path) if entry is not None else None)
        self.name.setText(" ".join(entry.name.split()) if entry is not None else "")
        self.name.setToolTip(plain_tip(entry.path if entry is not None else ""))
        self.state.setText(self._state_text(entry))
        contents = self._provenances(entry)
        self.provenance.setText(
            "\n".join(dict.fromkeys(provenance_text(content, self._run_names) for content in contents))
        )
        self.provenance.setToolTip(plain_tip("\n".join(dict.fromkeys(map(weights_text, contents)))))
        self._fill(entry)

    def accept(self, number: int) -> None:
        """Use a candidate as the caption; ``number`` counts the candidates of both models from 0."""
        items = [item for item in self._items() if item.data(_CANDIDATE) is not None]
        if number < len(items):
            self._accept(items[number])

    def _items(self) -> list[QListWidgetItem]:
        return [self.candidates.item(row) for row in range(self.candidates.count())]

    def _state_text(self, entry: Entry | None) -> str:
        if entry is None:
            return "Select an image in the list."
        text = STATE_TEXTS[entry.state]
        if entry.error:
            text = (
                f"failed: {entry.error}"
                if entry.state == "failed"
                else f"{text}; the last attempt failed: {entry.error}"
            )
        return capitalize(text)

    def _fill(self, entry: Entry | None) -> None:
        self.candidates.clear()
        number = 0
        for side in SIDES:
            captions = entry.captions.get(side) if entry is not None else None
            if entry is None or captions is None:
                continue
            if len(entry.captions) > 1:
                model = self._origins.get(captions.origin)  # may differ from the selected model
                self._heading(model_text(model, self._run_names) if model else self._titles[side])
            for candidate in captions.candidates:
                number += 1
                item = QListWidgetItem(_two_lines(candidate), self.candidates)
                item.setData(_CANDIDATE, (candidate.text, side))
                keys = f"\nAlt+{number} uses this candidate" if number < 10 else ""
                item.setToolTip(plain_tip(f"{candidate.text}{keys}\nlog p: log-probability of this caption"))
                is_caption = candidate.text == entry.text
                item.setIcon(theme().icon("ph.check", "good") if is_caption else self._blank)
                item.setData(
                    Qt.ItemDataRole.AccessibleTextRole,
                    f"{candidate.text}, the caption" if is_caption else candidate.text,
                )

    def _heading(self, title: str) -> None:
        item = QListWidgetItem(title, self.candidates)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        item.setForeground(theme().color("muted"))
        item.setFont(theme().font("small"))

    def _accept(self, item: QListWidgetItem) -> None:
        candidate = item.data(_CANDIDATE)
        if candidate is not None and self._entry is not None:
            self.candidate_accepted.emit(self._entry.path, *candidate)

    def _provenances(self, entry: Entry | None) -> list[Mapping[str, Any]]:
        """The provenance of each model's captions of ``entry``."""
        origins = [captions.origin for captions in entry.captions.values()] if entry is not None else []
        return [self._origins[origin] for origin in origins if origin in self._origins]


class _WrappingDelegate(QStyledItemDelegate):
    """Makes rows as high as their text: Qt ignores the style sheet's padding and would clip the scores."""

    def __init__(self, view: QListWidget) -> None:
        super().__init__(view)
        self._view = view

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        self.initStyleOption(option, index)
        room = max(self._view.viewport().width() - _ROW_MARGIN, _ROW_MARGIN)
        flags = Qt.TextFlag.TextWordWrap | Qt.TextFlag.TextWrapAnywhere
        text = option.fontMetrics.boundingRect(QRect(0, 0, room, 1 << 16), int(flags), option.text)
        return QSize(room, text.height() + SPACE)


def _two_lines(candidate: Candidate) -> str:
    """The caption with its scores, if any, below."""
    score = f"mean log-prob per token {fixed(candidate.score)}" if candidate.score is not None else ""
    log_prob = f"log p {fixed(candidate.log_prob)}" if candidate.log_prob is not None else ""
    scores = " · ".join(part for part in (score, log_prob) if part)
    return "\n".join(filter(None, (candidate.text or "(empty)", scores)))


def provenance_text(content: Mapping[str, Any], run_names: Mapping[str, str]) -> str:
    """Provenance in one line, ``sd-coca demo · run 1 · step 234 · teacher · beam 6``: model, step, search and seed."""
    settings = content.get("settings") or {}
    search = str(settings.get("search", ""))
    decoding = {"beam": f"beam {settings.get('beams')}", "sample": f"sample, seed {settings.get('seed')}"}.get(
        search, search
    )
    return " · ".join(part for part in (model_text(content, run_names), decoding) if part)


def weights_text(content: Mapping[str, Any]) -> str:
    """``SHA-256 of the weights: 3f2a…``, or "" if it is not known."""
    digest = str(content.get("digest") or "")
    return f"SHA-256 of the weights: {digest}" if digest else ""


def model_text(content: Mapping[str, Any], run_names: Mapping[str, str]) -> str:
    """``sd-coca demo · run 1 · alpha 0.5 · step 234 · teacher``; a run without a name by its folder's."""
    model, step = str(content.get("model", "")), content.get("step")
    interpolated, (folder, checkpoint) = parse_interpolated(model), run_and_checkpoint(model)
    if interpolated is not None and checkpoint.isdecimal():  # then the worker names no step
        step = int(checkpoint)
    parts = [
        run_names.get(folder) or Path(tuned_name(model)).name.partition("@")[0],
        str(content.get("pretrained") or ""),
        f"alpha {interpolated.alpha:g}" if interpolated is not None else "",
        f"step {count(int(step))}" if isinstance(step, int) else "",
        str(content.get("weights") or ""),
    ]
    return " · ".join(part for part in parts if part)
