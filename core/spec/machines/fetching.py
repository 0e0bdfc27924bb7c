"""Fetches a checkpoint from a machine into the local run folder, in chunks; can be cancelled and resumed.

Flow: ``fetch_checkpoint`` -> ``Host.read``, several chunks at a time -> ``checkpoints/.NAME.fetch.tmp`` -> renamed when
complete. After a cancellation or a lost connection, the next fetch continues unless the remote file has changed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts, Chunk, FileFacts
from core.spec.machines.host import Host
from core.spec.machines.record import find_checkpoint, no_record, read_record
from core.spec.reading import KILOBYTE, UnreadableError, read_json
from core.spec.run.folder import RunDir

CHUNK_BYTES = 1 << 20  # size of a request
CONCURRENT_REQUESTS = 4  # keep a slow connection busy
_CHUNK_SECONDS = 300.0  # timeout of a request, including reconnection
_STAMPS = ".stamps.json"  # versions of the remote files that the local chunks belong to

Progress = Callable[[int, int], object]  # (bytes fetched, total bytes)


class FetchCancelled(UserError):
    """The user cancelled the fetch; the next fetch continues."""


def choose(checkpoints: Sequence[CheckpointFacts], wanted_name: str) -> CheckpointFacts:
    """The checkpoint called ``wanted_name``, see `find_checkpoint`. Raises UserError if it does not exist."""
    if (checkpoint := find_checkpoint(checkpoints, wanted_name)) is not None:
        return checkpoint
    names = ", ".join(checkpoint.name for checkpoint in checkpoints) or "none yet"
    raise UserError(f"the run has no checkpoint {wanted_name} on its machine; available: {names}.")


def fetch_checkpoint(
    host: Host,
    run: RunDir,
    checkpoint_name: str = "last",
    progress: Progress = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch a checkpoint of the mirrored ``run`` and return its local folder. May take hours: not for the GUI thread.

    Raises UserError if the checkpoint no longer exists or the local disk is full; FetchCancelled; ConnectionLost if
    reconnecting fails.
    """
    record = read_record(run)
    if record is None or not record.folder:
        raise UserError(no_record(run))
    checkpoint = choose(host.checkpoints(record.folder).result(), checkpoint_name)
    final = run.checkpoints / checkpoint.name
    if not final.is_dir():
        folder = run.checkpoints / f".{checkpoint.name}.fetch.tmp"
        with writing(folder, UserError):
            folder.mkdir(parents=True, exist_ok=True)
            _check_space(folder, checkpoint)
            _Fetch(host, record.folder, checkpoint, folder, progress, cancelled).work()
            (folder / _STAMPS).unlink(missing_ok=True)
            folder.rename(final)
    _write_pointers(run, checkpoint)
    return final


def _check_space(folder: Path, checkpoint: CheckpointFacts) -> None:
    needed = sum(file.size for file in checkpoint.files) - sum(path.stat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{checkpoint.name} needs {needed / 2**20:.0f} MB more, but the disk of {folder.parent} has only "
            f"{free / 2**20:.0f} MB free; free some space and fetch the checkpoint again."
        )


def _write_pointers(run: RunDir, checkpoint: CheckpointFacts) -> None:
    """Write ``best`` and ``last`` if they point to ``checkpoint``; also write ``last`` if it is missing."""
    with writing(run.checkpoints, UserError):
        for pointer in checkpoint.pointers:
            write_whole(run.checkpoints / pointer, checkpoint.name.encode())
        if not (run.checkpoints / "last").exists():
            write_whole(run.checkpoints / "last", checkpoint.name.encode())


@dataclass
class _Fetch:
    _host: Host
    _remote: str
    _checkpoint: CheckpointFacts
    _folder: Path
    _progress: Progress
    _cancelled: Callable[[], bool]
    _done: int = 0

    def work(self) -> None:
        """Fetch every file, continuing partial ones."""
        stamps = self._stamps()
        for file in self._checkpoint.files:
            path = self._folder / file.name
            if stamps.get(file.name) != file.stamp or (path.exists() and path.stat().st_size > file.size):
                path.unlink(missing_ok=True)  # part of another version
        current_stamps = {file.name: file.stamp for file in self._checkpoint.files}
        write_whole(self._folder / _STAMPS, json.dumps(current_stamps).encode())
        for file in self._checkpoint.files:
            self._fetch_file(file)

    def _stamps(self) -> dict[str, int]:
        try:
            stamps = read_json(self._folder / _STAMPS, 64 * KILOBYTE, root=self._folder)
        except (FileNotFoundError, UnreadableError):
            return {}
        return stamps if isinstance(stamps, dict) else {}

    def _fetch_file(self, file: FileFacts) -> None:
        path = self._folder / file.name
        with path.open("ab", buffering=0) as out:
            written = requested = out.seek(0, os.SEEK_END)
            self._report(written)
            waiting: deque[tuple[int, Future[Chunk]]] = deque()  # length and answer of each request
            while written < file.size:
                while requested < file.size and len(waiting) < CONCURRENT_REQUESTS:
                    length = min(CHUNK_BYTES, file.size - requested)
                    name = f"checkpoints/{self._checkpoint.name}/{file.name}"
                    waiting.append((length, self._host.read(self._remote, name, requested, length, _CHUNK_SECONDS)))
                    requested += length
                length, answer = waiting.popleft()
                chunk = answer.result()
                self._check(chunk, file, length)
                unwritten = memoryview(chunk.data)
                while unwritten:
                    unwritten = unwritten[out.write(unwritten) :]
                written += len(chunk.data)
                self._report(len(chunk.data))
            os.fsync(out.fileno())

    def _check(self, chunk: Chunk, file: FileFacts, length: int) -> None:
        if chunk.stamp != file.stamp or chunk.size != file.size:
            raise UserError(
                f"{self._checkpoint.name} was replaced on its machine while it was being fetched; fetch it again."
            )
        if len(chunk.data) != length:
            raise UserError(
                f"{self._host.machine.name} sent {len(chunk.data):,} bytes of {file.name} instead of {length:,}; check "
                "the machine's disk, and fetch the checkpoint again."
            )

    def _report(self, count: int) -> None:
        self._done += count
        self._progress(self._done, sum(file.size for file in self._checkpoint.files))
        if self._cancelled():
            raise FetchCancelled(f"Fetching {self._checkpoint.name} was cancelled; the next fetch continues from here.")
