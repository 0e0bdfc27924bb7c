"""Fetching a checkpoint from a machine into the run folder here: in parts, with progress, resumed and cancelled.

Flow: ``fetch_checkpoint`` -> ``Host.read`` a part at a time, a few ahead -> ``checkpoints/.NAME.fetch.tmp`` -> renamed
when whole. What was fetched stays after a cancellation or a cut of the line, and the next fetch goes on from it, unless
the file there is another one by now.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts, Chunk, FileFacts
from core.spec.machines.host import Host
from core.spec.machines.record import no_record, read_record
from core.spec.reading import KILOBYTE, UnreadableError, excerpt, read_json
from core.spec.run.folder import RunDir

PART = 1 << 20  # bytes a request
AHEAD = 4  # requests under way, so that a slow line is full all the time
_PART_SECONDS = 300.0  # one part may wait so long for a line that is down
_STAMPS = ".stamps.json"  # which files of the machine's the parts here are of

Progress = Callable[[int, int], object]  # bytes here, bytes in all


class FetchCancelled(UserError):
    """The user cancelled it; what was fetched stays for the next time."""


def choose(found: Sequence[CheckpointFacts], which: str) -> CheckpointFacts:
    """The checkpoint that ``which`` names: best, last, a step or a name. UserError when there is none."""
    for one in found:
        step = one.name.rpartition("-")[2].lstrip("0") or "0"
        if which in (one.name, *one.pointers) or (which.isdecimal() and (which.lstrip("0") or "0") == step):
            return one
    if which == "last" and found:
        return found[-1]
    names = ", ".join(one.name for one in found) or "none yet"
    raise UserError(f"the run has no checkpoint {excerpt(which)} on its machine; it has {names}.")


def fetch_checkpoint(
    host: Host,
    run: RunDir,
    which: str = "last",
    progress: Progress = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch a checkpoint of the mirrored ``run``; its folder here. May take hours: not for the window's thread.

    UserError when it is no longer there or the disk here is full; FetchCancelled; LineDown when the line stays down.
    """
    record = read_record(run)
    if record is None or not record.folder:
        raise UserError(no_record(run))
    checkpoint = choose(host.checkpoints(record.folder).result(), which)
    final = run.checkpoints / checkpoint.name
    if not final.is_dir():
        folder = run.checkpoints / f".{checkpoint.name}.fetch.tmp"
        with writing(folder, UserError):
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_full(folder, checkpoint)
            _Fetch(host, record.folder, checkpoint, folder, progress, cancelled).work()
            (folder / _STAMPS).unlink(missing_ok=True)
            folder.rename(final)
    _point(run, checkpoint)
    return final


def _refuse_full(folder: Path, checkpoint: CheckpointFacts) -> None:
    needed = sum(one.size for one in checkpoint.files) - sum(path.stat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{checkpoint.name} needs {needed / 2**20:.0f} MB more, and the disk of {folder.parent} has "
            f"{free / 2**20:.0f} MB free; free some space and fetch it again."
        )


def _point(run: RunDir, checkpoint: CheckpointFacts) -> None:
    """``best`` and ``last`` here are those of what is here."""
    with writing(run.checkpoints, UserError):
        for which in checkpoint.pointers:
            write_whole(run.checkpoints / which, checkpoint.name.encode())
        if not (run.checkpoints / "last").exists():
            write_whole(run.checkpoints / "last", checkpoint.name.encode())


class _Fetch:
    def __init__(
        self,
        host: Host,
        remote: str,
        checkpoint: CheckpointFacts,
        folder: Path,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> None:
        self._host, self._remote, self._checkpoint, self._folder = host, remote, checkpoint, folder
        self._progress, self._cancelled = progress, cancelled
        self._total = sum(one.size for one in checkpoint.files)
        self._done = 0

    def work(self) -> None:
        """Every file, from where it was left."""
        stamps = self._stamps()
        for file in self._checkpoint.files:
            path = self._path(file)
            if stamps.get(file.name) != file.stamp or (path.exists() and path.stat().st_size > file.size):
                path.unlink(missing_ok=True)  # of another file than is there now
        wanted = {one.name: one.stamp for one in self._checkpoint.files}
        write_whole(self._folder / _STAMPS, json.dumps(wanted).encode())
        for file in self._checkpoint.files:
            self._file(file)

    def _stamps(self) -> dict[str, int]:
        try:
            found = read_json(self._folder / _STAMPS, 64 * KILOBYTE, root=self._folder)
        except (FileNotFoundError, UnreadableError):
            return {}
        return found if isinstance(found, dict) else {}

    def _path(self, file: FileFacts) -> Path:
        return self._folder / file.name

    def _file(self, file: FileFacts) -> None:
        path = self._path(file)
        with path.open("ab", buffering=0) as out:
            at = asked = out.seek(0, os.SEEK_END)
            self._report(at)
            waiting: deque[tuple[int, Future[Chunk]]] = deque()  # bytes asked for, and the answer
            while at < file.size:
                while asked < file.size and len(waiting) < AHEAD:
                    length = min(PART, file.size - asked)
                    name = f"checkpoints/{self._checkpoint.name}/{file.name}"
                    waiting.append((length, self._host.read(self._remote, name, asked, length, _PART_SECONDS)))
                    asked += length
                length, answer = waiting.popleft()
                chunk = answer.result()
                self._check(chunk, file, length)
                left = memoryview(chunk.data)
                while left:
                    left = left[out.write(left) :]
                at += len(chunk.data)
                self._report(len(chunk.data))
            os.fsync(out.fileno())

    def _check(self, chunk: Chunk, file: FileFacts, length: int) -> None:
        if chunk.stamp != file.stamp or chunk.size != file.size:
            raise UserError(
                f"{self._checkpoint.name} was replaced on its machine while it was fetched; fetch it again."
            )
        if len(chunk.data) != length:
            raise UserError(
                f"{self._host.machine.name} sent {len(chunk.data):,} bytes of {file.name} where {length:,} were asked "
                "for; see that the disk there is sound, and fetch it again."
            )

    def _report(self, more: int) -> None:
        self._done += more
        self._progress(self._done, self._total)
        if self._cancelled():
            raise FetchCancelled(f"Fetching {self._checkpoint.name} was cancelled; the next fetch goes on from here.")
