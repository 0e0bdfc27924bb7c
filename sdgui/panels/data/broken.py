"""The page of unusable rows and undecodable images, each with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QTreeWidget, QTreeWidgetItem, QWidget

from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE


class BrokenPage(QWidget):
    """A list of locations and reasons; Ctrl+C copies the selection."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.summary = PlainLabel(self, wordWrap=True, role="small")
        self.list = QTreeWidget(self)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setAccessibleName("Broken rows")
        self.list.setHeaderLabels(["Location", "Reason"])
        self.list.setSelectionMode(QTreeWidget.SelectionMode.ExtendedSelection)
        self.list.header().resizeSection(0, 60 * SPACE)
        copy = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.list)
        copy.activated.connect(self._copy)
        vbox(self.summary, (self.list, 1), into=self, margins=(0, SPACE, 0, 0))

    def show_broken(
        self, bad_rows: int, reasons: Sequence[tuple[str, str]], files: Sequence[tuple[str, str]] | None
    ) -> None:
        """Show (location, reason) of the first ``bad_rows`` and of the broken ``files``; None if unchecked."""
        self.summary.setText(summary(bad_rows, len(reasons), None if files is None else len(files)))
        self.list.clear()
        items = []
        for place, reason in [*(files or ()), *reasons]:
            item = QTreeWidgetItem([place, reason])
            for column, text in enumerate((place, reason)):
                item.setToolTip(column, plain_tip(text))
            items.append(item)
        self.list.addTopLevelItems(items)

    def _copy(self) -> None:
        selected = self.list.selectedItems()
        QGuiApplication.clipboard().setText("\n".join(f"{item.text(0)}\t{item.text(1)}" for item in selected))


def summary(bad_rows: int, listed_count: int, files: int | None) -> str:
    """The number of broken rows and files, and of files not checked yet."""
    rows = f"{count_with_unit(bad_rows, 'row')} cannot be used" if bad_rows else "Every row can be used"
    limit_text = f" (the first {count(listed_count)} are listed)" if listed_count < bad_rows else ""
    if files is None:
        return f"{rows}{limit_text}. To find images that cannot be decoded, run the check in Duplicates and leaks."
    decoded = f"{count_with_unit(files, 'image')} cannot be decoded" if files else "every image can be decoded"
    return f"{rows}{limit_text}; {decoded}."
