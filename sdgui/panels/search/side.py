"""The results of one model: title, rank of the correct image, cut-off, gallery and context menu.

Flow: panel -> ``show_answer`` -> gallery; actions on an image -> signals -> panel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal, SignalInstance
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QMenu, QWidget

from sdgui.panels.search.model import Query
from sdgui.panels.search.results import Score, cutoff_line, identity, items, ranks_of, true_line, true_rank
from sdgui.panels.search.why.view import WhyView
from sdgui.shared.export.menu import ExportMenu
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.late_parts import is_made
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE
from sdgui.worker.verbs import Results

_LOAD_MORE_AT = 0.9  # scroll position from which more results are requested


class SearchSide(QWidget):
    """One side. ``answer``: the shown results, or None. Keys act on the selected image.

    M searches similar images, T its captions, W shows why it matches, Ctrl+Alt++ and Ctrl+Alt+- add it to the query.
    """

    like_requested = Signal(str, int)  # path, row: search for images like this one
    part_requested = Signal(str, int, float)  # path, row, weight: add the image to the query
    captions_requested = Signal(str, int)  # path, row: captions of this image
    why_requested = Signal()  # show or hide why the image matches
    current_changed = Signal(str)  # identity of the current result; "" if there is none
    more_wanted = Signal()  # the user is near the end of the results

    def __init__(self, cache_dir: Path | None, export: ExportMenu, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._export = export
        self.answer: Results | None = None
        self.query = Query()
        self.title = ElidedLabel("", self, Qt.TextElideMode.ElideMiddle, role="title")  # shows its end: the network
        self.true_rank_label = PlainLabel(self)  # the rank of the correct image, if it is known
        self.cutoff_label = ElidedLabel("", self, role="small")  # number of results above the cut-off
        self.gallery = Gallery(cache_dir, "", self)
        self.gallery.set_thumbnail_size(100)
        self.selected_label = ElidedLabel("", self, Qt.TextElideMode.ElideMiddle, role="small")
        self.cutoff_label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        head = hbox((self.title, 2), (self.cutoff_label, 3), self.true_rank_label)
        vbox(head, (self.gallery, 1), into=self, spacing=SPACE // 2, margins=0)
        self.gallery.add_to_foot(self.selected_label)
        self.true_rank_label.hide()
        self._connect()

    @cached_property
    def why(self) -> WhyView:
        """The explanation below the results, created on first use."""
        view = WhyView(self)
        view.closed.connect(self.why_requested)
        if (column := self.layout()) is not None:
            column.addWidget(view)
        return view

    def show_why(self, on: bool) -> None:
        """Show or hide why the selected image matches."""
        if on or is_made(self, "why"):
            self.why.setVisible(on)

    def _connect(self) -> None:
        gallery = self.gallery
        gallery.current_changed.connect(self._emit_current)
        gallery.menu_opening.connect(self._fill_menu)
        gallery.scrolled.connect(lambda share: self.more_wanted.emit() if share > _LOAD_MORE_AT else None)
        self._commands: tuple[tuple[str, str, Callable[[], object]], ...] = (  # title, key, effect
            ("More like this", "M", partial(self._emit_with_selected, self.like_requested)),
            ("Add to the query", "Ctrl+Alt++", partial(self._emit_with_selected, self.part_requested, 1.0)),
            ("Exclude similar images", "Ctrl+Alt+-", partial(self._emit_with_selected, self.part_requested, -1.0)),
            ("Nearest captions", "T", partial(self._emit_with_selected, self.captions_requested)),
            ("Why this match?", "W", self.why_requested.emit),
        )
        for _, key, slot in self._commands:
            shortcut = QShortcut(QKeySequence(key), gallery)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)

    def set_name(self, name: str, facts: str = "") -> None:
        """Set the model's title; ``facts`` is the tooltip."""
        self.title.setText(name)
        self.title.setToolTip(plain_tip(facts or name))
        self.gallery.setAccessibleName(f"Results of {name}")
        self.gallery.view.setAccessibleName(f"Results of {name}")

    # Results
    def show_answer(
        self, answer: Results, query: Query, score: Score, other_answer: Mapping[str, Any] | None, other_name: str
    ) -> None:
        """Show results. ``other_answer``: the other model's results of the query, for changes in rank."""
        new_items = items(
            answer, query, score, ranks_of(other_answer) if other_answer is not None else None, other_name
        )
        previous_items = self.gallery.items()
        has_same_results = [(item.path, item.caption) for item in previous_items] == [
            (item.path, item.caption) for item in new_items[: len(previous_items)]
        ]
        if previous_items and has_same_results and self.query == query:
            for index, (old, new) in enumerate(zip(previous_items, new_items, strict=False)):
                if old != new:
                    self.gallery.replace(index, new)
            self.gallery.append(new_items[len(previous_items) :])  # the user scrolled to the end
        else:
            self.gallery.set_items(new_items)
        self.answer, self.query = answer, query
        text, meaning = cutoff_line(answer, query)
        notes = " ".join(answer["notes"])
        text, meaning = " · ".join(filter(None, (notes, text))), "\n".join(filter(None, (notes, meaning)))
        self.cutoff_label.setText(text)
        self.cutoff_label.setToolTip(plain_tip(meaning))
        self.cutoff_label.setAccessibleDescription(meaning)
        true = true_line(true_rank(answer, query), answer, query)
        self.true_rank_label.setText(true)
        self.true_rank_label.setVisible(bool(true))
        self.gallery.set_empty_text("" if new_items else "No image matches the filters.")
        self._update_facts(self.gallery.current())  # no signal, so that the other side keeps its selection

    def clear(self, text: str = "") -> None:
        """Remove the results and show ``text`` in the middle."""
        self.answer, self.query = None, Query()
        self.gallery.set_items([])
        self.gallery.set_empty_text(text)
        self.cutoff_label.setText("")
        self.true_rank_label.hide()

    def missing(self) -> list[str]:
        """Paths of results whose files are missing."""
        return [str(item.path) for item in self.gallery.items() if item.missing]

    def select(self, result_id: str) -> None:
        """Select the result ``result_id`` of the other side if it is listed, without emitting a signal."""
        rows = self.answer["rows"] if self.answer is not None else []
        index = next((i for i, row in enumerate(rows) if identity(row) == result_id), -1)
        self.gallery.set_current(index)
        self._update_facts(index)

    def _emit_current(self, index: int) -> None:
        self._update_facts(index)
        rows = self.answer["rows"] if self.answer is not None else []
        self.current_changed.emit(identity(rows[index]) if 0 <= index < len(rows) else "")

    def _update_facts(self, index: int) -> None:
        listed = self.gallery.items()
        if 0 <= index < len(listed):
            item = listed[index]
            self.selected_label.setText(" · ".join([*item.detail.splitlines()[:2], str(item.path)]))
        else:
            self.selected_label.setText("")

    # Actions on an image
    def _selected(self) -> tuple[str, int] | None:
        """Path and row of the selected image; None if no image is selected."""
        rows = self.answer["rows"] if self.answer is not None else []
        index = self.gallery.current()
        return (str(rows[index]["path"]), int(rows[index]["row"])) if 0 <= index < len(rows) else None

    def selected_path(self) -> str:
        """The path of the current image; "" if there is none."""
        selected = self._selected()
        return "" if selected is None else selected[0]

    def _emit_with_selected(self, signal: SignalInstance, *arguments: object) -> None:
        if (selected := self._selected()) is not None:
            signal.emit(*selected, *arguments)

    def _fill_menu(self, menu: QMenu, selected_rows: list[int]) -> None:
        menu.addSeparator()
        for title, key, slot in self._commands:
            menu.addAction(f"{title}\t{key}").triggered.connect(lambda _checked=False, slot=slot: slot())
        menu.addSeparator()
        self._export.fill(menu, [self.gallery.items()[index] for index in selected_rows])
