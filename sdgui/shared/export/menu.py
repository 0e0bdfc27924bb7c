"""Export for every gallery: menu, dialog, progress, and the outcome as a message.

Flow: ``gallery.menu_opening`` or a button -> ``ExportMenu.fill`` -> dialog -> ``ExportTask`` -> progress strip and
messages of the panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMenu, QWidget

from sdgui.shared.export.formats import ExportFormat, ExportResult, free_path
from sdgui.shared.export.images import IMAGE_FORMATS, WriteImages
from sdgui.shared.export.message import exported_message
from sdgui.shared.export.task import ExportTask
from sdgui.shared.failures import failure_message
from sdgui.widgets.file_dialogs import ask_folder, ask_save
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.message import ShowMessage
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Failure


class ExportMenu(QObject):
    """Exports images of a panel's galleries; shows progress in the panel's strip and outcomes as messages."""

    def __init__(self, strip: ProgressStrip, show_message: ShowMessage, parent: QWidget) -> None:
        super().__init__(parent)
        self._show_message, self._parent = show_message, parent
        self._folder = Path.home()
        self.task = ExportTask(strip, self)
        self.task.done.connect(self._done)
        self.task.failed.connect(self._on_failed)

    def fill(self, menu: QMenu, items: Sequence[GalleryItem]) -> QMenu:
        """Add an "Export" submenu for these images to ``menu``."""
        inner = menu.addMenu("&Export")
        inner.setToolTipsVisible(True)
        inner.setEnabled(bool(items) and not self.task.running)
        for export in IMAGE_FORMATS:
            action = inner.addAction(export.title)
            action.setToolTip(plain_tip(export.tip))
            action.triggered.connect(partial(self._ask, export, list(items)))
        return inner

    def _ask(self, export: ExportFormat[WriteImages], items: Sequence[GalleryItem], _checked: bool = False) -> None:
        if export.target == "folder":
            path = ask_folder(self._parent, "Export into")
        else:
            start = free_path(self._folder / export.file_name)
            # no confirmation: an existing file is refused, not overwritten
            target = ask_save(self._parent, "Export as", start, export.filter, export.suffix, confirm=False)
            path = target.path if target is not None else None
        if path is not None:
            self.run(export.write, items, path)

    def run(self, write: WriteImages, items: Sequence[GalleryItem], path: Path) -> None:
        """Export to ``path``, a folder or a file according to the format."""
        exported = list(items)
        self.task.start("Exporting images", len(exported), lambda progress: write(exported, path, progress))

    def _done(self, report: ExportResult) -> None:
        self._folder = report.folder
        images = count_with_unit(report.written, "image")
        self._show_message(exported_message(report, f"{images} exported to {report.path}."))

    def _on_failed(self, failure: Failure) -> None:
        self._show_message(failure_message(failure, "The export was cancelled; complete files are kept."))
