"""Saves the list of captions to the store in a thread, so that the window never waits for the disk.

Flow: changes of the list -> batched briefly -> thread -> store; at startup the list is read back in parts. Changes
are written in order; if the program is killed, at most the last 150 ms are lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, QTimer, Signal

from core.spec.run.model_names import run_and_checkpoint
from sdgui.panels.caption.model import Entry, entry_of, to_kept_caption
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.store.records import StoreError
from sdgui.store.store import Store

_BATCH_MS = 150  # changes within this time are written together
_RETRY_MS = 2000  # time until a failed read or write is tried again
_ENTRIES_PER_READ = 500
_ENTRIES_PER_WRITE = 120  # per transaction; few, so that other writers do not wait for long


Changed = dict[str, Entry | None]  # path -> entry; None: removed
Origins = dict[str, Mapping[str, Any]]


class CaptionPersistence(QObject):
    """Saves and restores entries without blocking. ``restored`` emits parts of the stored list, then ``ready``."""

    restored = Signal(list)  # Entry objects
    ready = Signal(object)  # origins: key -> content
    failed = Signal(str)  # writing failed and will be retried
    settled = Signal(bool)  # writing has ended; True if everything was written
    unreadable = Signal(str)  # reading failed and will be retried

    def __init__(self, store: Store, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._changed: Changed = {}
        self._origins: Origins = {}
        self._unwritten: Changed = {}  # used by the thread: left over from a failed write
        self._unwritten_origins: Origins = {}
        self._writing = 0  # number of write tasks
        self._read_to = (-1, -1)  # used by the thread: how far the list has been read
        self._tasks = BackgroundTasks(self)
        self._timer = QTimer(self, singleShot=True, interval=_BATCH_MS)
        self._timer.timeout.connect(self.flush)
        self._retry_timer = QTimer(self, singleShot=True)
        self._retry_timer.timeout.connect(self.restore)
        self.failed.connect(lambda _sentence: self._schedule_flush(_RETRY_MS))
        self.unreadable.connect(lambda _sentence: self._retry_timer.start(_RETRY_MS))
        if (app := QCoreApplication.instance()) is not None:
            app.aboutToQuit.connect(self.close)

    def run_names(self, origins: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """The names of the runs among ``origins`` by folder; {} if the store cannot be read."""
        folders = {run_and_checkpoint(str(content.get("model", "")))[0] for content in origins} - {""}
        try:
            runs = {folder: self._store.run_in(Path(folder), include_deleted=True) for folder in folders}
            run_ids = {folder: run.id for folder, run in runs.items() if run is not None}
            labels = self._store.run_labels(list(run_ids.values()))
        except StoreError:
            return {}
        return {folder: labels[run_id].name for folder, run_id in run_ids.items() if run_id in labels}

    def restore(self) -> None:
        """Read the list in parts; after a failure, continue where reading stopped, so that later edits are kept."""
        self._retry_timer.stop()
        self._tasks.run(self._read, failed=self.unreadable.emit)

    def keep(self, entries: Iterable[Entry]) -> None:
        """Store the current state of these entries."""
        self._changed.update((entry.path, entry) for entry in entries)
        self._schedule_flush()

    def keep_origin(self, key: str, content: Mapping[str, Any]) -> None:
        """Store the content of an origin key."""
        self._origins[key] = content
        self._schedule_flush()

    def forget(self, paths: Iterable[str]) -> None:
        """Remove images from the store."""
        self._changed.update((path, None) for path in paths)
        self._schedule_flush()

    def _schedule_flush(self, delay_ms: int = _BATCH_MS) -> None:
        if not self._timer.isActive():
            self._timer.start(delay_ms)

    def flush(self) -> None:
        """Start writing the pending changes."""
        self._timer.stop()
        changed, self._changed = self._changed, {}
        origins, self._origins = self._origins, {}
        if changed or origins or self._unwritten or self._unwritten_origins:
            self._writing += 1
            self._tasks.run(
                lambda: self._write(changed, origins), lambda _: self._on_task_ended(True), self._on_write_failed
            )

    @property
    def pending(self) -> bool:
        """Whether changes still have to be written; False between a failed write and its retry."""
        return bool(self._changed or self._origins or self._writing)

    def _on_write_failed(self, sentence: str) -> None:
        self.failed.emit(sentence)
        self._on_task_ended(False)

    def _on_task_ended(self, is_written: bool) -> None:
        self._writing -= 1
        if not self.pending:
            self.settled.emit(is_written)

    def close(self) -> None:
        """Write the pending changes, and wait until they are written."""
        self.flush()
        self._tasks.wait()

    # --- in the thread
    def _read(self) -> None:
        origins = self._store.caption_origins()
        while True:
            records, read_to = self._store.captions(self._read_to, _ENTRIES_PER_READ)
            if not records:
                break
            self.restored.emit([entry_of(record) for record in records])
            self._read_to = read_to
        self.ready.emit(origins)

    def _write(self, changed: Changed, origins: Origins) -> None:
        """Write the changes, and changes left by an earlier failure unless newer ones replace them."""
        self._unwritten = changed = self._unwritten | changed
        self._unwritten_origins = origins = self._unwritten_origins | origins
        removed = [path for path, entry in changed.items() if entry is None]
        if removed:
            self._store.delete_captions(removed)
        self._store.save_captions([], origins)
        entries = [entry for entry in changed.values() if entry is not None]
        for start in range(0, len(entries), _ENTRIES_PER_WRITE):
            part = entries[start : start + _ENTRIES_PER_WRITE]
            self._store.save_captions([to_kept_caption(entry) for entry in part], {})
        self._unwritten, self._unwritten_origins = {}, {}
