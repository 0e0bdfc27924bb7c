"""Tailer: follows the runs' folders in a thread and tells the window what is new, at most ten times a second a run."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from core.rundir import RunState
from sdgui.runs.history import RunHistory
from sdgui.runs.live import RunProgress
from sdgui.store.store import Store


class Tailer(QObject):
    """Every run of the store is followed from the start; curves are held for those that are shown."""

    curves_changed = Signal(int, object)  # run id, frozenset[str] of what changed in its history (RunHistory.apply)
    curves_loaded = Signal(int)  # run id: everything written before is in its history now
    progress_changed = Signal(int, object)  # run id, RunProgress
    state_changed = Signal(int, object)  # run id, RunState; the store has it already
    run_added = Signal(int)  # run id: launched by another window, or imported
    trouble = Signal(int, str)  # run id (0: the store), a sentence: a folder or the database cannot be read

    def __init__(self, store: Store, parent: QObject | None = None, poll_seconds: float = 0.1) -> None: ...

    def start(self) -> None:
        """Reattach to every run and begin to follow."""

    def close(self) -> None:
        """Record what was read and end the thread."""

    def follow(self, run_id: int) -> None:
        """Look at this run now (it was just launched, resumed or imported)."""

    def show(self, run_id: int) -> RunHistory:
        """Hold the run's curves: a history that fills from the file's start; ``curves_loaded`` when it is whole."""
        raise NotImplementedError

    def hide(self, run_id: int) -> None:
        """Let its curves go."""

    def history(self, run_id: int) -> RunHistory | None:
        """The history of a shown run."""

    def progress(self, run_id: int) -> RunProgress | None:
        """What is known of a run at this moment."""

    def state(self, run_id: int) -> RunState | None: ...
