"""Export of a study's results: Markdown, CSV, JSON, the plot, and the table on the clipboard."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from core.spec.files import write_whole
from core.spec.reading import excerpt
from core.spec.study import StudyDir
from sdgui.panels.study.model import to_csv
from sdgui.panels.study.view import StudyView
from sdgui.shared.background_tasks import BackgroundTasks
from sdgui.widgets.message import Message, ShowMessage

_ENDINGS = (".md", ".csv", ".json", ".svg")
_KINDS = (("&Markdown …", "md"), ("&CSV …", "csv"), ("&JSON …", "json"), ("Plot (&SVG) …", "svg"))


class ExportMenu(QMenu):
    """``folder()`` is the study that is shown; ``show_message`` shows what was written, ``failed`` gets why not."""

    def __init__(
        self,
        view: StudyView,
        folder: Callable[[], Path | None],
        show_message: ShowMessage,
        failed: Callable[[str], object],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._view, self._folder, self._show_message, self._failed = view, folder, show_message, failed
        self._tasks = BackgroundTasks(self)
        for text, ending in _KINDS:
            self.addAction(text).triggered.connect(partial(self._ask, ending))
        self.addAction("Copy the &table").triggered.connect(lambda: self.copy_table())

    def copy_table(self) -> None:
        """Copy the current table as text."""
        view = self._view.means if self._view.tables.currentIndex() == 0 else self._view.differences
        view.clearSelection()
        view.copy()

    def export_to(self, path: Path) -> None:
        """Write the results; the ending of ``path``'s name selects the format."""
        if (folder := self._folder()) is None:
            return
        kind = path.suffix.lower()
        if kind not in _ENDINGS:
            self._failed(f"{excerpt(path.name)} has no known extension; use {', '.join(_ENDINGS[:-1])} or .svg.")
            return
        out, tables = StudyDir(folder), self._view.tables_now()
        sources = {".md": out.table, ".json": out.results, ".svg": out.plot}

        def write() -> None:
            if kind == ".csv":
                write_whole(path, to_csv(tables).encode())
            else:
                write_whole(path, sources[kind].read_bytes())

        written = Message("info", f"Results written to {path}.")
        self._tasks.run(write, lambda _: self._show_message(written), self._failed)

    def _ask(self, ending: str, _checked: bool = False) -> None:
        if (folder := self._folder()) is None:
            return
        start = Path.home() / f"{folder.name}-results.{ending}"
        found, _ = QFileDialog.getSaveFileName(self.parentWidget(), "Export the results", str(start), f"*.{ending}")
        if found:
            path = Path(found)
            self.export_to(path if path.suffix.lower() in _ENDINGS else path.with_name(f"{path.name}.{ending}"))
