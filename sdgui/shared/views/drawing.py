"""Views drawn by a worker, with their pixels, as plain data; and the request for them.

Flow: a config, a step and rows -> ``ViewsWork.draw`` -> worker ``data_views`` -> pixels in a file -> ``Views``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from PySide6.QtCore import QObject, QTemporaryDir, Signal
from PySide6.QtGui import QImage

from core.spec.config import RunConfig
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.data_verbs import DATA_VIEWS, DrawnViews, ShownView, ViewCell, ViewedImage
from sdgui.worker.pool import DATA_WORKER, WorkerPool
from sdgui.worker.replies import Cancelled, Failure

_PURPOSE = "views"
_PIXEL_BYTES = 3
_TITLES = {"student": "The student sees", "both": "Student and teacher see", "teacher": "The teacher sees"}


@dataclass(frozen=True)
class Row:
    """One view of every image: cells and pixels. ``heading``: heading above the first row of its kind."""

    heading: str
    title: str
    patches: int  # per side
    cells: list[ViewCell]
    images: list[QImage]


@dataclass(frozen=True)
class Views:
    """All views of ``images``, in the order in which they are shown."""

    images: list[ViewedImage]
    rows: list[Row]
    epoch: int
    steps_per_epoch: int
    batch: int
    skipped: list[int]
    by_choice: bool


class ViewsWork(QObject):
    """Requests views from a worker; a new request drops earlier ones."""

    drawn = Signal(object)  # Views
    failed = Signal(str)

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._calls = WorkerCalls(pool.client(DATA_WORKER, "data"), self)
        self._numbers = count()

    @cached_property
    def _folder(self) -> QTemporaryDir:
        """A temporary folder, created on the first request, since a killed window would not delete it."""
        return QTemporaryDir()

    @property
    def busy(self) -> bool:
        """Whether views are being drawn."""
        return self._calls.busy(_PURPOSE)

    def draw(self, config: RunConfig, step: int, rows: Sequence[int], limit: int) -> None:
        """Draw views of ``rows`` of ``config``'s training data at ``step``; without rows, views of a batch."""
        target = Path(self._folder.filePath(f"{next(self._numbers)}.rgb"))
        request = {"config": config.model_dump(mode="json"), "step": step, "rows": list(rows), "most": limit}
        self._calls.ask(
            _PURPOSE,
            DATA_VIEWS,
            lambda answer: self._on_answer(answer, target),
            self._report_refusal,
            None,
            to=str(target),
            **request,
        )

    def cancel(self) -> None:
        """Drop the pending request."""
        self._calls.drop(_PURPOSE)

    def _on_answer(self, answer: DrawnViews, target: Path) -> None:
        try:
            content = target.read_bytes()
            target.unlink(missing_ok=True)
        except OSError as error:
            self.failed.emit(f"The views cannot be read: {error.strerror}. Draw them again.")
            return
        self.drawn.emit(views_of(answer, content))

    def _report_refusal(self, failure: Failure) -> None:
        if not isinstance(failure, Cancelled):
            self.failed.emit(failure.text)


def views_of(answer: DrawnViews, content: bytes) -> Views:
    """``answer`` with its images, cut from ``content``."""
    order = list(_TITLES)
    rows, previous_who = [], ""
    for view in sorted(answer["views"], key=lambda view: order.index(view["who"])):
        heading = _TITLES[view["who"]] if view["who"] != previous_who else ""
        previous_who = view["who"]
        across, images = view["side"] // view["patch"], _images(view, content)
        rows.append(Row(heading, view["title"], across, view["cells"], images))
    position = (answer["epoch"], answer["steps_per_epoch"], answer["batch"], answer["skipped"], answer["by_choice"])
    return Views(answer["images"], rows, *position)


def _images(view: ShownView, content: bytes) -> list[QImage]:
    side = view["side"]
    size, images = _PIXEL_BYTES * side * side, []
    for cell in view["cells"]:
        part = content[cell["offset"] : cell["offset"] + size]
        images.append(QImage(part, side, side, _PIXEL_BYTES * side, QImage.Format.Format_RGB888).copy())
    return images
