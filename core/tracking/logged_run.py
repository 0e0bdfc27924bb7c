"""Runs that the user's script logs, in the folder format of the trainer.

run = core.start_run("baseline", config={"lr": 1e-3}, project="cifar")
for step, batch in enumerate(batches):
    run.log({"loss": train(batch)}, step=step)
run.finish()

Flow: ``log`` appends to a buffer -> a thread writes it to ``events.jsonl`` twice a second and updates ``status.json``
-> the window and ``sdgui-core runs`` read both, as for a trainer's run. Once a run has started, logging never raises: a
value that cannot be recorded causes one warning, and the script continues.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from core.spec.errors import UserError
from core.spec.reading import excerpt
from core.spec.run.events import (
    MAX_LINE_BYTES,
    MAX_NAME_LENGTH,
    MAX_STEP,
    MAX_VALUES,
    Event,
    EventWriter,
    Log,
    Metrics,
    Outcome,
    RunFailed,
    RunFinished,
    RunStarted,
    Sample,
    encode,
)
from core.spec.run.folder import RunDir
from core.spec.run.logged import LoggedConfig
from core.spec.run.status import own_status
from core.tracking.media import is_sample, sample_content
from core.tracking.system import SystemMonitor

if TYPE_CHECKING:
    from filelock import BaseFileLock

FLUSH_SECONDS = 0.5
_SYNC_SECONDS = 10.0  # between two calls of fsync, which are slow on a network disk
_ROWS_PER_WRITE = 2000  # rows encoded before each write
_MAX_WARNINGS = 100


class LoggedRun:
    """A run in progress, created by `core.start_run`. As a context manager, it finishes at the end of the block.

    ``folder``: the run folder; ``config``: the recorded key-value pairs.
    """

    def __init__(
        self, run: RunDir, config: LoggedConfig, start: RunStarted, lock: BaseFileLock, system_seconds: float
    ) -> None:
        """``run``: a folder with a config, locked by ``lock``. Raises OSError if it cannot be written."""
        self.name, self.project, self.config, self.folder = config.name, config.project, config.config, run.path
        self._run, self._pid, self._total, self._lock = run, os.getpid(), start.total_steps, lock
        self._events = EventWriter(run.events)
        self._events.write(start)
        run.write_status(own_status(start.step, self._total, "training"))
        self._rows: deque[tuple[float, int, dict[str, float]] | Event] = deque()
        self._step = start.step  # the highest logged step
        self._next_step = start.step  # used by a ``log`` without a step
        self._metric_names: set[str] = set()
        self._warned: set[str] = set()
        self._flushing, self._ended = threading.Lock(), threading.Event()
        self._disk_problem, self._synced = "", time.monotonic()
        self._thread = threading.Thread(target=self._write_periodically, name="run-writer", daemon=True)
        self._thread.start()
        self._monitor = SystemMonitor(system_seconds, run.path, report=self._report_system).__enter__()
        _open_runs.add(self)
        _enable_interrupts()
        _watch_exit()

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record ``values`` by name at ``step`` (0 or more; default: the last call's step + 1).

        Numbers, including numpy and torch scalars, are metrics; `Image`, a list of images, `Table`, `Text` and plain
        text are samples; names of nested mappings are joined by "/". A call takes a few microseconds: only images are
        written in the caller's thread.
        """
        if self._ended.is_set():
            self._warn(
                f"run.log was called after {self.name} had ended, or in another process; the values are not recorded."
            )
            return
        if _exit_error is not None:
            _forget_caught_exit()
        if step is None:
            step = self._next_step
        elif type(step) is not int or not 0 <= step <= MAX_STEP:
            step = self._valid_step(step)
        self._next_step = step + 1
        numbers: dict[str, float] = {}
        try:
            for name, value in values.items():
                if type(value) is float and name in self._metric_names:
                    numbers[name] = value
                else:
                    self._record_value(name, value, step, numbers)
        except (AttributeError, RuntimeError):  # not a mapping, or another thread changes it
            self._warn(f"run.log needs a dict of names and values, not {excerpt(repr(values))}.")
        if numbers:
            self._rows.append((time.time(), step, numbers))
        if step > self._step:
            self._step = step

    def flush(self) -> None:
        """Write everything logged so far to disk (fsync)."""
        self._write_rows()
        with suppress(OSError):
            self._events.sync()

    def finish(self, failed: bool | str | BaseException = False) -> None:
        """Write the buffered rows and the outcome: done, or ``failed`` with an optional reason or exception.

        A second call does nothing.
        """
        if not failed:
            self._end("done")
        elif isinstance(failed, BaseException):
            self._end(failed)
        else:
            self._end(UserError(failed if isinstance(failed, str) else "The script reported a failure."))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error if error is not None else "done")

    # Recording
    def _record_value(self, name: Any, value: Any, step: int, numbers: dict[str, float]) -> None:
        """Add a number to ``numbers``, or queue a sample."""
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH:
            self._warn(f"{excerpt(repr(name))} is not a name of 1 to {MAX_NAME_LENGTH} characters; it is not recorded.")
            return
        if isinstance(value, Mapping):
            for inner, item in value.items():
                self._record_value(f"{name}/{inner}", item, step, numbers)
            return
        if is_sample(value):
            self._record_sample(name, value, step)
            return
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):  # a tensor with several values raises one of these
            self._warn(f"{excerpt(name)} is {excerpt(repr(value))}, neither a number nor a sample; it is not recorded.")
            return
        if len(self._metric_names) < MAX_VALUES:
            self._metric_names.add(name)
        elif name not in self._metric_names:
            del numbers[name]
            self._warn(f"the run has {MAX_VALUES} metrics, the maximum; {excerpt(name)} is not recorded.")

    def _record_sample(self, name: str, value: Any, step: int) -> None:
        try:
            event = Sample(step=step, what="logged", content={name: sample_content(name, value, self.folder, step)})
        except Exception as error:  # noqa: BLE001  a broken image or table must not end training
            self._warn(str(error) if isinstance(error, UserError) else f"{excerpt(name)}: {error}; it is not recorded.")
            return
        if len(encode(event)) > MAX_LINE_BYTES:
            self._warn(f"the sample {excerpt(name)} is larger than {MAX_LINE_BYTES >> 20} MB; it is not recorded.")
            return
        self._rows.append(event)

    def _valid_step(self, step: Any) -> int:
        """``step`` as an int. Warns about an invalid step and returns the next step instead."""
        if (number := as_step(step)) is not None:
            return number
        self._warn(f"{excerpt(repr(step))} is not a valid step (a whole number from 0); using step {self._next_step}.")
        return self._next_step

    def _warn(self, message: str) -> None:
        """Print and record a warning, once per message."""
        if message in self._warned or len(self._warned) >= _MAX_WARNINGS:
            return
        self._warned.add(message)
        print(f"sdgui: {message}", file=sys.stderr)
        if not self._ended.is_set():
            self._rows.append(Log(level="warning", message=message))

    def _report_system(self, values: Mapping[str, float]) -> None:
        self._rows.append(Metrics(step=self._step, values=values))

    # Writing
    def _write_periodically(self) -> None:
        while not self._ended.wait(FLUSH_SECONDS):
            self._write_rows()
            with suppress(OSError):
                self._run.write_status(own_status(self._step, self._total, "training"))
                if time.monotonic() - self._synced > _SYNC_SECONDS:
                    self._synced = time.monotonic()
                    self._events.sync()
            if self._run.pending_request() == "stop":  # from the window or `sdgui-core stop`; acts like Ctrl+C
                self._run.clear_control()
                _interrupt()

    def _write_rows(self) -> None:
        """Append all rows to the file. After an error, reported once, they stay in memory for the next attempt."""
        with self._flushing:
            try:
                while self._rows:
                    self._events.append(b"".join(self._encode_rows(min(len(self._rows), _ROWS_PER_WRITE))))
                self._events.append(b"")  # writes the rest of a failed attempt
                self._disk_problem = ""
            except OSError as error:
                if not self._disk_problem:
                    self._disk_problem = f"{self._run.events} cannot be written: {error.strerror}"
                    print(f"sdgui: {self._disk_problem}; logged values are kept in memory.", file=sys.stderr)

    def _encode_rows(self, count: int) -> list[bytes]:
        lines = []
        for _ in range(count):
            row = self._rows.popleft()
            lines.append(encode(row if isinstance(row, Event) else Metrics(time=row[0], step=row[1], values=row[2])))
        return lines

    def _end(self, outcome: Outcome | BaseException) -> None:
        """Stop the threads, then write the buffered rows and the terminal event, once.

        If a second Ctrl+C interrupts this, it is completed when the process exits.
        """
        if self not in _open_runs or os.getpid() != self._pid:
            return
        self._ended.set()
        self._thread.join()
        self._monitor.__exit__(None, None, None)
        self._rows.append(self._terminal_event(outcome))
        self._write_rows()
        if self._disk_problem:
            print(f"sdgui: {self._disk_problem}; the values logged since then are lost.", file=sys.stderr)
        _open_runs.discard(self)
        with suppress(OSError):
            self._events.sync()
            self._run.write_status(own_status(self._step, self._total))
        self._events.close()
        self._lock.release()

    def _terminal_event(self, outcome: Outcome | BaseException) -> Event:
        if isinstance(outcome, SystemExit):
            outcome = (
                "done"
                if outcome.code in (None, 0)
                else UserError(f"The script exited with {excerpt(str(outcome.code))}.")
            )
        if isinstance(outcome, (KeyboardInterrupt, GeneratorExit)):
            outcome = "stopped"
        if isinstance(outcome, str):
            return RunFinished(step=self._step, outcome=outcome)
        message = str(outcome) if isinstance(outcome, UserError) else f"{type(outcome).__name__}: {outcome}"
        trace = "".join(traceback.format_exception(outcome)) if outcome.__traceback__ else ""
        return RunFailed(step=self._step, error=type(outcome).__name__, message=message, traceback=trace)

    def leave_to_parent(self) -> None:
        """Called in a forked process: discard the buffered rows, which the parent writes."""
        self._rows.clear()
        self._ended.set()
        self._warned.clear()


_stop_requested = threading.Event()


def _enable_interrupts() -> None:
    """Enable SIGINT, which shells ignore for background jobs, so that a requested stop reaches the script."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt_if_requested)


def _interrupt_if_requested(_number: int, _frame: FrameType | None) -> None:
    if _stop_requested.is_set():
        raise KeyboardInterrupt


def _interrupt() -> None:
    """Send Ctrl+C to the main thread. On POSIX, the signal also interrupts blocking calls."""
    _stop_requested.set()
    ident = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and ident is not None:
        signal.pthread_kill(ident, signal.SIGINT)
    else:
        _thread.interrupt_main()


_open_runs: weakref.WeakSet[LoggedRun] = weakref.WeakSet()
_exit_error: BaseException | None = None  # the exception or exit status that ends the process, if any


@cache
def _watch_exit() -> None:
    """End open runs when the process ends: after an unhandled exception, ``sys.exit`` or the end of the script.

    ``sys.excepthook`` gets the exception and ``atexit`` runs at every regular exit, but neither gets the exit status,
    so ``sys.exit`` is wrapped too. Each hook calls the previously installed one.
    """
    previous_hook, previous_exit = sys.excepthook, sys.exit

    def hook_with_record(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        global _exit_error
        _exit_error = error
        previous_hook(kind, error, trace)

    def exit_with_record(status: object = None, /) -> NoReturn:
        global _exit_error
        if threading.current_thread() is threading.main_thread():  # in another thread, it ends only that thread
            _exit_error = SystemExit(status)
        previous_exit(status)  # type: ignore[arg-type]

    sys.excepthook, sys.exit = hook_with_record, exit_with_record
    atexit.register(_end_all)


def _forget_caught_exit() -> None:
    """Called when the script logs: it has caught its SystemExit, unless it logs in an exception or exit handler."""
    global _exit_error
    in_main = threading.current_thread() is threading.main_thread() and threading.main_thread().is_alive()
    if in_main and sys.exc_info()[1] is None and isinstance(_exit_error, SystemExit):
        _exit_error = None


def _end_all() -> None:
    for run in list(_open_runs):
        run._end(_exit_error if _exit_error is not None else "done")


def _after_fork() -> None:
    for run in list(_open_runs):
        run.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def as_step(value: Any) -> int | None:
    """``value`` as a step, also if it is a whole float or an array of one element; None if it is not a step."""
    try:
        number = int(value)
        return number if number == value and 0 <= number <= MAX_STEP else None
    except (TypeError, ValueError, OverflowError):
        return None
