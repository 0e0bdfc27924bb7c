"""Exports captions in the formats of ``CAPTION_FORMATS``: asks where, and writes in a thread.

Flow: action -> dialog (which asks before it overwrites) -> ``ExportTask`` -> strip and message bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from core.spec.caption_files import CaptionedImage
from sdgui.panels.caption.export import CAPTION_FORMATS, TRAINING_DATA, WriteCaptions, count_sidecars
from sdgui.shared.export.formats import ExportFormat, ExportResult, free_path
from sdgui.shared.export.message import exported_message
from sdgui.shared.export.task import ExportTask, Work
from sdgui.shared.failures import failure_message
from sdgui.widgets.file_dialogs import ask_folder, ask_save
from sdgui.widgets.formats import count_with_unit
from sdgui.widgets.message import Remedy, ShowMessage, info, warning
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Failure

GetImages = Callable[[], Sequence[CaptionedImage]]
CaptionFormat = ExportFormat[WriteCaptions]
_NOTHING_WRITTEN = "no file was written"


class CaptionFiles(QObject):
    """Exports captions. ``get_images`` returns the images to export: two or more selected ones, otherwise all."""

    use_requested = Signal(str, int)  # train on the saved captions: path of the table, number of images

    def __init__(
        self, get_images: GetImages, strip: ProgressStrip, show_message: ShowMessage, home: Path, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._get_images, self._show_message, self._home, self._parent = get_images, show_message, home, parent
        self._folder = Path.home()
        self._on_done: Callable[[Any], None] = self._show_report  # receives the result of the current task
        self._kept = _NOTHING_WRITTEN
        self.task = ExportTask(strip, self)
        self.task.done.connect(lambda result: self._on_done(result))
        self.task.failed.connect(self._show_failure)

    def slots(self) -> list[tuple[CaptionFormat, Callable[[], None]]]:
        """Each format with the slot that its action calls."""
        slots = {"file": self._ask_file, "folder": self._ask_training_folder, "beside": self._check_sidecars}
        return [(export, partial(slots[export.target], export)) for export in CAPTION_FORMATS]

    # --- questions

    def _check_sidecars(self, export: CaptionFormat) -> None:
        """Write text files next to the images; ask what to do if some exist already."""
        images = self._exportable()
        if not images:
            return

        def on_checked(existing: int) -> None:
            if existing:
                self._ask_overwrite(export, images, existing)
            else:
                self._write(export, images)

        self._run("Checking for existing text files", images, partial(count_sidecars, images), on_checked)

    def _ask_overwrite(self, export: CaptionFormat, images: Sequence[CaptionedImage], existing: int) -> None:
        box = QMessageBox(self._parent)
        box.setObjectName("overwrite")
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Export captions")
        verb = "exists" if existing == 1 else "exist"
        box.setText(f"{count_with_unit(existing, 'text file')} already {verb} next to the images.")
        box.setInformativeText("If you overwrite them, their current content is lost.")
        keep = box.addButton("&Keep them", QMessageBox.ButtonRole.AcceptRole)
        overwrite = box.addButton("&Overwrite", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(keep)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def answered(_result: int) -> None:
            if box.clickedButton() in (keep, overwrite):
                self._write(export, images, force=box.clickedButton() is overwrite)

        box.finished.connect(answered)
        box.open()

    def _ask_file(self, export: CaptionFormat) -> None:
        start = self._folder / export.file_name
        if self._exportable() and (file := ask_save(self._parent, "Export as", start, export.filter, export.suffix)):
            self._write(export, list(self._get_images()), file.path, file.confirmed)

    def _ask_training_folder(self, export: CaptionFormat) -> None:
        if parent := ask_folder(self._parent, "Choose where to create the new folder"):
            self._write_training_data(free_path(parent / export.stem))

    # --- work

    def _write(
        self, export: CaptionFormat, images: Sequence[CaptionedImage], path: Path = Path(), force: bool = False
    ) -> None:
        """Export ``images`` to ``path``, or next to the images; ``force`` overwrites existing files."""
        self._run(
            "Exporting captions",
            images,
            lambda progress: export.write(images, path, progress, force),
            self._show_report,
            kept="text files written so far are kept" if export.target == "beside" else _NOTHING_WRITTEN,
        )

    def save_training_data(self) -> None:
        """Save the captions as a data source in the home folder."""
        self._write_training_data(free_path(self._home / "data" / TRAINING_DATA.stem))

    def _write_training_data(self, folder: Path) -> None:
        if images := self._exportable():
            save = TRAINING_DATA.write
            self._run(
                "Saving captions", images, lambda progress: save(images, folder, progress, False), self._show_saved
            )

    def _show_saved(self, report: ExportResult) -> None:
        """Report the saved training data and offer to train on it."""
        text = f"{count_with_unit(report.written, 'caption')} saved as training data: {report.path}."
        use = Remedy("Use in a new experiment", lambda: self.use_requested.emit(str(report.path), report.written))
        self._show_message(exported_message(report, text, use))

    def _exportable(self) -> Sequence[CaptionedImage]:
        """The images to export; [] while an export is running, and if there are no captions (then with a message)."""
        images = list(self._get_images())
        if not images:
            self._show_message(info("There are no captions to export yet."))
        return [] if self.task.running else images

    def _run(
        self,
        title: str,
        images: Sequence[CaptionedImage],
        work: Work,
        on_done: Callable[[Any], None],
        kept: str = _NOTHING_WRITTEN,
    ) -> None:
        """Run ``work`` unless an export is running; ``kept``: what remains on disk if the user cancels it."""
        if not self.task.running:
            self._on_done, self._kept = on_done, kept
            self.task.start(title, len(images), work)

    def _show_failure(self, failure: Failure) -> None:
        self._show_message(failure_message(failure, f"The export was cancelled; {self._kept}."))

    def _show_report(self, report: ExportResult) -> None:
        if not report.written:
            text = f"No caption was exported; {count_with_unit(len(report.skipped), 'image')} skipped."
            self._show_message(warning(text, report.reasons()))
            return
        self._folder = report.folder
        text = f"{count_with_unit(report.written, 'caption')} exported to {report.path}."
        self._show_message(exported_message(report, text))
