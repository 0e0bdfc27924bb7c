"""Export and saving of captions from the Caption place: the menu, the questions, the work in a thread, what came of it.

Flow: menu -> dialog (which asks before it overwrites) -> thread (``captions_export``) -> strip and message bar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Event

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThreadPool, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from core.spec.caption_files import CaptionedPicture
from core.spec.errors import UserError
from sdgui.panels.caption.export import (
    Progress,
    Written,
    existing_sidecars,
    export_coco,
    export_json_lines,
    export_sidecars,
    export_table,
    free_folder,
    reasons,
    save_source,
)
from sdgui.widgets.formats import count
from sdgui.widgets.message import Remedy, ShowMessage, error, info, warning
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.worker.replies import Cancelled, Failure

Work = Callable[[Progress], Written]
Pictures = Callable[[], Sequence[CaptionedPicture]]
Kind = tuple[str, str, str, Callable[[], object]]  # name, text, explanation, what it does


class _Cancelled(Exception):
    """The user took it back."""


class CaptionsFiles(QObject):
    """``pictures`` are what is exported now: the chosen ones where several are, else all with a caption."""

    use_asked = Signal(str, int)  # manifest, pictures: train on what was saved

    _told = Signal(int, int)
    _ended = Signal(object)  # Written or Failure

    def __init__(
        self, pictures: Pictures, strip: ProgressStrip, show_message: ShowMessage, home: Path, over: QWidget
    ) -> None:
        super().__init__(over)
        self._pictures, self._strip, self._show_message, self._home, self._over = (
            pictures,
            strip,
            show_message,
            home,
            over,
        )
        self._where = Path.home()
        self._then: Callable[[Written], None] = self._report
        self._leave = Event()
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self.running = False
        self._told.connect(lambda done, total: self._strip.advance(done, total) if self.running else None)
        self._ended.connect(self._finish, Qt.ConnectionType.QueuedConnection)
        strip.cancelled.connect(self._leave.set)
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close_threads)

    def kinds(self) -> list[Kind]:
        """The ways out, for the list of actions."""
        table = partial(self._ask_file, export_table, "captions.csv")
        lines = partial(self._ask_file, export_json_lines, "captions.jsonl")
        coco = partial(self._ask_file, export_coco, "captions.json")
        return [
            ("text", "Export &text files", "A .txt file next to each picture, plus a provenance file", self.sidecars),
            ("csv", "Export a &CSV table …", "One line per caption, with model, step, settings and seed", table),
            (
                "jsonl",
                "Export &JSON lines …",
                "One line of JSON per picture, with model, step, settings and seed",
                lines,
            ),
            ("coco", "Export C&OCO captions …", "COCO captions format, with model, step, settings and seed", coco),
            (
                "data",
                "Training data in a &folder …",
                "Save as training data in a folder of your choice",
                self._ask_folder,
            ),
        ]

    # --- what is asked

    def sidecars(self) -> None:
        """``.txt`` beside each picture; where some are there already, asks what becomes of them."""
        pictures = list(self._pictures())
        if not self._any(pictures):
            return

        def look(_progress: Progress) -> Written:
            return Written(existing_sidecars(pictures), Path())

        def found(there: Written) -> None:
            if there.written:
                self._ask_about(pictures, there.written)
            else:
                self._write_sidecars(pictures, force=False)

        self._run("Checking for existing text files", len(pictures), look, found)

    def _ask_about(self, pictures: Sequence[CaptionedPicture], there: int) -> None:
        box = QMessageBox(self._over)
        box.setObjectName("overwrite")
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Export captions")
        what = "One text file is" if there == 1 else f"{count(there)} text files are"
        box.setText(f"{what} already next to the pictures.")
        box.setInformativeText("Overwriting loses their current content.")
        keep = box.addButton("&Keep them", QMessageBox.ButtonRole.AcceptRole)
        over = box.addButton("&Overwrite", QMessageBox.ButtonRole.DestructiveRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(keep)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def answered(_result: int) -> None:
            if box.clickedButton() in (keep, over):
                self._write_sidecars(pictures, force=box.clickedButton() is over)

        box.finished.connect(answered)
        box.open()

    def _write_sidecars(self, pictures: Sequence[CaptionedPicture], force: bool) -> None:
        self._run(
            "Writing text files", len(pictures), lambda tell: export_sidecars(pictures, tell, force), self._report
        )

    def _ask_file(self, export: Callable[..., Written], name: str) -> None:
        pictures = list(self._pictures())
        if not self._any(pictures):
            return
        suffix = Path(name).suffix
        found, _ = QFileDialog.getSaveFileName(self._over, "Export as", str(self._where / name), f"*{suffix}")
        if found:
            path = Path(found)
            if not path.suffix:  # the dialog has asked about another file
                path = path.with_suffix(suffix)
                self.write(export, path, force=False)
            else:
                self.write(export, path, force=True)  # it asks before it gives the name of a file that is there

    def write(self, export: Callable[..., Written], path: Path, force: bool) -> None:
        """Export into one file."""
        pictures = list(self._pictures())
        self._run("Exporting captions", len(pictures), lambda tell: export(pictures, path, tell, force), self._report)

    def _ask_folder(self) -> None:
        found = QFileDialog.getExistingDirectory(self._over, "Save training data into a new folder in")
        if found:
            self.source(free_folder(Path(found), "captions"))

    def source(self, folder: Path | None = None) -> None:
        """Save as a data source; without a ``folder`` in the home of experiments."""
        pictures = list(self._pictures())
        if not self._any(pictures):
            return
        where = folder or free_folder(self._home / "data", "captions")

        def saved(written: Written) -> None:
            left_out = f" {count(len(written.skipped))} left out." if written.skipped else ""
            text = f"{_number(written.written)} saved as training data: {written.where}.{left_out}"
            use = Remedy("Use in a new experiment", lambda: self.use_asked.emit(str(written.where), written.written))
            self._show_message((warning if written.skipped else info)(text, reasons(written), use))

        self._run("Saving training data", len(pictures), lambda tell: save_source(pictures, where, tell), saved)

    def _any(self, pictures: Sequence[CaptionedPicture]) -> bool:
        if not pictures:
            self._show_message(info("There are no captions to export yet."))
        return bool(pictures) and not self.running

    # --- the work

    def _run(self, what: str, total: int, work: Work, then: Callable[[Written], None]) -> None:
        if self.running:
            return
        self.running, self._then = True, then
        self._leave.clear()
        self._strip.start(what, total, "pictures")
        self._pool.start(lambda: self._work(work))

    def _work(self, work: Work) -> None:
        """In the thread."""
        try:
            self._ended.emit(work(self._tell))
        except _Cancelled:
            self._ended.emit(Cancelled())
        except UserError as problem:
            text = str(problem).replace("overwrite it with --force, or move it away", "choose another name")
            self._ended.emit(Failure(text))
        except OSError as problem:
            self._ended.emit(Failure(f"It could not be written: {problem.strerror or problem}; choose another place."))
        except Exception as problem:  # noqa: BLE001  a thread's end must be told
            self._ended.emit(Failure(f"The export failed: {type(problem).__name__}: {problem}."))

    def _tell(self, done: int, total: int) -> None:
        if self._leave.is_set():
            raise _Cancelled
        if done % 50 == 0:
            self._told.emit(done, total)

    def _finish(self, outcome: Written | Failure) -> None:
        self.running = False
        self._strip.finish()
        if isinstance(outcome, Cancelled):
            self._show_message(info("The export was cancelled; text files written so far are kept."))
        elif isinstance(outcome, Failure):
            self._show_message(error(outcome.text, outcome.details))
        else:
            self._then(outcome)

    def _report(self, written: Written) -> None:
        if not written.written:
            text = f"No caption was exported; {count(len(written.skipped))} left out."
            self._show_message(warning(text, reasons(written)))
            return
        self._where = written.where if written.where.is_dir() else written.where.parent
        text = f"{_number(written.written)} exported to {written.where}."
        if written.skipped:
            text += f" {count(len(written.skipped))} left out."
        where = QUrl.fromLocalFile(str(self._where))
        open_folder = Remedy("Open folder", lambda: QDesktopServices.openUrl(where))
        self._show_message((warning if written.skipped else info)(text, reasons(written), open_folder))

    def close_threads(self) -> None:
        """Cancel and wait; call it before the application ends."""
        self._leave.set()
        self._pool.waitForDone()


def _number(pictures: int) -> str:
    return "1 caption" if pictures == 1 else f"{count(pictures)} captions"
