"""Builds, refreshes and relocates an index on disk, with progress and cancel.

Flow: button -> worker ``search_index`` or ``search_relocate`` -> progress -> ``succeeded(folder)``. If a
build is cancelled or fails, the images encoded so far are kept; the same button continues the build.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QGridLayout, QLineEdit, QPushButton, QWidget

from sdgui.shared.failures import failure_message
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.pickers.entries import ModelChoice
from sdgui.shared.services import Services
from sdgui.widgets.file_dialogs import ask_folder
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.icon_button import IconButton
from sdgui.widgets.message import Message, info, warning
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.style.theme import SPACE, set_role
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import SEARCH_INDEX, SEARCH_RELOCATE, Verb

_WORKER = "indexing"  # a separate worker, so that searching continues
_MAX_LISTED = 20  # unusable images that the message lists


class IndexSheet(QFrame):
    """The form with three rows: build the index, refresh it, record that its images have moved."""

    working = Signal(str, str, int, int)  # purpose, activity, done, total
    succeeded = Signal(str)  # folder of the index that was built, refreshed or relocated
    finished = Signal()  # a job has succeeded, failed or been cancelled
    message_requested = Signal(object)  # Message

    def __init__(
        self, services: Services, selected_model: Callable[[], ModelChoice | None], parent: QWidget | None = None
    ) -> None:
        """``selected_model`` returns the model that builds the index."""
        super().__init__(parent)
        self._selected_model = selected_model
        self._calls = WorkerCalls(services.pool.client(_WORKER, "indexing"), self)
        self._calls.progress.connect(self.working)
        set_role(self, "card")
        self.setAccessibleName("Indexes on disk")
        self.images = DataPicker(services, images_only=True, parent=self)
        self.index_folder = self._line("Index folder", "Folder to write the index to")
        self.old_folder = self._line("Images were in", "Folder recorded in the index")
        self.new_folder = self._line("Images are now in", "Folder that now contains the images")
        self.remove_missing = QCheckBox("Remove missing images", self)
        self.remove_missing.setToolTip("Also remove images of unavailable folders, for example on an unplugged disk")
        self.build_button = QPushButton("&Build", self)
        self.build_button.setToolTip(
            "Encode the images into the index; an existing index is updated with new and changed images"
        )
        self.refresh_button = QPushButton("Re&fresh", self)
        self.refresh_button.setToolTip("Update the index with new, changed and removed images")
        self.relocate_button = QPushButton("Re&locate", self)
        self.relocate_button.setToolTip("Record that the images have moved to a new folder")
        self._arrange()
        self.build_button.clicked.connect(self.build)
        self.refresh_button.clicked.connect(self.refresh)
        self.relocate_button.clicked.connect(self.relocate)

    def _line(self, name: str, tip: str) -> QLineEdit:
        line = QLineEdit(self, placeholderText=name)
        line.setAccessibleName(name)
        line.setToolTip(plain_tip(tip))
        return line

    def _arrange(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(SPACE, SPACE, SPACE, SPACE)
        grid.setSpacing(SPACE)
        for row, text in enumerate(("Images", "Index", "Moved images")):
            grid.addWidget(PlainLabel(text, self), row, 0)
        grid.addWidget(self.images, 0, 1, 1, 3)
        grid.addWidget(self.build_button, 0, 4)
        browse_index = self._browse(self.index_folder, "Choose the index's folder")
        browse_images = self._browse(self.new_folder, "Choose the folder that now contains the images")
        rows = (
            (self.index_folder, browse_index, self.remove_missing, self.refresh_button),
            (self.old_folder, browse_images, self.new_folder, self.relocate_button),
        )
        for row, widgets in enumerate(rows, start=1):
            for column, widget in enumerate(widgets, start=1):
                grid.addWidget(widget, row, column)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)

    def _browse(self, line: QLineEdit, tip: str) -> IconButton:
        button = IconButton("ph.folder-open", tip, parent=self)
        button.clicked.connect(lambda: self._ask_folder(line, tip))
        return button

    def _ask_folder(self, line: QLineEdit, title: str) -> None:
        if folder := ask_folder(self, title, line.text()):
            line.setText(str(folder))

    def cancel(self) -> None:
        """Stop the current job; images encoded so far are kept."""
        self._calls.cancel("index")

    # Jobs
    def build(self) -> None:
        """Build the index with the selected model, or continue building."""
        model_choice = self._selected_model()
        if model_choice is None:
            self.message_requested.emit(warning("Choose a model above first."))
        elif not self.images.source():
            self.message_requested.emit(warning("Choose the images to index."))
        elif self._require_folder():
            model = {"model": model_choice.model, "weights": model_choice.network}
            self._start_indexing(source=self.images.source(), **model)

    def refresh(self) -> None:
        """Update the index with its own model and images."""
        if self._require_folder():
            self._start_indexing()

    def relocate(self) -> None:
        """Record the new folder of the index's images."""
        if not self.old_folder.text().strip() or not self.new_folder.text().strip():
            self.message_requested.emit(warning("Enter the old and the new folder of the images."))
        elif self._require_folder():
            self._start(SEARCH_RELOCATE, old=self.old_folder.text().strip(), new=self.new_folder.text().strip())

    def _require_folder(self) -> bool:
        if not self.index_folder.text().strip():
            self.message_requested.emit(warning("Choose the index folder."))
        return bool(self.index_folder.text().strip())

    def _start_indexing(self, **arguments: str) -> None:
        self._start(SEARCH_INDEX, drop_missing=self.remove_missing.isChecked(), **arguments)

    def _start(self, verb: Verb[Any], **arguments: Any) -> None:
        folder = self.index_folder.text().strip()
        self._enable(False)
        self.working.emit("index", "starting", 0, 0)

        def done(result: dict[str, Any]) -> None:
            self._enable(True)
            self.finished.emit()
            self.message_requested.emit(_report(folder, result))
            self.succeeded.emit(folder)

        def failed(failure: Failure) -> None:
            self._enable(True)
            self.finished.emit()
            stopped = f"Stopped. The images encoded so far are saved in {folder}. Press the button again to continue."
            self.message_requested.emit(failure_message(failure, stopped))

        self._calls.ask("index", verb, done, failed, None, folder=folder, **arguments)

    def _enable(self, enabled: bool) -> None:
        for button in (self.build_button, self.refresh_button, self.relocate_button):
            button.setEnabled(enabled)


def _report(folder: str, result: dict[str, Any]) -> Message:
    """A message about the result of a job."""
    if "relocated" in result:
        verb = "was" if result["relocated"] == 1 else "were"
        return info(f"{count_with_unit(result['relocated'], 'image')} of {folder} {verb} relocated.")
    parts = [f"{count(result[name])} {name}" for name in ("added", "changed", "removed", "unchanged") if result[name]]
    changes = ", ".join(parts) or "no changes"
    text = f"{Path(folder).name}: {count_with_unit(result['images'], 'image')} indexed; {changes}."
    unusable = list(result["bad"])
    if unusable:
        text += f" {count(len(unusable))} cannot be used."
    if result.get("unreachable"):
        text += f" {count(result['unreachable'])} are unavailable and stay in the index."
    lines = [
        *result["log"],
        *unusable[:_MAX_LISTED],
        *([f"and {len(unusable) - _MAX_LISTED} more"] if len(unusable) > _MAX_LISTED else []),
    ]
    return (warning if unusable or result.get("unreachable") else info)(text, "\n".join(lines))
