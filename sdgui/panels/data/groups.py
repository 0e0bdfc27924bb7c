"""Duplicates and leaks: groups of identical or nearly identical images, and images that are also in another split.

Flow: ``Checked`` -> `Group`s -> a list and a gallery of the selected group's images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QSplitter, QStackedWidget, QWidget

from sdgui.panels.data.model import SourceRows
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.gallery.gallery import Gallery, GalleryItem
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import SPACE
from sdgui.worker.data_verbs import Checked

_MAX_LISTED = 500  # groups of each kind
_ABOUT = (
    "Compares the bytes and the appearance of all images. This also finds copies that were resized, "
    "recompressed or retouched."
)

_EXACT = "exact duplicate"
_KINDS = {"same bytes": _EXACT}  # the worker's kind -> title


@dataclass(frozen=True)
class Group:
    """Similar images: ``rows`` of the source, and ``other_copies`` (split, path) in other splits."""

    kind: str
    rows: tuple[int, ...]
    other_copies: tuple[tuple[str, str], ...] = ()

    def title(self, caption: str) -> str:
        """The group's title, such as ``3 exact duplicates · a red kite``."""
        if self.other_copies:
            splits = ", ".join(dict.fromkeys(split for split, _ in self.other_copies))
            subject = f"{self.kind} in {splits}"
        else:
            subject = f"{len(self.rows)} {self.kind}{'s' if self.kind == _EXACT else ''}"
        return f"{subject} · {caption}" if caption else subject


def groups_of(checked: Checked) -> list[Group]:
    """The groups to list: leaks first, then exact duplicates, then near duplicates."""
    copies: dict[tuple[int, str], list[tuple[str, str]]] = {}
    for leak in checked["leaks"]:
        copies.setdefault((leak["row"], leak["kind"]), []).append((leak["other_split"], leak["path"]))
    leaking = [Group(_KINDS.get(kind, kind), (row,), tuple(leaked)) for (row, kind), leaked in copies.items()]
    exact = [Group(_EXACT, tuple(rows)) for rows in checked["exact"]]
    near = [Group("nearly the same", tuple(rows)) for rows in checked["near"]]
    return [*leaking[:_MAX_LISTED], *exact[:_MAX_LISTED], *near[:_MAX_LISTED]]


class GroupsPage(QWidget):
    """The page of groups. ``check_requested``: read every image; ``other_requested``: choose another split."""

    check_requested = Signal()
    other_requested = Signal()
    exclude_requested = Signal(list)  # rows

    def __init__(self, cache_dir: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._checked: Checked | None = None
        self._rows = SourceRows()
        self._groups: list[Group] = []
        self.summary = ElidedLabel("", self, role="small")
        self.compare_button = QPushButton("C&ompare with another split…", self)
        self.compare_button.setToolTip("Choose another split of this data to find images that are in both")
        self.check_button = QPushButton("&Check again", self)
        self.exclude_copies = QPushButton("E&xclude copies", self)
        self.exclude_copies.setToolTip("Keep only the first image of each group of exact duplicates")
        self.exclude_leaks = QPushButton("Exclude &leaks", self)
        self.exclude_leaks.setToolTip("Exclude the images that are also in another split")
        self.empty = EmptyState("ph.copy", "Find duplicates and leaks", _ABOUT, "Check the images", "", self)
        self.list = QListWidget(self)
        self.list.setAccessibleName("Groups")
        self.list.setUniformItemSizes(True)
        self.gallery = Gallery(cache_dir, "", self)
        self.gallery.view.setAccessibleName("Images in this group")
        self._build()
        self.check_button.clicked.connect(self.check_requested)
        self.empty.activated.connect(self.check_requested)
        self.compare_button.clicked.connect(self.other_requested)
        self.list.currentRowChanged.connect(self._show_group)
        self.exclude_copies.clicked.connect(self._exclude_copies)
        self.exclude_leaks.clicked.connect(self._exclude_leaks)

    def _build(self) -> None:
        buttons = (self.compare_button, self.check_button, self.exclude_copies, self.exclude_leaks)
        head = hbox((self.summary, 1), *buttons)
        split = QSplitter(Qt.Orientation.Horizontal, self, childrenCollapsible=False)
        split.addWidget(self.list)
        split.addWidget(self.gallery)
        split.setSizes([34 * SPACE, 90 * SPACE])
        self._stack = QStackedWidget(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(split)
        vbox(head, (self._stack, 1), into=self, margins=(0, SPACE, 0, 0))

    def show_compared_splits(self, splits: Mapping[str, str]) -> None:
        """Show the splits that the source is compared with."""
        names = ", ".join(f"{name} ({Path(source).name})" for name, source in splits.items())
        text = f"{_ABOUT} Compared with {names}." if names else _ABOUT
        self.empty.set_content("Find duplicates and leaks", text, "Check the images")

    def show_checked(self, checked: Checked | None, rows: SourceRows) -> None:
        """Show the result of a check of ``rows``; None if they were not checked."""
        self._checked, self._rows = checked, rows
        self._groups = groups_of(checked) if checked is not None else []
        self.list.clear()
        for button in (self.check_button, self.exclude_copies, self.exclude_leaks):
            button.setVisible(checked is not None)
        if checked is None:
            self.summary.setText("")
            self._stack.setCurrentWidget(self.empty)
            return
        self.summary.setText(summary(checked))
        self.exclude_copies.setEnabled(bool(checked["exact"]))
        self.exclude_leaks.setEnabled(bool(checked["leaks"]))
        for group in self._groups:
            title = group.title(self._caption(group.rows[0]))
            item = QListWidgetItem(title)
            item.setToolTip(plain_tip(title))
            self.list.addItem(item)
        if self._groups:
            self._stack.setCurrentIndex(1)
            self.list.setCurrentRow(0)
        else:
            self.empty.set_content("No duplicates", "All images are different, and none is in another split.", "")
            self._stack.setCurrentWidget(self.empty)

    def _caption(self, row: int) -> str:
        captions = self._rows.captions[row] if row < len(self._rows) else ()
        return captions[0] if captions else ""

    def _show_group(self, number: int) -> None:
        if not 0 <= number < len(self._groups):
            self.gallery.set_items([])
            return
        group = self._groups[number]
        members = [self._item(row) for row in group.rows if row < len(self._rows)]
        copies = [
            GalleryItem(Path(path), badge=split, badge_spoken=f"in {split}") for split, path in group.other_copies
        ]
        self.gallery.set_items([*members, *copies])

    def _item(self, row: int) -> GalleryItem:
        is_excluded = row in self._rows.excluded
        badge = "excluded" if is_excluded else ""
        return GalleryItem(Path(self._rows.paths[row]), self._caption(row), badge=badge, faint=is_excluded)

    def refresh(self) -> None:
        """Update the page after a change of the exclusions."""
        self._show_group(self.list.currentRow())

    def _exclude_copies(self) -> None:
        if self._checked is not None:
            self.exclude_requested.emit(self._rows.copies(self._checked["exact"]))

    def _exclude_leaks(self) -> None:
        if self._checked is not None:
            self.exclude_requested.emit(sorted({leak["row"] for leak in self._checked["leaks"]}))


def summary(checked: Checked) -> str:
    """The numbers of groups and leaks, and the splits that could not be read."""
    parts = [
        f"{count_with_unit(checked['exact_groups'], 'group')} of exact duplicates",
        f"{count(checked['near_groups'])} nearly the same",
        count_with_unit(checked["leak_count"], "leak"),
    ]
    parts += [f"{name} cannot be read: {reason}" for name, reason in checked["unreadable"].items()]
    return " · ".join(parts)


def problem_rows(checked: Checked) -> dict[str, frozenset[int]]:
    """The rows with problems by kind of problem, for the filters."""
    groups: Sequence[Sequence[int]] = [*checked["exact"], *checked["near"]]
    leaking = {leak["row"] for leak in checked["leaks"]}
    return {
        "duplicates": frozenset(row for group in groups for row in group) | leaking,
        "broken": frozenset(entry["row"] for entry in checked["broken"]),
    }
