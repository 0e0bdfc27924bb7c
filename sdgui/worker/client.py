"""WorkerClient: sends requests to a long-lived ``python -m core worker`` over its pipes, without blocking the window.

Flow: a panel's request -> one line of JSON -> worker -> lines of progress and one answer -> signals. The worker is
started by the first request and, after a crash, by the next one. While a ``WorkerPool`` runs too many other workers,
requests are queued. Every request ends: with an answer, or with a failure if the process exits, sends no heartbeat
or only invalid lines, or ignores a cancellation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, QProcess, QTimer, Signal
from shiboken6 import isValid

from core.spec.installed import missing, missing_message
from core.spec.reading import excerpt
from sdgui.runs.program import core_command, qt_process
from sdgui.worker.heartbeat import Heartbeat
from sdgui.worker.replies import Alive, Cancelled, CodeNeeded, Done, Failure, Lost, Partial, Progress, Ready, read_reply

_MAX_STDERR_BYTES = 64 << 10  # the end of stderr that is kept
_STDERR_LINES = 30  # last lines that a failure's details contain
_SHUTDOWN_MS = 3000
_CANCEL_MS = 10_000  # time after which a worker that ignores a cancellation is stopped
_MAX_LINE_BYTES = 256 << 20  # far above any answer
_MAX_UNREADABLE = 1000  # consecutive invalid lines while answers are awaited


AskCode = Callable[[Mapping[str, Path], Callable[[bool], None]], object]
"""Asks whether files of code (digest -> path) may run, and calls back with the answer."""


class WorkerClient(QObject):
    """A worker process and its requests."""

    progress = Signal(int, str, int, int)  # request, activity, finished, total
    partial = Signal(int, object)  # request, partial result (dict)
    done = Signal(int, object)  # request, result (dict)
    failed = Signal(int, object)  # request, Failure
    state_changed = Signal(str)  # "off", "waiting", "starting", "ready", "busy"
    lost = Signal(str, str)  # the process exited unexpectedly: message, end of stderr

    def __init__(
        self,
        command: Sequence[str] | None = None,
        parent: QObject | None = None,
        may_start: Callable[[], bool] = lambda: True,
        remote_command: Callable[[], Sequence[str] | None] = lambda: None,
        ask_code: AskCode | None = None,
    ) -> None:
        """``may_start`` is called before a process starts; if it returns False, call ``start_waiting`` later.

        ``remote_command`` returns the command to use instead while the model is on another machine. ``ask_code`` asks
        the user whether a model's custom code may run; without it such a request fails.
        """
        super().__init__(parent)
        self._may_start = may_start
        self._queued_lines: dict[int, bytes] = {}  # requests without a process yet
        self._command = list(command or [*core_command(), "worker"])
        self._uses_trainer = not command  # a local worker then needs the trainer's packages
        self._remote_command, self._ask_code = remote_command, ask_code
        self._process: QProcess | None = None
        self._open_requests: dict[int, bytes] = {}  # request -> its line, sent again once its custom code is allowed
        self._last_number = 0
        self._partial_line = bytearray()  # the incomplete last line
        self._stderr = bytearray()
        self._exiting: list[QProcess] = []  # shutting down
        self._ready = False
        self._heartbeat = Heartbeat(self)
        self._heartbeat.lost.connect(self._on_heartbeat_lost)
        self._unreadable = 0  # invalid lines since the last reply
        self._state = "off"
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    @property
    def state(self) -> str:
        """ "off", "waiting", "starting", "ready" or "busy"."""
        return self._state

    def request(self, do: str, **arguments: Any) -> int:
        """Send the request named ``do``; returns its number, and emits ``done`` or ``failed`` later."""
        self._last_number += 1
        number = self._last_number
        line = self._open_requests[number] = _line({"id": number, "do": do, **arguments})
        if self._process is not None:
            self._process.write(line)
        elif self._uses_trainer and not self._remote_command() and (lacking := missing("train")):
            failure = Lost(missing_message("train", lacking[0]))
            QTimer.singleShot(0, self, lambda: self._fail(number, failure))
        else:
            self._queued_lines[number] = line
            self.start_waiting()
        self._update_state()
        return number

    def _fail(self, number: int, failure: Failure) -> None:
        if self._open_requests.pop(number, None) is not None:
            self._update_state()
            self.failed.emit(number, failure)

    def warm_up(self) -> None:
        """Start a process before the first request, since loading its libraries takes seconds."""
        if self._process is None and not (self._uses_trainer and missing("train")) and self._may_start():
            self._start()
            self._update_state()

    def start_waiting(self) -> None:
        """Start a process for queued requests, if it may start now."""
        if not self._queued_lines or self._process is not None or not self._may_start():
            return
        process = self._start()
        waiting, self._queued_lines = self._queued_lines, {}
        for line in waiting.values():
            process.write(line)
        self._update_state()

    def cancel(self, number: int) -> None:
        """Cancel a request; ``failed`` is emitted unless it is already done."""
        if number in self._queued_lines:
            del self._queued_lines[number]
            QTimer.singleShot(0, self, lambda: self._fail(number, Cancelled()))
        elif number in self._open_requests and self._process is not None:
            self._process.write(_line({"do": "cancel", "id": number}))
            QTimer.singleShot(_CANCEL_MS, self, lambda: self._check_cancelled(number))

    def _check_cancelled(self, number: int) -> None:
        """Fail a request that is still open: the worker is in an uninterruptible step, or hangs."""
        if number in self._open_requests:
            self._fail(number, Cancelled())
            if not self._open_requests:
                self.shutdown()  # the next request starts a new process

    def shutdown(self) -> None:
        """Ask the worker to exit, and kill it after a few seconds. A later request starts a new process."""
        process = self._process
        if process is None:
            if self._open_requests:
                self._on_exited("The worker was closed.")
            return
        self._disconnect_process(process)
        process.write(_line({"do": "shutdown"}))
        process.closeWriteChannel()
        QTimer.singleShot(_SHUTDOWN_MS, process, process.kill)
        self._on_exited("The worker was closed.")

    def _disconnect_process(self, process: QProcess) -> None:
        """Disconnect from a process that is exiting."""
        self._exiting = [leaving for leaving in self._exiting if isValid(leaving)]
        self._exiting.append(process)
        process.readyReadStandardOutput.disconnect(self._read)
        process.readyReadStandardError.disconnect(self._read_stderr)
        process.finished.disconnect(self._on_finished)
        process.errorOccurred.disconnect(self._on_process_error)
        process.finished.connect(process.deleteLater)  # not a method of this object, because the process may outlive it
        self._process = None

    def _start(self) -> QProcess:
        process = qt_process(self)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_stderr)
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_process_error)
        self._process, self._ready, self._unreadable = process, False, 0
        self._heartbeat.restart()
        self._partial_line.clear()
        self._stderr.clear()
        command = self._remote_command() or self._command
        process.start(command[0], command[1:])
        return process

    def _read(self) -> None:
        if self._process is None:
            return
        arrived = self._process.readAllStandardOutput().data()
        self._partial_line += arrived
        if b"\n" in arrived:
            *lines, incomplete = bytes(self._partial_line).split(b"\n")
            self._partial_line = bytearray(incomplete)
            for line in lines:
                self._reply(line)
        self._heartbeat.beat(self._ready)
        self._check_readable(bytes(arrived))
        self._update_state()

    def _reply(self, line: bytes) -> None:
        """Handle one line; lines that are not replies (such as a library's prints) are ignored."""
        reply = read_reply(line)
        if reply is None:
            self._unreadable += 1
            return
        self._unreadable = 0
        if isinstance(reply, Ready):
            self._ready = True
        elif isinstance(reply, Alive) or reply.number not in self._open_requests:
            return
        elif isinstance(reply, Progress):
            self.progress.emit(reply.number, reply.doing, reply.done, reply.total)
        elif isinstance(reply, Partial):
            self.partial.emit(reply.number, reply.result)
        elif isinstance(reply, Done):
            del self._open_requests[reply.number]
            self.done.emit(reply.number, reply.result)
        elif isinstance(reply.failure, CodeNeeded) and self._ask_code is not None and not self._remote_command():
            self._ask_code(reply.failure.files, partial(self._on_code_answered, reply.number, reply.failure))
        else:
            self._fail(reply.number, reply.failure)

    def _on_code_answered(self, number: int, failure: Failure, allowed: bool) -> None:
        """Send a request again if the user allowed its code; fail it otherwise."""
        if number not in self._open_requests or not isValid(self):
            return
        if allowed and self._process is not None:
            self._process.write(self._open_requests[number])
        else:
            self._fail(number, failure)

    def _check_readable(self, last: bytes) -> None:
        """Kill a process that sends only invalid lines."""
        if len(self._partial_line) <= _MAX_LINE_BYTES and (
            self._unreadable <= _MAX_UNREADABLE or not self._open_requests
        ):
            return
        self._stderr += b"\n" + excerpt(last[:_MAX_STDERR_BYTES].decode("utf-8", "replace")).encode()
        self._partial_line.clear()
        self._kill("The worker sent invalid output and was stopped.")

    def _on_heartbeat_lost(self, seconds: int) -> None:
        self._kill(f"The worker has not responded for {seconds} s and was stopped.")

    def _kill(self, message: str) -> None:
        """Kill a process that no longer answers; every open request fails with ``message``."""
        if (process := self._process) is not None:
            self._read_stderr()
            self._disconnect_process(process)
            process.kill()
        self._on_exited(message, True)

    def _read_stderr(self) -> None:
        if self._process is not None:
            self._stderr += self._process.readAllStandardError().data()
            del self._stderr[:-_MAX_STDERR_BYTES]

    def _on_process_error(self, error: QProcess.ProcessError) -> None:
        if error is QProcess.ProcessError.FailedToStart and self._process is not None:
            reason = self._process.errorString()
            # delayed, so that ``request`` returns the number before the failure is reported
            QTimer.singleShot(0, self, lambda: self._on_exited(f"The worker could not be started: {reason}.", True))

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        self._read_stderr()
        crashed = status is QProcess.ExitStatus.CrashExit
        self._on_exited("The worker crashed." if crashed else f"The worker exited with code {code}.", True)

    def _on_exited(self, message: str, unexpectedly: bool = False) -> None:
        """Fail every open request; the next request starts a new process."""
        process, self._process, self._ready = self._process, None, False
        if process is not None and unexpectedly:
            process.deleteLater()
        details = "\n".join(self._stderr.decode("utf-8", "replace").splitlines()[-_STDERR_LINES:])
        lost_requests, self._open_requests, self._queued_lines = list(self._open_requests), {}, {}
        self._update_state()
        if unexpectedly:
            self.lost.emit(message, details)
        for number in lost_requests:
            self.failed.emit(number, Lost(f"{message} Try again: a new worker starts.", details))

    def close(self) -> None:
        """Kill all processes because the window closes; they exit within milliseconds."""
        processes = [*self._exiting, *([self._process] if self._process is not None else [])]
        self._process, self._exiting, self._open_requests, self._queued_lines = None, [], {}, {}
        for process in filter(isValid, processes):
            process.blockSignals(True)
            process.kill()
            process.waitForFinished(500)

    def _update_state(self) -> None:
        if self._process is None:
            state = "waiting" if self._queued_lines else "off"
        elif not self._ready:
            state = "starting"
        else:
            state = "busy" if self._open_requests else "ready"
        self._heartbeat.watch(self._process is not None and bool(self._open_requests))
        if state != self._state:
            self._state = state
            self.state_changed.emit(state)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
