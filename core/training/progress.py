"""Progress of long work: for the window in ``status.json``, for a terminal on stderr.

Flow: the trainer updates a ``Heartbeat``; a separate thread renews ``status.json``, so that a long step, a slow disk or
a validation does not look like lost contact.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from types import TracebackType

from core.spec.run.folder import RunDir
from core.spec.run.status import HEARTBEAT_SECONDS, own_status

_LOG_INTERVAL_S = 10.0  # interval between lines if stderr is a file
_REDRAW_INTERVAL_S = 0.5  # interval between redraws of the line on a terminal


class TimeLeft:
    """Estimates the remaining time from recent steps, so that a slow start or a pause has no lasting effect."""

    def __init__(self, window: int = 50) -> None:
        self._marks: deque[tuple[int, float]] = deque(maxlen=window)

    def seconds(self, done: int, total: int, now: float | None = None) -> float | None:
        """The remaining seconds after ``done`` of ``total`` steps; None after too few steps."""
        now = time.monotonic() if now is None else now
        if self._marks and done < self._marks[-1][0]:
            self._marks.clear()
        self._marks.append((done, now))
        first_done, first_time = self._marks[0]
        if done <= first_done:
            return None
        return (now - first_time) / (done - first_done) * max(0, total - done)


class Pace:
    """Training speed since the last report, excluding work between steps (validation, checkpoints)."""

    def __init__(self) -> None:
        self._pairs, self._steps, self._seconds, self._waited = 0, 0, 0.0, 0.0
        self.start_waiting()

    def start_waiting(self) -> None:
        """Start waiting for the next batch, with which a step begins."""
        self._step_started = time.perf_counter()

    def batch_arrived(self) -> None:
        """Stop waiting: the next batch has arrived."""
        self._waited += time.perf_counter() - self._step_started

    def count_step(self, pairs: int) -> None:
        """Count a step with ``pairs`` pairs, which is finished or queued on the device."""
        self._pairs += pairs
        self._steps += 1
        self._seconds += time.perf_counter() - self._step_started

    def take_speed(self, operations: float = 0.0, peak: float | None = None) -> dict[str, float]:
        """Pairs per second and the share of time spent waiting for batches, since the last report.

        Includes the model FLOPs utilisation if the ``operations`` of a step and the device's ``peak`` operations per
        second are known.
        """
        seconds = max(self._seconds, 1e-9)
        values = {"train/pairs_per_s": self._pairs / seconds, "runtime/data_wait": self._waited / seconds}
        if operations and peak:
            values["runtime/mfu"] = operations * self._steps / seconds / peak
        self._pairs, self._steps, self._seconds, self._waited = 0, 0, 0.0, 0.0
        return values


def duration(seconds: float) -> str:
    """Seconds as text: "45 s", "1 min 10 s", "2 h 5 min"."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


class Heartbeat:
    """Renews ``status.json`` within its context; ``update`` is cheap."""

    def __init__(self, run: RunDir, quiet: bool = False, writes: bool = True) -> None:
        """``quiet``: no output on stderr. ``writes``: False if another rank writes ``status.json``."""
        self._run = run
        self._quiet = quiet
        self._writes = writes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._step, self._total, self._activity = 0, 0, "starting"
        self._seconds_left: float | None = None
        self._time_left = TimeLeft()
        self._printed_at = 0.0

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

    def update(self, activity: str, step: int, total_steps: int, note: str = "") -> None:
        """Set the activity after ``step`` of ``total_steps``; ``note`` is only printed on stderr."""
        if activity == "training":
            self._seconds_left = self._time_left.seconds(step, total_steps)
        self._activity, self._step, self._total = activity, step, total_steps
        self._show(note)

    def update_substep(self, activity: str, done: int, total: int) -> None:
        """Set the progress of work between steps, such as reading images or validating."""
        self._activity = f"{activity} {done}/{total}" if total else activity
        self._show("")

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS / 2):
            self._write()

    def _write(self) -> None:
        if not self._writes:
            return
        try:
            self._run.write_status(own_status(self._step, self._total, self._activity, self._seconds_left))
        except OSError as error:  # a full disk does not end the run here; the next checkpoint reports it
            print(f"cannot write {self._run.status}: {error}", file=sys.stderr)

    def _show(self, note: str) -> None:
        if self._quiet:
            return
        terminal = sys.stderr.isatty()
        seconds = time.monotonic()
        is_last = self._activity == "training" and self._step == self._total
        interval = _REDRAW_INTERVAL_S if terminal else _LOG_INTERVAL_S
        if seconds - self._printed_at < interval and not is_last:
            return
        self._printed_at = seconds
        remaining = f", {duration(self._seconds_left)} left" if self._seconds_left is not None else ""
        step = f": step {self._step}/{self._total}" if self._total else ""  # unknown until training begins
        text = f"{self._activity}{step}{remaining}{f', {note}' if note else ''}"
        print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)
