"""The widgets of the Clean panel, and the texts of its labels and images; ``CleanPanel`` controls them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QPushButton, QSplitter, QStackedWidget, QWidget

from sdgui.panels.clean.histogram import ScoreHistogram
from sdgui.panels.clean.model import BINS, Pair, PairFilter, RankedPairs
from sdgui.panels.clean.source import CleanSource
from sdgui.panels.clean.table import PairsTable
from sdgui.shared.basket import BASKET_SHORTCUT
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_number
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.formats import count, count_with_unit, percent
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.input_boxes import NoWheelComboBox
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.over import FOOT_HEIGHT, lay_over
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE

_FILTERS: tuple[tuple[str, PairFilter], ...] = (
    ("All, lowest match score first", "all"),
    ("Below the threshold", "below"),
    ("Unmarked", "unmarked"),
    ("Marked mismatched", "mismatched"),
    ("Marked correct", "correct"),
)
_KEYS = {Qt.Key.Key_X: True, Qt.Key.Key_Space: False, Qt.Key.Key_U: None}  # key -> mark, as in ``marked``
_HINT = "X mismatched · Space correct · U unmark · S use suggestion · F2 edit · Enter enlarge · Ctrl+Z undo"
_TOOLS_HEIGHT = 5 * SPACE  # slider and key hints between the gallery and the row of buttons
_EMPTY = "Choose a model and data above. The model ranks the pairs by how well caption and image match, lowest first."


class CleanView(QWidget):
    """Source at the top; gallery on the left, histogram and table on the right; counts and saving at the bottom."""

    marked = Signal(object)  # True: mismatched, False: correct, None: no mark
    undo_requested = Signal()
    suggestion_requested = Signal()  # correct the selected pairs to the suggested captions
    edit_requested = Signal()  # correct the caption of the current pair by hand

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.source = CleanSource(services, self)
        self.strip = ProgressStrip(self)
        self.bar = MessageBar(self)
        self.stack = QStackedWidget(self)
        self.empty = EmptyState("ph.eraser", "Find mismatched pairs", _EMPTY, parent=self.stack, primary=False)
        self.body = self._make_body()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.body)
        column = vbox(self.source, (self.stack, 1), margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE))
        lay_over(self, column, self.bar, lift=FOOT_HEIGHT + _TOOLS_HEIGHT)
        for view in (self.gallery.view, self.table):
            view.installEventFilter(self)
        self._restore_layout()

    def _make_body(self) -> QWidget:
        """Create parents before children, since reparenting a widget restyles all its children."""
        body = QWidget(self.stack)
        self.split = QSplitter(Qt.Orientation.Horizontal, body, childrenCollapsible=False)
        self._build_image_side()
        self._build_figure_side()
        self.split.setSizes([450, 440])
        vbox((self.split, 1), self._make_foot(body), into=body)
        return body

    def _build_image_side(self) -> None:
        image_side = QWidget(self.split)
        self.filters = NoWheelComboBox(image_side)
        self.filters.setAccessibleName("Which pairs are shown")
        self.filters.setToolTip("Which pairs are shown")
        for text, key in _FILTERS:
            self.filters.addItem(text, key)
        self.filter_box = QLineEdit(image_side, placeholderText="Filter captions", clearButtonEnabled=True)
        self.filter_box.setAccessibleName(self.filter_box.placeholderText())
        self.gallery = Gallery(self._services.store.home / "thumbnails", "No pair matches the filter.", image_side)
        self.gallery.view.setAccessibleName("Ranked pairs as images")
        self.gallery.view.setToolTip(plain_tip(_HINT))
        self.hint = ElidedLabel(_HINT, image_side, role="small")
        top = hbox(self.filters, (self.filter_box, 1))
        vbox(top, (self.gallery, 1), self.hint, into=image_side, spacing=SPACE // 2, margins=(0, 0, SPACE, 0))

    def _build_figure_side(self) -> None:
        figure_side = QWidget(self.split)
        self.facts = PlainLabel(figure_side, wordWrap=True, role="small")
        self.threshold_text = PlainLabel(figure_side, wordWrap=True)
        self.sides = QSplitter(Qt.Orientation.Vertical, figure_side)
        self.histogram = ScoreHistogram(self.sides)
        self.table = PairsTable(self.sides)
        self.sides.setSizes([200, 320])
        vbox(
            self.facts,
            self.threshold_text,
            (self.sides, 1),
            into=figure_side,
            spacing=SPACE // 2,
            margins=(SPACE, 0, 0, 0),
        )

    def _make_foot(self, body: QWidget) -> QHBoxLayout:
        self.counts = ElidedLabel("", body)
        self.exclude_below = QCheckBox("Exclude all be&low the threshold", body)
        self.exclude_below.setToolTip("Exclude all pairs below the threshold, except those marked correct")
        self.basket_button = QPushButton("Add to &basket", body)
        tip = "Add the excluded pairs to the basket of data fixes, to apply and retrain later (Ctrl+Alt+B)"
        self.basket_button.setToolTip(plain_tip(tip))
        self.basket_button.setShortcut(QKeySequence(BASKET_SHORTCUT))
        self.save_button = QPushButton("&Save as new data…", body)
        self.save_button.setToolTip("Save the remaining pairs as a new table (Ctrl+S)")
        self.save_button.setShortcut(QKeySequence("Ctrl+S"))
        self.use_button = QPushButton("&Use in a new experiment", body)
        self.use_button.setToolTip("Copy the run's experiment, with the saved data as training data")
        return hbox((self.counts, 1), self.exclude_below, self.basket_button, self.save_button, self.use_button)

    def offer_shuffled(self, has_shuffled: bool) -> None:
        """Offer a filter for shuffled pairs if the data marks them."""
        row = self.filters.findData("shuffled")
        if has_shuffled and row < 0:
            self.filters.addItem("Marked as shuffled in the data", "shuffled")
        elif not has_shuffled and row >= 0:
            self.filters.removeItem(row)

    # Images
    @staticmethod
    def item(ranked_pairs: RankedPairs, index: int, line: bool) -> GalleryItem:
        """The gallery item of a pair; ``line``: with the threshold line above."""
        pair = ranked_pairs.pairs[index]
        is_corrected, mark = pair.key in ranked_pairs.corrections, ranked_pairs.marks.get(pair.key)
        suggestion = f"suggestion: {pair.suggestion}" if pair.suggestion else ""
        badge = "corrected" if is_corrected else {None: "", True: "mismatched", False: "correct"}[mark]
        truth = {None: "", True: "shuffled according to the data", False: "correct according to the data"}
        return GalleryItem(
            Path(pair.path),
            ranked_pairs.caption(pair),
            pair.match_score,
            pair.rank,
            None if mark is None or is_corrected else not mark,
            detail="\n".join(part for part in (suggestion, _probability(pair), truth[pair.shuffled]) if part),
            badge=badge,
            badge_spoken=f"marked {badge}" if badge and not is_corrected else badge,
            faint=ranked_pairs.is_excluded(pair) and not is_corrected,
            line=line,
        )

    # Texts
    def show_counts(self, ranked_pairs: RankedPairs | None, shown_count: int, other_source: str = "") -> None:
        """Show the numbers of pairs ranked, below the threshold, marked and excluded.

        ``other_source``: the model and data of the ranking if they differ from the chosen ones.
        """
        excluded_count = 0 if ranked_pairs is None else ranked_pairs.excluded_count()
        self.save_button.setEnabled(excluded_count > 0)
        if ranked_pairs is None:
            self.basket_button.setEnabled(False)
            return
        # corrected pairs are excluded too, but their corrections are already in the basket
        self.basket_button.setEnabled(excluded_count > len(ranked_pairs.corrections))
        facts = ""
        if other_source:
            facts = f"This ranking is by {other_source}. Press Rank the pairs to rank with the current choice.\n"
        facts += f"{count_with_unit(ranked_pairs.total, 'pair')} ranked: {_verdict(ranked_pairs)}"
        if len(ranked_pairs.pairs) < ranked_pairs.total:
            facts += f" The {count(len(ranked_pairs.pairs))} pairs with the lowest match scores are listed."
        if ranked_pairs.shuffled and ranked_pairs.precision is not None:
            facts += (
                f" The data marks {count(ranked_pairs.shuffled)} as shuffled. "
                f"Precision at {count(ranked_pairs.shuffled)}: {percent(ranked_pairs.precision)}."
            )
        if ranked_pairs.ranked_at:
            facts += f" Ranked {datetime.fromtimestamp(ranked_pairs.ranked_at).strftime('%Y-%m-%d %H:%M')}."
        self.facts.setText(facts.replace(" %", "\u00a0%"))
        below, shuffled_below = ranked_pairs.below_count(), ranked_pairs.shuffled_below_count()
        text = f"{count(below)} below {ranked_pairs.threshold / BINS:.3f}" if ranked_pairs.threshold else ""
        if shuffled_below is not None and below and ranked_pairs.shuffled:
            recall = percent(shuffled_below / ranked_pairs.shuffled)
            text += f": {percent(shuffled_below / below)} of these are shuffled ({recall} of all shuffled pairs)"
        self.threshold_text.setText(text)
        mismatched, correct = (ranked_pairs.mark_count(mismatched=mark) for mark in (True, False))
        self.counts.setText(
            f"{count(excluded_count)} of {count(ranked_pairs.total)} excluded · "
            f"{count(mismatched)} marked mismatched, {count(correct)} correct"
            f" · {count(shown_count)} shown"
        )

    def show_empty(self, ready: bool, ranking: bool) -> None:
        """Show what the panel is for and the next step."""
        if ranking:
            self.empty.set_content("Ranking the pairs", "The model encodes every image and caption once.")
        elif ready:
            text = "Ranks all pairs by match score and lists them, lowest score first."
            self.empty.set_content("Find mismatched pairs", text, "Rank the pairs", "Ctrl+Shift+R")
        else:
            self.empty.set_content("Find mismatched pairs", _EMPTY)
        self.stack.setCurrentWidget(self.empty)

    # Keys
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """X, Space and U mark, in gallery and table, before the views handle these keys."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier)
            key = Qt.Key(event.key())
            if plain and key in _KEYS:
                self.marked.emit(_KEYS[key])
                return True
            if (plain and key == Qt.Key.Key_S) or key == Qt.Key.Key_F2:
                (self.edit_requested if key == Qt.Key.Key_F2 else self.suggestion_requested).emit()
                return True
            if event.matches(QKeySequence.StandardKey.Undo):
                self.undo_requested.emit()
                return True
            if watched is self.table and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.gallery.preview(self.table.currentIndex().row())
                return True
        return super().eventFilter(watched, event)

    # Sizes
    def save_layout(self) -> None:
        """Save the filters and the thumbnail size to the settings."""
        settings = self._services.settings
        settings.setValue("clean/images", self.gallery.thumbnail_size())
        settings.setValue("clean/filter", self.filters.currentData())
        settings.setValue("clean/below", self.exclude_below.isChecked())

    def _restore_layout(self) -> None:
        settings = self._services.settings
        remember_sizes(self.split, settings, "clean/split")
        remember_sizes(self.sides, settings, "clean/sides")
        self.gallery.set_thumbnail_size(parse_number(settings.value("clean/images"), 112))
        self.filters.setCurrentIndex(max(0, self.filters.findData(settings.value("clean/filter"))))
        self.exclude_below.setChecked(str(settings.value("clean/below")).lower() == "true")


def _verdict(ranked_pairs: RankedPairs) -> str:
    """How many pairs are likely mismatched; no estimate if the scores form a single group."""
    if ranked_pairs.two_groups:
        return f"{count(ranked_pairs.mismatched)} likely mismatched."
    return "no pairs stand out as mismatched. Pairs with the lowest match scores are listed first."


def _probability(pair: Pair) -> str:
    return "" if pair.clean_probability is None else f"probability of a correct caption: {pair.clean_probability:.3f}"
