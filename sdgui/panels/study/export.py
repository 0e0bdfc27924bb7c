"""Export of a study's results: Markdown, CSV, JSON, the plot, and the table on the clipboard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtWidgets import QMenu, QWidget

from core.spec.files import write_whole
from core.spec.study import StudyDir
from sdgui.panels.study.model import Table, to_csv
from sdgui.panels.study.view import StudyView
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.export.formats import ExportFormat
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.message import ShowMessage, info
from sdgui.widgets.plain_text import plain_tip

WriteResults = Callable[[StudyDir, Sequence[Table], Path], None]  # study, the tables that are shown, where

RESULT_FORMATS: tuple[ExportFormat[WriteResults], ...] = (
    ExportFormat(
        "markdown",
        "&Markdown …",
        "The report of the study: every table, with notes",
        lambda study, _tables, path: write_whole(path, study.table.read_bytes()),
        "Markdown",
        ".md",
        "results",
    ),
    ExportFormat(
        "csv",
        "&CSV …",
        "The tables that are shown",
        lambda _study, tables, path: write_whole(path, to_csv(tables).encode()),
        "Tables",
        ".csv",
        "results",
    ),
    ExportFormat(
        "json",
        "&JSON …",
        "Every value, interval and test",
        lambda study, _tables, path: write_whole(path, study.results.read_bytes()),
        "JSON",
        ".json",
        "results",
    ),
    ExportFormat(
        "plot",
        "Plot (&SVG) …",
        "A plot of the arms with their intervals",
        lambda study, _tables, path: write_whole(path, study.plot.read_bytes()),
        "Drawings",
        ".svg",
        "results",
    ),
)
_SUFFIXES = [export.suffix for export in RESULT_FORMATS]


class ExportMenu(QMenu):
    """``view()`` has the tables, ``folder()`` is the study that is shown.

    ``show_message`` shows what was written, ``failed`` gets why not.
    """

    def __init__(
        self,
        view: Callable[[], StudyView],
        folder: Callable[[], Path | None],
        show_message: ShowMessage,
        failed: Callable[[str], object],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._view, self._folder, self._over = view, folder, parent
        self._show_message, self._failed = show_message, failed
        self._tasks = BackgroundTasks(self)
        self.setToolTipsVisible(True)
        for export in RESULT_FORMATS:
            action = self.addAction(export.title)
            action.setToolTip(plain_tip(export.tip))
            action.triggered.connect(partial(self._ask, export))
        self.addAction("Copy the &table").triggered.connect(lambda: self.copy_table())

    def copy_table(self) -> None:
        """Copy the current table as text."""
        results_view = self._view()
        view = results_view.means if results_view.tables.currentIndex() == 0 else results_view.differences
        view.clearSelection()
        view.copy()

    def export_to(self, path: Path) -> None:
        """Write the results; the suffix of ``path`` selects the format."""
        if (folder := self._folder()) is None:
            return
        write = next(
            (result_format.write for result_format in RESULT_FORMATS if result_format.suffix == path.suffix.lower()),
            None,
        )
        if write is None:
            suffixes = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
            self._failed(f"{path.name} has no known extension; use {suffixes}.")
            return
        message, tables = info(f"Results written to {path}."), self._view().tables_now()
        self._tasks.run(
            lambda: write(StudyDir(folder), tables, path), lambda _: self._show_message(message), self._failed
        )

    def _ask(self, export: ExportFormat[WriteResults], _checked: bool = False) -> None:
        if (folder := self._folder()) is None:
            return
        start = Path.home() / f"{folder.name}-{export.file_name}"
        target = ask_save(
            self._over, "Export the results", start, export.filter, export.suffix, typed_suffixes=_SUFFIXES
        )
        if target is not None and target.problem:
            self._failed(target.problem)
        elif target is not None:
            self.export_to(target.path)
