"""The history of an experiment and its runs: who changed what, newest first, with replaced texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHeaderView, QPlainTextEdit, QTreeWidget, QTreeWidgetItem, QWidget

from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.run_texts import when
from sdgui.store.registry.activity import Activity
from sdgui.store.store import Store
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.popovers.placing import bring_to_front
from sdgui.widgets.style.theme import SPACE

_COLUMNS = ("When", "Who", "What", "")  # the last column: name of the experiment or run
_DETAIL = Qt.ItemDataRole.UserRole


class ActivityDialog(QDialog):
    """The non-modal dialog of changes; reads the history in a thread each time it is opened."""

    def __init__(self, store: Store, parent: QWidget) -> None:
        super().__init__(parent)
        self._store = store
        self._tasks = BackgroundTasks(self)
        self._subject: tuple[int | None, int | None] = (None, None)  # ids of the experiment and run
        self.title = PlainLabel(self, role="title")
        self.list = QTreeWidget(self)
        self.list.setHeaderLabels(list(_COLUMNS))
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setAccessibleName("Changes, newest first")
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.detail = QPlainTextEdit(self)
        self.detail.setReadOnly(True)
        self.detail.setAccessibleName("Replaced text")
        self.detail.setPlaceholderText("Select a change to see the replaced text.")
        self.detail.setMaximumHeight(16 * SPACE)
        vbox(self.title, self.list, self.detail, into=self, margins=SPACE)
        self.resize(80 * SPACE, 60 * SPACE)
        self.list.currentItemChanged.connect(self._show_detail)

    def open_for(self, experiment_id: int | None, run_id: int | None, name: str) -> None:
        """Show the changes of a run, of an experiment with its runs, or of everything."""
        self.setWindowTitle(f"Changes of {name}")
        self.title.setText(name)
        self.list.clear()
        self.detail.clear()
        bring_to_front(self)
        self._subject = subject = experiment_id, run_id
        self._tasks.run(
            lambda: self._store.activity(experiment_id, run_id), partial(self._fill, subject), self.detail.setPlainText
        )

    def _fill(self, subject: tuple[int | None, int | None], entries: Sequence[Activity]) -> None:
        if subject != self._subject:  # another history has been opened in the meantime
            return
        self.list.clear()
        for entry in entries:
            item = QTreeWidgetItem([when(entry.time), entry.who, entry.what, entry.name])
            item.setData(0, _DETAIL, entry.detail)
            self.list.addTopLevelItem(item)
        if not entries:
            self.detail.setPlainText("No changes have been recorded yet.")
        elif (top := self.list.topLevelItem(0)) is not None:
            self.list.setCurrentItem(top)

    def _show_detail(self, item: QTreeWidgetItem | None, _before: QTreeWidgetItem | None) -> None:
        if item is not None:
            self.detail.setPlainText(str(item.data(0, _DETAIL) or ""))
