"""Progress of long work: for the window through ``status.json``, for a terminal through stderr.

Flow: the trainer updates a ``Heartbeat``; a thread of its own renews ``status.json``, so
that a long step, a slow disk or a validation never looks like lost contact.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from types import TracebackType

from core.spec.run.folder import RunDir
from core.spec.run.status import HEARTBEAT_SECONDS, own_status

_LINE_SECONDS = 10.0  # between lines when stderr is a file
_REDRAW_SECONDS = 0.5  # between redraws of the one line when it is a terminal


class TimeLeft:
    """Seconds to the end, from the pace of the last steps, so that a slow start or a pause does not mislead."""

    def __init__(self, window: int = 50) -> None:
        self._marks: deque[tuple[int, float]] = deque(maxlen=window)

    def seconds(self, done: int, total: int, now: float | None = None) -> float | None:
        """Estimate after ``done`` of ``total``; None until there is a pace to estimate from."""
        now = time.monotonic() if now is None else now
        if self._marks and done < self._marks[-1][0]:
            self._marks.clear()
        self._marks.append((done, now))
        first_done, first_time = self._marks[0]
        if done <= first_done:
            return None
        return (now - first_time) / (done - first_done) * max(0, total - done)


class Pace:
    """Speed over the steps since the last report, without what is done between steps (validation, checkpoints)."""

    def __init__(self) -> None:
        self._pairs, self._steps, self._seconds, self._waited = 0, 0, 0.0, 0.0
        self.begin()

    def begin(self) -> None:
        """The next step begins: its batch is asked for."""
        self._began = time.perf_counter()

    def has_batch(self) -> None:
        """Its batch is there."""
        self._waited += time.perf_counter() - self._began

    def step(self, pairs: int) -> None:
        """Count a step of so many pairs, finished or queued on the device."""
        self._pairs += pairs
        self._steps += 1
        self._seconds += time.perf_counter() - self._began

    def report(self, operations: float = 0.0, peak: float | None = None) -> dict[str, float]:
        """Pairs a second and the share of the time that was spent waiting for batches, since the last report.

        With the ``operations`` of a step, and the ``peak`` of the device a second, the share of it that was reached.
        """
        seconds = max(self._seconds, 1e-9)
        values = {"train/pairs_per_s": self._pairs / seconds, "runtime/data_wait": self._waited / seconds}
        if operations and peak:
            values["runtime/mfu"] = operations * self._steps / seconds / peak
        self._pairs, self._steps, self._seconds, self._waited = 0, 0, 0.0, 0.0
        return values


def duration(seconds: float) -> str:
    """Seconds in words: "45 s", "1 min 10 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Heartbeat:
    """Renews ``status.json`` while entered; ``update`` may be called as often as one likes."""

    def __init__(self, run: RunDir, quiet: bool = False, writes: bool = True) -> None:
        """``quiet``: nothing on stderr. Without ``writes`` no ``status.json`` either: another rank's is the run's."""
        self._run = run
        self._quiet = quiet
        self._writes = writes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._step, self._total, self._doing = 0, 0, "starting"
        self._left: float | None = None
        self._pace = TimeLeft()
        self._printed = 0.0

    def __enter__(self) -> Heartbeat:
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._write()

    def update(self, doing: str, step: int, total_steps: int, note: str = "") -> None:
        """Set the activity after ``step`` of ``total_steps``; ``note`` is shown in a terminal only."""
        if doing == "training":
            self._left = self._pace.seconds(step, total_steps)
        self._doing, self._step, self._total = doing, step, total_steps
        self._show(note)

    def part(self, doing: str, done: int, total: int) -> None:
        """Set the progress of work inside a step, such as reading images or validating."""
        self._doing = f"{doing} {done}/{total}" if total else doing
        self._show("")

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS / 2):
            self._write()

    def _write(self) -> None:
        if not self._writes:
            return
        try:
            self._run.write_status(own_status(self._step, self._total, self._doing, self._left))
        except OSError as error:  # a full disk must not end the run; the next checkpoint will say so
            print(f"cannot write {self._run.status}: {error}", file=sys.stderr)

    def _show(self, note: str) -> None:
        if self._quiet:
            return
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        last = self._doing == "training" and self._step == self._total
        if now - self._printed < (_REDRAW_SECONDS if terminal else _LINE_SECONDS) and not last:
            return
        self._printed = now
        left = f", {duration(self._left)} left" if self._left is not None else ""
        text = f"{self._doing}: step {self._step}/{self._total}{left}{f', {note}' if note else ''}"
        print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
