"""Export for every gallery: the menu, the question where to, the work in a thread with progress, the result in words.

Flow: ``gallery.menu_opening`` or a button -> ``ExportMenu.fill`` -> dialog -> thread (``export_pictures``) -> progress
strip and messages of the panel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from core.spec.errors import UserError
from sdgui.shared.export.pictures import (
    Exported,
    Progress,
    export_contact_sheet,
    export_copies,
    export_json_lines,
    export_links,
    export_table,
    free_path,
)
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.items import GalleryItem
from sdgui.widgets.message import Remedy, ShowMessage, error, info, warning
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure

Export = Callable[[Sequence[GalleryItem], Path, Progress], Exported]
_LISTED = 20


class _Cancelled(Exception):
    """The user took it back."""


class ExportTask(QObject):
    """One export at a time, off the window's thread."""

    progress = Signal(int, int)
    done = Signal(object)  # Exported
    failed = Signal(object)  # Failure

    _ended = Signal(object)  # Exported or Failure

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._leave = Event()
        self.running = False
        self._ended.connect(self._finish, Qt.ConnectionType.QueuedConnection)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close_threads)

    def start(self, export: Export, items: Sequence[GalleryItem], where: Path) -> None:
        """Begin; RuntimeError while another runs."""
        if self.running:
            raise RuntimeError("An export is already running")
        self.running = True
        self._leave.clear()
        self._pool.start(lambda: self._work(export, list(items), where))

    def cancel(self) -> None:
        """End it soon; whole files stay."""
        self._leave.set()

    def _work(self, export: Export, items: list[GalleryItem], where: Path) -> None:
        try:
            self._ended.emit(export(items, where, self._tell))
        except _Cancelled:
            self._ended.emit(Cancelled())
        except UserError as problem:
            self._ended.emit(Failure(str(problem)))
        except Exception as problem:  # noqa: BLE001  a thread's end must be told
            self._ended.emit(Failure(f"The export failed: {type(problem).__name__}: {problem}."))

    def _tell(self, done: int, total: int) -> None:
        if self._leave.is_set():
            raise _Cancelled
        self.progress.emit(done, total)

    def _finish(self, outcome: Exported | Failure) -> None:
        self.running = False
        (self.failed if isinstance(outcome, Failure) else self.done).emit(outcome)

    def close_threads(self) -> None:
        """Cancel and wait; call it before the application ends."""
        self.cancel()
        self._pool.waitForDone()


class ExportMenu(QObject):
    """The panel's exports, with their progress in its strip and their outcome as its messages."""

    def __init__(
        self,
        strip: ProgressStrip,
        show_message: ShowMessage,
        parent: QWidget,
        title: Callable[[], str] = lambda: "",
    ) -> None:
        """``title`` stands over contact sheets: the query, the model."""
        super().__init__(parent)
        self._strip, self._show_message, self._over, self._title = strip, show_message, parent, title
        self._where: Path | None = None
        self.task = ExportTask(self)
        self.task.progress.connect(lambda done, total: strip.advance(done, total) if self.task.running else None)
        self.task.done.connect(self._done)
        self.task.failed.connect(self._failed)
        strip.cancelled.connect(self.task.cancel)

    def fill(self, menu: QMenu, items: Sequence[GalleryItem]) -> QMenu:
        """Add "Export" with its kinds, for these pictures, to ``menu``."""
        inner = menu.addMenu("&Export")
        inner.setEnabled(bool(items) and not self.task.running)
        sheet = partial(export_contact_sheet, title=self._title())
        kinds: list[tuple[str, Export, str]] = [
            ("&Copies into a folder …", export_copies, ""),
            ("&Links in a folder …", export_links, ""),
            ("&Table (CSV) …", export_table, "pictures.csv"),
            ("&JSON lines …", export_json_lines, "pictures.jsonl"),
            ("Contact &sheet (PNG) …", sheet, "contact-sheet.png"),
        ]
        for text, export, name in kinds:
            inner.addAction(text).triggered.connect(partial(self._ask, export, list(items), name))
        return inner

    def _ask(self, export: Export, items: Sequence[GalleryItem], name: str, _checked: bool = False) -> None:
        if not name:
            found = QFileDialog.getExistingDirectory(self._over, "Export into")
        else:
            start = str(free_path((self._where or Path.home()) / name))
            option = QFileDialog.Option.DontConfirmOverwrite  # nothing is written over
            found, _ = QFileDialog.getSaveFileName(
                self._over, "Export as", start, f"*{Path(name).suffix}", options=option
            )
        if found:
            path = Path(found)
            self.run(export, items, path if not name or path.suffix else path.with_suffix(Path(name).suffix))

    def run(self, export: Export, items: Sequence[GalleryItem], where: Path) -> None:
        """Export to ``where``, a folder or a file as the kind wants it."""
        self._strip.start("Exporting pictures", len(items), "pictures")
        self.task.start(export, items, where)

    def _done(self, report: Exported) -> None:
        self._strip.finish()
        self._where = report.where if report.where.is_dir() else report.where.parent
        left_out = len(report.skipped)
        text = f"{count(report.written)} {'picture' if report.written == 1 else 'pictures'} exported to {report.where}."
        if left_out:
            text += f" {count(left_out)} left out."
        details = [f"{what}: {why}" for what, why in report.skipped[:_LISTED]]
        details += [f"and {left_out - _LISTED} more"] if left_out > _LISTED else []
        where = QUrl.fromLocalFile(str(self._where))
        open_folder = Remedy("Open folder", lambda: QDesktopServices.openUrl(where))
        self._show_message((warning if left_out else info)(text, "\n".join(details), open_folder))

    def _failed(self, failure: Failure) -> None:
        self._strip.finish()
        if isinstance(failure, Cancelled):
            self._show_message(info("The export was cancelled; complete files are kept."))
        else:
            self._show_message(error(failure.text, failure.details))
