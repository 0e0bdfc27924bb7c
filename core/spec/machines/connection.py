"""A persistent connection to a machine: ``ssh HOST sdgui-core remote``, usable from any thread.

Flow: window or command -> ``call`` -> a line of JSON -> the remote program -> a ``Future``. Notifications (new bytes
of followed files, states of runs) go to the ``Sink`` of each followed run. No Qt: futures and sinks are called in a
thread of the connection.

The connection may fail at any moment. It reconnects with back-off; unanswered requests are sent again, since all of
them are idempotent (a run is submitted with a token, a file is read from an offset), and each followed run continues
from the offsets of its sink. A refusal (host key, password, no Python) is reported immediately. The next call tries
again; while runs are followed, there is an attempt every minute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.spec.errors import UserError
from core.spec.machines import ssh
from core.spec.machines.answers import Bytes, Hello, RemoteStatus, Trouble
from core.spec.machines.machine import Machine
from core.spec.machines.remote_process import RemoteProcess
from core.spec.machines.ssh import ConnectionLost, MachineRefused
from core.spec.reading import UnreadableError, excerpt, validate

BACK_OFF = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # delays before each attempt, in seconds
ANSWERED_STEPS = 4  # a machine that has answered gets only this many first delays of `BACK_OFF`
STEADY_SECONDS = 2.0  # a session of this length resets the back-off
SILENT_SECONDS = 30.0  # a session without output for this long is ended; the remote program writes every 5 s
REFUSED_SECONDS = 60.0  # delay after the machine has refused
PING_SECONDS = 10.0
FAIL_FAST = frozenset({"check", "probe"})  # requests that fail as soon as the machine cannot be reached
HELLO_SECONDS = 60.0  # a cluster's shell may load modules first


@dataclass(frozen=True)
class ConnectionState:
    """The state of a connection: ``kind`` is off, connecting, ready, waiting, refused or closed."""

    kind: str = "off"
    message: str = ""  # why it is waiting or refused, with the remedy
    retry: float | None = None  # seconds from this state to the next attempt


class Sink(Protocol):
    """Receives the output and state of a followed run."""

    def offsets(self) -> dict[str, Any]:
        """The size of each local file, as arguments of the request to follow the run."""

    def append(self, part: Bytes) -> None:
        """Receive the next bytes of a file."""

    def update_status(self, remote_status: RemoteStatus) -> None:
        """Receive the state of the run, as reported by its machine."""

    def report_trouble(self, trouble: Trouble) -> None:
        """Receive the reason why the machine cannot read the run, until the next state."""


@dataclass
class _Call:
    request: dict[str, Any]
    deadline: float
    future: Future[Any] = field(default_factory=Future)


class Connection:
    """Starts with the first call or follow, and ends with ``close``."""

    def __init__(
        self,
        machine: Machine,
        changed: Callable[[ConnectionState], object] = lambda state: None,
        command: Sequence[str] | None = None,
    ) -> None:
        """``changed`` is called in a thread of the connection. ``command`` replaces ssh and the remote program."""
        self.machine = machine
        self.hello: Hello | None = None  # None before the first answer
        self._changed = changed
        self._command = list(command or ssh.core_command(machine, ["remote", "--runs", machine.runs]))
        self._lock = threading.RLock()
        self._calls: dict[int, _Call] = {}
        self._sinks: dict[str, Sink] = {}
        self._last = 0
        self._session: RemoteProcess | None = None
        self._ready = False
        self._state = ConnectionState()
        self._problem: UserError | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def state(self) -> ConnectionState:
        return self._state

    def call(self, request_name: str, timeout: float = 60.0, **arguments: Any) -> Future[dict[str, Any]]:
        """Send a request. The future fails with the remote UserError, or with ConnectionLost after ``timeout`` seconds.

        Requests in `FAIL_FAST` fail with ConnectionLost as soon as an attempt to connect has failed.
        """
        with self._lock:
            self._last += 1
            number = self._last
            call = self._calls[number] = _Call(
                {"id": number, "do": request_name, **arguments}, time.monotonic() + timeout
            )
            if self._closing.is_set():
                self._fail(number, ConnectionLost("The connection was closed."))
                return call.future
            self._start_threads()
            if request_name in FAIL_FAST and self._state.kind == "waiting":
                self._wake.set()
            session = self._session if self._ready else None
        if session is not None:
            session.send(call.request)
        return call.future

    def follow(self, folder: str, sink: Sink) -> None:
        """Send ``sink`` everything that the run in ``folder`` writes, from its offsets on, across reconnections."""
        with self._lock:
            self._sinks[folder] = sink
            self._start_threads()
            session = self._session if self._ready else None
        if session is not None:
            session.send({"do": "follow", "folder": folder, **sink.offsets()})

    def unfollow(self, folder: str) -> None:
        """Stop following the run in ``folder``."""
        with self._lock:
            self._sinks.pop(folder, None)
            session = self._session if self._ready else None
        if session is not None:
            session.send({"do": "unfollow", "folder": folder})

    def retry(self) -> None:
        """Try to connect now, regardless of the back-off."""
        self._wake.set()

    def close(self) -> None:
        """End the session; runs that it started continue. Open calls fail."""
        self._closing.set()
        self._wake.set()
        with self._lock:
            session, threads = self._session, list(self._threads)
        if session is not None:
            session.kill()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(5.0)
        self._fail_all(ConnectionLost("The connection was closed."))
        self._set_state(ConnectionState("closed"))

    # The threads
    def _start_threads(self) -> None:
        """Start the threads, or wake the one that waits after a refusal. Requires the lock."""
        if not self._threads:
            for name, work in (("machine", self._stay_connected), ("machine ticks", self._tick)):
                self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            for thread in self._threads:
                thread.start()
        elif self._state.kind == "refused":
            self._wake.set()

    def _stay_connected(self) -> None:
        attempt = 0
        while not self._closing.is_set():
            self._wake.clear()
            self._set_state(ConnectionState("connecting", self._state.message))
            seconds, problem = self._run_session()
            if self._closing.is_set():
                return
            attempt = (
                0 if seconds >= STEADY_SECONDS else min(attempt + 1, (ANSWERED_STEPS if seconds else len(BACK_OFF)) - 1)
            )
            self._problem = problem
            if isinstance(problem, MachineRefused):
                self._fail_all(problem)
                self._set_state(ConnectionState("refused", str(problem), REFUSED_SECONDS))
                self._wait_refused()
            else:
                self._set_state(ConnectionState("waiting", str(problem), BACK_OFF[attempt]))
                if not seconds:  # the machine did not answer
                    with self._lock:
                        failed = [number for number, call in self._calls.items() if call.request["do"] in FAIL_FAST]
                    for number in failed:
                        self._fail(number, problem)
                self._wake.wait(BACK_OFF[attempt])

    def _wait_refused(self) -> None:
        while not self._wake.wait(REFUSED_SECONDS) and not self._sinks:
            pass

    def _run_session(self) -> tuple[float, UserError]:
        """Run a session to its end; returns its seconds after the hello (0 without a hello), and why it ended."""
        try:
            session = RemoteProcess(self._command)
        except OSError as error:
            return 0.0, ssh.no_ssh(error)
        with self._lock:
            self._session = session
        start_time: float | None = None
        refusal: UserError | None = None
        try:
            while (reply := session.read()) is not None and not self._closing.is_set():
                if start_time is None:
                    if reply.get("event") != "hello":
                        continue
                    if refusal := self._check_hello(reply):
                        break
                    start_time = time.monotonic()
                    self._resend(session)
                else:
                    self._handle_reply(reply)
        finally:
            with self._lock:
                self._session, self._ready = None, False
            code, stderr = session.end(0.0 if refusal or self._closing.is_set() else 1.0)
        seconds = 0.0 if start_time is None else time.monotonic() - start_time
        return seconds, refusal or self._reason(start_time, code, stderr)

    def _reason(self, start_time: float | None, code: int | None, stderr: str) -> UserError:
        problem = ssh.refusal(self.machine, code, stderr)
        if start_time is not None and isinstance(problem, MachineRefused) and code != 255:
            return ConnectionLost(str(problem))  # the machine had answered before, so this is not a refusal
        return problem

    def _check_hello(self, reply: dict[str, Any]) -> UserError | None:
        try:
            self.hello = validate(Hello, reply, "the greeting")
        except UnreadableError as error:
            return MachineRefused(f"the program on {self.machine.name} does not use sdgui's protocol: {error}")
        if self.hello.protocol != ssh.PROTOCOL:
            return MachineRefused(
                f"{self.machine.name} runs sdgui {excerpt(self.hello.version) or 'of another version'} (protocol "
                f"{self.hello.protocol}), but this computer uses protocol {ssh.PROTOCOL}. Press Install on the "
                f"machine's page (or run sdgui-core machines install {self.machine.name}), or update the older sdgui."
            )
        return None

    def _resend(self, session: RemoteProcess) -> None:
        """Once connected, resend unanswered calls and continue to follow each run from its sink's offsets."""
        with self._lock:
            self._ready = True
            self._problem = None
            waiting = [call.request for call in self._calls.values()]
            sinks = dict(self._sinks)
        self._set_state(ConnectionState("ready"))
        for folder, sink in sinks.items():
            session.send({"do": "follow", "folder": folder, **sink.offsets()})
        for request in waiting:
            session.send(request)

    def _handle_reply(self, reply: dict[str, Any]) -> None:
        """Pass a reply to its sink or future."""
        event = reply.get("event")
        if event == "bytes":
            self._to_sink(reply, Bytes, "append")
        elif event == "run_status":
            self._to_sink(reply, RemoteStatus, "update_status")
        elif event == "trouble":
            self._to_sink(reply, Trouble, "report_trouble")
        elif event in ("done", "failed"):
            number = reply.get("id")
            if not isinstance(number, int):
                self._fail_all(
                    UserError(f"{self.machine.name} sent an answer without a request number; update sdgui there.")
                )
                return
            with self._lock:
                call = self._calls.pop(number, None)
            if call is not None:
                _settle(call.future, reply, event == "done")

    def _to_sink(self, reply: dict[str, Any], shape: Any, method: str) -> None:
        sink = self._sinks.get(str(reply.get("folder")))
        if sink is None:
            return
        try:
            getattr(sink, method)(validate(shape, reply, "a reply"))
        except UnreadableError as error:
            self._set_state(ConnectionState("ready", f"{self.machine.name} sent an invalid message: {error}"))

    def _tick(self) -> None:
        """Enforce deadlines of calls, end a silent session, and ping the other end."""
        pinged = 0.0
        while not self._closing.wait(0.5):
            time_now = time.monotonic()
            with self._lock:
                late = [number for number, call in self._calls.items() if time_now >= call.deadline]
                session, is_ready = self._session, self._ready
            for number in late:
                self._fail(
                    number, self._problem or ConnectionLost(f"{self.machine.name} did not answer in time; try again.")
                )
            if session is not None and time_now - session.last_read > (SILENT_SECONDS if is_ready else HELLO_SECONDS):
                session.kill()
            elif session is not None and is_ready and time_now - pinged > PING_SECONDS:
                pinged = time_now
                session.send({"do": "ping"})

    def _set_state(self, state: ConnectionState) -> None:
        if state != self._state:
            self._state = state
            self._changed(state)

    def _fail(self, number: int, error: UserError) -> None:
        with self._lock:
            call = self._calls.pop(number, None)
        if call is not None:
            with suppress(InvalidStateError):
                call.future.set_exception(error)

    def _fail_all(self, error: UserError) -> None:
        for number in list(self._calls):
            self._fail(number, error)


def _settle(future: Future[Any], reply: dict[str, Any], succeeded: bool) -> None:
    with suppress(InvalidStateError):  # cancelled
        if succeeded:
            result = reply.get("result")
            future.set_result(result if isinstance(result, dict) else {})
        else:
            future.set_exception(UserError(excerpt(reply.get("message") or "the request failed", 4000)))
