"""Exports a study's results as Markdown, CSV or JSON."""

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

WriteResults = Callable[[StudyDir, Sequence[Table], Path], None]  # study, shown tables, target file

RESULT_FORMATS: tuple[ExportFormat[WriteResults], ...] = (
    ExportFormat(
        "markdown",
        "&Markdown…",
        "Full report with all tables and notes",
        lambda study, _tables, path: write_whole(path, study.table.read_bytes()),
        "Markdown",
        ".md",
        "results",
    ),
    ExportFormat(
        "csv",
        "&CSV…",
        "The tables shown on the page",
        lambda _study, tables, path: write_whole(path, to_csv(tables).encode()),
        "Tables",
        ".csv",
        "results",
    ),
    ExportFormat(
        "json",
        "&JSON…",
        "All values, intervals and tests",
        lambda study, _tables, path: write_whole(path, study.results.read_bytes()),
        "JSON",
        ".json",
        "results",
    ),
)


class ExportMenu(QMenu):
    """The export menu. ``view`` has the tables; ``folder()`` returns the folder of the shown study.

    ``show_message`` reports the written file, ``failed`` the reason of a failure.
    """

    def __init__(
        self,
        view: StudyView,
        folder: Callable[[], Path | None],
        show_message: ShowMessage,
        failed: Callable[[str], object],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._view, self._folder, self._parent = view, folder, parent
        self._show_message, self._failed = show_message, failed
        self._tasks = BackgroundTasks(self)
        self.setToolTipsVisible(True)
        for export in RESULT_FORMATS:
            action = self.addAction(export.title)
            action.setToolTip(plain_tip(export.tip))
            action.triggered.connect(partial(self._ask, export))

    def _ask(self, export: ExportFormat[WriteResults], _checked: bool = False) -> None:
        if (folder := self._folder()) is None:
            return
        start = Path.home() / f"{folder.name}-{export.file_name}"
        target = ask_save(self._parent, "Export the results", start, export.filter, export.suffix)
        if target is None:
            return
        if target.problem:
            self._failed(target.problem)
            return
        message, tables = info(f"Results written to {target.path}."), self._view.shown_tables()
        self._tasks.run(
            lambda: export.write(StudyDir(folder), tables, target.path),
            lambda _: self._show_message(message),
            self._failed,
        )
