"""Saves and loads probes, and applies probes to folders; asks before replacing a file.

Flow: a button of the panel -> dialog -> ``ClassifySession`` -> a message in the panel's message bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QMessageBox, QWidget

from sdgui.panels.classify.evaluations import CANCELLED
from sdgui.panels.classify.model import Measure
from sdgui.panels.classify.work import ClassifySession
from sdgui.widgets.file_dialogs import ask_folder, ask_open, ask_save
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.message import Level, Message, Remedy, ShowMessage
from sdgui.widgets.plain_text import make_plain
from sdgui.worker.replies import Cancelled, Failure

_SUFFIX = ".safetensors"
_PROBES = "Probes (*.safetensors *.json);;All files (*)"
_NO_PROBE = "There is no probe yet. Fit a linear or fused probe, or load a saved probe."


class Probes(QObject):
    """The dialogs for probes, and their requests."""

    def __init__(
        self,
        session: ClassifySession,
        show_message: ShowMessage,
        set_busy: Callable[[str], None],
        parent: QWidget,
    ) -> None:
        """``set_busy(text)`` starts the progress strip, ``set_busy("")`` ends it; ``parent`` owns the dialogs."""
        super().__init__(parent)
        self._session, self._show_message, self._set_busy, self._window = session, show_message, set_busy, parent

    # Saving
    def ask_save(self, probe: Measure | None) -> None:
        """Ask for a file, confirm replacing an existing file, and save the probe."""
        if probe is None:
            self._show_message(Message("info", _NO_PROBE))
            return
        name = f"probe-{Path(probe.target.model.partition('@')[0]).name}{_SUFFIX}"
        # Overwriting is confirmed below, since a probe is two files.
        if target := ask_save(self._window, "Save the probe", name, f"*{_SUFFIX}", _SUFFIX, confirm=False):
            path = target.path
            existing = [file for file in (path, path.with_suffix(".json")) if file.exists()]
            self.confirm_replacing(existing, lambda: self.save(probe, path))

    def save(self, probe: Measure, path: Path) -> None:
        """Save the probe to ``path``."""
        self._session.save(probe, str(path), self._saved, self._failed)

    def _saved(self, answer: dict[str, Any]) -> None:
        path = Path(str(answer["path"]))
        text = f"Saved the probe as {path} and its description as {Path(answer['json']).name} in the same folder."
        self._show_message(Message("info", text, remedy=Remedy("Open folder", lambda: _open(path.parent))))

    # Loading
    def ask_load(self, load: Callable[[Path], None]) -> None:
        """Ask for a file and pass the path to ``load``."""
        if path := ask_open(self._window, "Load a saved probe", _PROBES):
            load(path.with_suffix(_SUFFIX))

    # Applying
    def ask_apply(self, probe: Measure | None) -> None:
        """Ask for the folder and the output file, confirm replacing an existing file, and classify."""
        if probe is None:
            self._show_message(Message("info", _NO_PROBE))
            return
        folder = ask_folder(self._window, "Choose a folder of images to classify")
        if folder is None:
            return
        start = folder.parent / f"{folder.name}-classes.csv"
        if target := ask_save(self._window, "Save the predicted classes as", start, "*.csv", confirm=False):
            out = target.path if target.path.suffix else target.path.with_name(f"{target.path.name}.csv")
            self.confirm_replacing([out] if out.exists() else [], lambda: self.apply(probe, folder, out))

    def apply(self, probe: Measure, folder: Path, out: Path) -> None:
        """Classify every image under ``folder`` and write the predictions to ``out``."""
        self._set_busy(f"Classifying {folder.name}")
        self._session.apply(probe, [str(folder)], str(out), self._on_applied, self._failed)

    def _on_applied(self, answer: Mapping[str, Any]) -> None:
        self._set_busy("")
        out, unreadable_count = Path(str(answer["path"])), int(answer["unreadable_count"])
        text = f"{count(answer['images'])} images classified; the results are in {out}."
        level: Level = "info"
        if unreadable_count:
            level = "warning"
            text += f" {count_with_unit(unreadable_count, 'file')} could not be read; see the details."
        lines = [f"{row['class']}: {count(row['images'])}" for row in answer["classes"]]
        lines += [f"{row['where']}: {row['reason']}" for row in answer["unreadable"]]
        open_folder = Remedy("Open folder", lambda: _open(out.parent))
        self._show_message(Message(level, text, "\n".join(lines), open_folder))

    def _failed(self, failure: Failure) -> None:
        self._set_busy("")
        if isinstance(failure, Cancelled):
            self._show_message(Message("info", CANCELLED))
        else:
            self._show_message(Message("error", failure.text, failure.details))

    # Confirming
    def confirm_replacing(self, existing: list[Path], write: Callable[[], object]) -> None:
        """Call ``write``; if there are existing files, ask first."""
        if not existing:
            write()
            return
        box = QMessageBox(self._window)
        box.setObjectName("replace")
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Replace")
        box.setText(
            f"{' and '.join(path.name for path in existing)} already {'exists' if len(existing) == 1 else 'exist'}."
        )
        box.setInformativeText(f"In {existing[0].parent}")
        replace = box.addButton("&Replace", QMessageBox.ButtonRole.DestructiveRole)
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(cancel)
        make_plain(box)

        def answered(_result: int) -> None:
            if box.clickedButton() is replace:
                write()

        box.finished.connect(answered)
        # Closing deletes it only after its answer was read.
        box.finished.connect(lambda _result: box.deleteLater())
        box.open()


def _open(folder: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
