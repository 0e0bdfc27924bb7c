"""Fetches checkpoints from other machines in background threads, one per run at a time.

Flow: action -> ``start(run_id, folder)`` -> ``core.spec.machines.fetching`` -> ``progressed``, then ``fetched`` or
``failed`` in the window's thread. A cancelled fetch keeps its partial files, and the next one continues from them.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal

from core.spec.errors import UserError
from core.spec.machines.fetching import FetchCancelled, fetch_checkpoint
from core.spec.machines.machines import Machines
from core.spec.machines.record import no_record, read_record
from core.spec.run.folder import RunDir

_REPORT_SECONDS = 0.1  # minimum time between two progress signals


class Fetches(QObject):
    """Fetches checkpoints. Lives in the window's thread and never waits for a machine."""

    progressed = Signal(int, object, object)  # run id, bytes received, total bytes (both may exceed Qt's int)
    fetched = Signal(int, object)  # run id, local folder of the checkpoint
    failed = Signal(int, str)  # run id, error message; "" if cancelled
    _reported = Signal(int, object, object)

    def __init__(self, machines: Machines, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._machines = machines
        self._cancelled: dict[int, threading.Event] = {}
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def active(self, run_id: int) -> bool:
        """Whether a checkpoint of this run is being fetched."""
        return run_id in self._cancelled

    def start(self, run_id: int, folder: Path, checkpoint: str = "last") -> None:
        """Fetch a checkpoint of the run mirrored in ``folder``, unless one is being fetched."""
        if self.active(run_id):
            return
        cancelled = self._cancelled[run_id] = threading.Event()
        work = (run_id, folder, checkpoint, cancelled)
        threading.Thread(target=self._work, args=work, name="fetch", daemon=True).start()

    def cancel(self, run_id: int) -> None:
        """Stop fetching after the current chunk."""
        if run_id in self._cancelled:
            self._cancelled[run_id].set()

    def close(self) -> None:
        """Stop all fetches; partial files are kept for the next time."""
        for cancelled in self._cancelled.values():
            cancelled.set()

    def _work(self, run_id: int, folder: Path, checkpoint: str, cancelled: threading.Event) -> None:
        last_report = 0.0

        def show(received: int, total: int) -> None:
            nonlocal last_report
            now = time.monotonic()
            if now - last_report >= _REPORT_SECONDS or received == total:
                last_report = now
                self._reported.emit(run_id, received, total)

        run = RunDir(folder)
        try:
            record = read_record(run)
            if record is None:
                raise UserError(no_record(run))
            fetched_folder = fetch_checkpoint(
                self._machines.host(record.machine), run, checkpoint, show, cancelled.is_set
            )
        except FetchCancelled:
            self._reported.emit(run_id, None, "")
        except UserError as error:
            self._reported.emit(run_id, None, str(error))
        except Exception as error:  # noqa: BLE001  every failure of a task is reported
            self._reported.emit(run_id, None, f"{type(error).__name__}: {error}")
        else:
            self._reported.emit(run_id, fetched_folder, None)

    def _deliver(self, run_id: int, first: object, second: object) -> None:
        if isinstance(first, int):
            self.progressed.emit(run_id, first, second)
            return
        self._cancelled.pop(run_id, None)
        if isinstance(first, Path):
            self.fetched.emit(run_id, first)
        else:
            self.failed.emit(run_id, str(second))
