"""Exports a study's results as Markdown, CSV or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtWidgets import QMenu, QWidget

from core.spec.files import write_whole
from core.spec.study import StudyDir
from sdgui.panels.study.model import Table, to_csv
from sdgui.panels.study.view import StudyView
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.shared.export.formats import ExportFormat
from sdgui.store.studies import StudyRecord
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


def export_menu(
    view: StudyView,
    study: Callable[[], StudyRecord | None],
    show_message: ShowMessage,
    failed: Callable[[str], object],
    parent: QWidget,
) -> QMenu:
    """The export menu. ``view`` has the tables; ``study()`` returns the shown study.

    ``show_message`` reports the written file, ``failed`` the reason of a failure.
    """
    menu, tasks = QMenu(parent), BackgroundTasks(parent)
    menu.setToolTipsVisible(True)

    def ask(export: ExportFormat[WriteResults]) -> None:
        if (record := study()) is None:
            return
        start = Path.home() / f"{record.folder.name}-{export.file_name}"
        target = ask_save(parent, "Export the results", start, export.filter, export.suffix)
        if target is None:
            return
        if target.problem:
            failed(target.problem)
            return
        message, tables = info(f"Results written to {target.path}."), view.shown_tables()
        tasks.run(
            lambda: export.write(StudyDir(record.folder), tables, target.path), lambda _: show_message(message), failed
        )

    for export in RESULT_FORMATS:
        action = menu.addAction(export.title)
        action.setToolTip(plain_tip(export.tip))
        action.triggered.connect(lambda _=False, export=export: ask(export))
    return menu
