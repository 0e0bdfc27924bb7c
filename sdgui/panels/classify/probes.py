"""Saves and loads probes, and applies probes to folders; the file dialogs ask before a file is replaced.

Flow: a button of the panel -> dialog -> ``ClassifySession`` -> a message in the panel's message bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from sdgui.panels.classify.evaluations import CANCELLED
from sdgui.panels.classify.model import Evaluation
from sdgui.panels.classify.work import ClassifySession
from sdgui.shared.failures import failure_message
from sdgui.widgets.file_dialogs import ask_folder, ask_open, ask_save
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.message import Remedy, ShowMessage, error, info, warning
from sdgui.worker.replies import Failure

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
    def ask_save(self, probe: Evaluation | None) -> None:
        """Ask for a file and save the probe."""
        if probe is None:
            self._show_message(info(_NO_PROBE))
            return
        name = f"probe-{Path(probe.target.model.partition('@')[0]).name}{_SUFFIX}"
        if target := ask_save(self._window, "Save the probe", name, f"*{_SUFFIX}", _SUFFIX):
            path, description = target.path, target.path.with_suffix(".json")
            # the dialog has asked about at most one of the two files
            if not target.replaces and (existing := [file for file in (path, description) if file.exists()]):
                self._show_message(error(f"{existing[0]} already exists; choose another name."))
            else:
                self.save(probe, path)

    def save(self, probe: Evaluation, path: Path) -> None:
        """Save the probe to ``path``."""
        self._session.save(probe, str(path), self._on_saved, self._on_failed)

    def _on_saved(self, answer: dict[str, Any]) -> None:
        path = Path(str(answer["path"]))
        text = f"Saved the probe as {path} and its description as {Path(answer['json']).name} in the same folder."
        self._show_message(info(text, remedy=Remedy("Open folder", lambda: _open(path.parent))))

    # Loading
    def ask_load(self, load: Callable[[Path], None]) -> None:
        """Ask for a file and pass the path to ``load``."""
        if path := ask_open(self._window, "Load a saved probe", _PROBES):
            load(path.with_suffix(_SUFFIX))

    # Applying
    def ask_apply(self, probe: Evaluation | None) -> None:
        """Ask for the folder and the output file, and classify."""
        if probe is None:
            self._show_message(info(_NO_PROBE))
            return
        folder = ask_folder(self._window, "Choose a folder of images to classify")
        if folder is None:
            return
        start = folder.parent / f"{folder.name}-classes.csv"
        title, typed = "Save the predicted classes as", (".csv", ".tsv")
        if target := ask_save(self._window, title, start, "*.csv", ".csv", typed_suffixes=typed):
            if target.problem:
                self._show_message(error(target.problem))
            else:
                self.apply(probe, folder, target.path)

    def apply(self, probe: Evaluation, folder: Path, out: Path) -> None:
        """Classify every image under ``folder`` and write the predictions to ``out``."""
        self._set_busy(f"Classifying {folder.name}")
        self._session.apply(probe, [str(folder)], str(out), self._on_applied, self._on_failed)

    def _on_applied(self, answer: Mapping[str, Any]) -> None:
        self._set_busy("")
        out, unreadable_count = Path(str(answer["path"])), int(answer["unreadable_count"])
        text = f"{count_with_unit(answer['images'], 'image')} classified; the results are in {out}."
        if unreadable_count:
            text += f" {count_with_unit(unreadable_count, 'file')} could not be read; see the details."
        lines = [f"{row['class']}: {count(row['images'])}" for row in answer["classes"]]
        lines += [f"{row['where']}: {row['reason']}" for row in answer["unreadable"]]
        open_folder = Remedy("Open folder", lambda: _open(out.parent))
        self._show_message((warning if unreadable_count else info)(text, "\n".join(lines), open_folder))

    def _on_failed(self, failure: Failure) -> None:
        self._set_busy("")
        self._show_message(failure_message(failure, CANCELLED))


def _open(folder: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
