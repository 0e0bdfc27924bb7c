"""The report of an experiment or a study: note, runs, curves and samples on one page, updated while runs train."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QHideEvent, QImage
from PySide6.QtWidgets import QDialog, QPushButton, QTextBrowser, QWidget

from core.spec.errors import writing
from core.spec.files import write_whole
from core.spec.report.content import Report, collect
from core.spec.report.logged import LoggedImage
from core.spec.report.render import FORMATS, to_bytes, to_html
from core.spec.run.folder import RunDir
from core.spec.study import StudyDir
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.store.store import Store
from sdgui.widgets.file_dialogs import ask_save
from sdgui.widgets.gallery.images import decode_image
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.message import error, info
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.popovers.placing import bring_to_front
from sdgui.widgets.style.theme import SPACE

_RENEW_MS = 5000
_MAX_SIZE = QSize(240, 240)  # px, size of a logged image in the report
_MAX_PIXELS = 25_000_000  # larger images are not decoded: a file of 300 kB may contain 300 million pixels
_KINDS = "HTML (*.html);;Markdown (*.md);;LaTeX (*.tex)"


class ReportView(QTextBrowser):
    """Shows HTML with embedded plots, and ``images`` by URL. Loads no file and no URL; links open in the browser."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.images: dict[str, QImage] = {}
        self.setAccessibleName("Report")
        self.setOpenLinks(False)
        self.anchorClicked.connect(self._open)

    def loadResource(self, kind: int, name: QUrl | str) -> Any:
        url = QUrl(name)
        return super().loadResource(kind, url) if url.scheme() == "data" else self.images.get(url.toString())

    def _open(self, url: QUrl) -> None:
        if url.scheme() in ("http", "https"):
            QDesktopServices.openUrl(url)


@dataclass(frozen=True)
class _Subject:
    """The subject of a report: experiments, or a study."""

    title: str
    experiments: Sequence[int]
    study: Path | None = None


@dataclass(frozen=True)
class _Page:
    """A report as HTML. ``images``: the logged images by the URLs in ``html``."""

    report: Report
    html: str
    images: dict[str, QImage]


class ReportDialog(QDialog):
    """The non-modal dialog of the report, created once."""

    def __init__(self, store: Store, parent: QWidget) -> None:
        super().__init__(parent)
        self._store, self._tasks = store, BackgroundTasks(self)
        self._subject = _Subject("", ())
        self._shown, self._reading = "", False
        self.report: Report | None = None
        self.view, self.bar = ReportView(self), MessageBar(self)
        self.leave, self.export = QPushButton("C&lose", self), QPushButton("&Export…", self)
        self.leave.setDefault(True)
        vbox((self.view, 1), self.bar, hbox(None, self.leave, self.export), into=self, margins=SPACE)
        self.resize(100 * SPACE, 90 * SPACE)
        self._timer = QTimer(self, interval=_RENEW_MS)
        self._timer.timeout.connect(self._read)
        self.export.clicked.connect(self._ask_path)
        self.leave.clicked.connect(self.close)

    def open_for(self, title: str, experiments: Sequence[int], study: Path | None = None) -> None:
        """Show the report on the runs of these experiments, updated while the dialog is open."""
        self._subject, self._shown, self.report = _Subject(title, experiments, study), "", None
        self.setWindowTitle(f"Report of {title}")
        self.view.clear()
        self.bar.clear()
        self._reading = False
        self._read()
        self._timer.start()
        bring_to_front(self)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def _read(self) -> None:
        if self._reading:
            return
        self._reading, subject = True, self._subject
        self._tasks.run(lambda: (subject, _page(_collect(self._store, subject))), self._show, self._failed)

    def _show(self, read: tuple[_Subject, _Page]) -> None:
        self._reading = False
        subject, page = read
        self.report = page.report
        if subject is self._subject and page.html != self._shown:
            self._shown, position = page.html, self.view.verticalScrollBar().value()
            self.view.images = page.images
            self.view.setHtml(page.html)
            self.view.verticalScrollBar().setValue(position)

    def _failed(self, why: str) -> None:
        self._reading = False
        self.bar.show_message(error(why))

    def _ask_path(self) -> None:
        start = Path.home() / f"{self._subject.title.replace('/', '-') or 'report'}.html"
        target = ask_save(self, "Export the report", start, _KINDS, ".html", typed_suffixes=tuple(FORMATS))
        if target is not None and target.problem:
            self._failed(target.problem)
        elif target is not None:
            self.export_to(target.path)

    def export_to(self, path: Path) -> None:
        """Write the report; the suffix of ``path`` selects the format."""
        subject = self._subject

        def write() -> None:
            content = FORMATS.get(path.suffix.lower(), to_html)(_collect(self._store, subject))
            with writing(path):
                write_whole(path, to_bytes(content))

        done = info(f"Report written to {path}.")
        self._tasks.run(write, lambda _: self.bar.show_message(done), self._failed)


def _collect(store: Store, subject: _Subject) -> Report:
    runs: list[RunDir] = []
    for experiment in subject.experiments:
        runs += [run.dir for run in store.runs(experiment) if run.is_local]
    note = "\n\n".join(note for experiment in subject.experiments if (note := store.experiment(experiment).note))
    return collect(subject.title, runs, note, StudyDir(subject.study) if subject.study is not None else None)


def _page(report: Report) -> _Page:
    """Decode the logged images, which takes too long for the main thread."""
    images: dict[str, QImage] = {}

    def url(image: LoggedImage) -> str:
        name = f"logged:{hashlib.sha256(image.data).hexdigest()}"
        if name not in images:
            images[name] = decode_image(image.data, image.file, _MAX_SIZE, _MAX_PIXELS)[0] or QImage()
        return name

    return _Page(report, to_html(report, url), images)
