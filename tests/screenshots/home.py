"""The studies that are photographed, listed in a window.

Flow: `list_study` opens a study of a home in the window's store -> `tests.screenshots.scenes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.spec.study import StudyDir
from sdgui.app.main_window import MainWindow
from tests.screenshots.recording import STUDIES
from tests.screenshots.waiting import until


@dataclass(frozen=True)
class TrainedStudy:
    """A study that is done, in the store of a window."""

    id: int
    folder: Path

    @property
    def images(self) -> list[Path]:
        """Held-out images, in the order of their table."""
        table = self.data("val")
        lines = table.read_text(encoding="utf-8").splitlines()[1:]
        return [table.parent / line.partition(",")[0] for line in lines]

    def data(self, name: str) -> Path:
        """A table of the rendered demo data, such as ``val``; ``noisy`` is the training data."""
        return StudyDir(self.folder).data / "openmoji" / f"{name}.csv"

    def run_folder(self, arm: str) -> Path:
        """The run of ``arm`` with the first seed."""
        return StudyDir(self.folder).run(arm, 0).path


def list_study(window: MainWindow, home: Path, name: str) -> TrainedStudy:
    """The study in the folder ``name`` of ``home``, which is done; its runs are in the tree afterwards."""
    programs, store = window.services.studies, window.services.store
    runs_before = len(store.runs())
    record = programs.open(home / STUDIES / name)
    until(lambda: programs.snapshot(record.id) is not None, "the study's folder")
    snapshot = programs.snapshot(record.id)
    assert snapshot is not None
    until(lambda: len(store.runs()) >= runs_before + len(snapshot.runs), "the runs in the tree")
    window.reload()
    return TrainedStudy(record.id, record.folder)
