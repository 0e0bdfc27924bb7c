"""The persistent connection to one machine: ``ssh HOST sdgui-core remote``, kept up, and called from any thread.

Flow: window or verb -> ``call`` -> a line of JSON -> the program there -> a ``Future``. What it sends unasked (the
growth of followed files, how runs stand) goes to the ``Sink`` of each followed run. No Qt: futures and sinks are called
in a thread of the connection's, and whoever draws hands over to its own.

The line may fall at any moment. It is taken up again with back-off; requests that were not answered are sent again,
since every one of them can be (a run is submitted with a token, a file is read from an offset), and each followed run
goes on from what its sink has. A refusal (host key, password, no Python there) is told at once, and asked again by the
next call, or every minute while runs are followed.
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
from core.spec.machines.answers import Bytes, Hello, Standing
from core.spec.machines.line import Line
from core.spec.machines.machine import Machine
from core.spec.machines.ssh import LineDown, MachineRefused
from core.spec.reading import UnreadableError, checked, excerpt

BACK_OFF = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each further attempt
ANSWERED = 4  # of them, for a machine that does answer, if not for long
STEADY_SECONDS = 2.0  # a line that held for so long begins the back-off anew
SILENT_SECONDS = 30.0  # the program there writes every 5 s
REFUSED_SECONDS = 60.0
PING_SECONDS = 10.0
AT_ONCE = frozenset({"check"})  # requests of somebody who wants to know whether the machine can be reached
HELLO_SECONDS = 60.0  # a cluster's shell may load modules first


@dataclass(frozen=True)
class LineState:
    """How a connection stands, for people: ``kind`` is off, connecting, ready, waiting, refused or closed."""

    kind: str = "off"
    sentence: str = ""  # why it is waiting or refused, with the remedy
    retry: float | None = None  # seconds from the change of state to the next attempt


class Sink(Protocol):
    """Takes what happens to a followed run."""

    def offsets(self) -> dict[str, Any]:
        """What it has of each file: the request's arguments from which following goes on."""

    def grew(self, part: Bytes) -> None:
        """The next bytes of a file."""

    def stands(self, standing: Standing) -> None:
        """The state of the run, as its machine sees it."""


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
        changed: Callable[[LineState], object] = lambda state: None,
        command: Sequence[str] | None = None,
    ) -> None:
        """``changed`` is called in a thread of the connection's. ``command`` stands for ssh and the program there."""
        self.machine = machine
        self.hello: Hello | None = None  # who answers; None before the first answer
        self._changed = changed
        self._command = list(command or ssh.core_command(machine, ["remote", "--runs", machine.runs]))
        self._lock = threading.RLock()
        self._calls: dict[int, _Call] = {}
        self._sinks: dict[str, Sink] = {}
        self._last = 0
        self._line: Line | None = None
        self._ready = False
        self._state = LineState()
        self._problem: UserError | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def state(self) -> LineState:
        return self._state

    def call(self, do: str, timeout: float = 60.0, **arguments: Any) -> Future[dict[str, Any]]:
        """Ask the program there. The future fails with a UserError: its refusal, or LineDown after ``timeout`` s.

        Of what is `AT_ONCE`, LineDown as soon as an attempt to connect has failed.
        """
        with self._lock:
            self._last += 1
            number = self._last
            call = self._calls[number] = _Call({"id": number, "do": do, **arguments}, time.monotonic() + timeout)
            if self._closing.is_set():
                self._fail(number, LineDown("The connection was closed."))
                return call.future
            self._begin()
            if do in AT_ONCE and self._state.kind == "waiting":
                self._wake.set()
            line = self._line if self._ready else None
        if line is not None:
            line.send(call.request)
        return call.future

    def follow(self, folder: str, sink: Sink) -> None:
        """Send ``sink`` what the run in ``folder`` writes, from what the sink has; over every cut of the line."""
        with self._lock:
            self._sinks[folder] = sink
            self._begin()
            line = self._line if self._ready else None
        if line is not None:
            line.send({"do": "follow", "folder": folder, **sink.offsets()})

    def unfollow(self, folder: str) -> None:
        """No longer follow it."""
        with self._lock:
            self._sinks.pop(folder, None)
            line = self._line if self._ready else None
        if line is not None:
            line.send({"do": "unfollow", "folder": folder})

    def retry(self) -> None:
        """Try to connect now, whatever the back-off."""
        self._wake.set()

    def close(self) -> None:
        """End the session there; what it started goes on. Open calls fail."""
        self._closing.set()
        self._wake.set()
        with self._lock:
            line, threads = self._line, list(self._threads)
        if line is not None:
            line.kill()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(5.0)
        self._fail_all(LineDown("The connection was closed."))
        self._tell(LineState("closed"))

    # The threads
    def _begin(self) -> None:
        """Start the threads, or wake the one that waits after a refusal. Under the lock."""
        if not self._threads:
            for name, work in (("machine", self._keep_up), ("machine ticks", self._tick)):
                self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            for thread in self._threads:
                thread.start()
        elif self._state.kind == "refused":
            self._wake.set()

    def _keep_up(self) -> None:
        attempt = 0
        while not self._closing.is_set():
            self._wake.clear()
            self._tell(LineState("connecting", self._state.sentence))
            held, problem = self._session()
            if self._closing.is_set():
                return
            attempt = 0 if held >= STEADY_SECONDS else min(attempt + 1, (ANSWERED if held else len(BACK_OFF)) - 1)
            self._problem = problem
            if isinstance(problem, MachineRefused):
                self._fail_all(problem)
                self._tell(LineState("refused", str(problem), REFUSED_SECONDS))
                self._wait_refused()
            else:
                self._tell(LineState("waiting", str(problem), BACK_OFF[attempt]))
                if not held:
                    with self._lock:
                        failed = [number for number, call in self._calls.items() if call.request["do"] in AT_ONCE]
                    for number in failed:
                        self._fail(number, problem)
                self._wake.wait(BACK_OFF[attempt])

    def _wait_refused(self) -> None:
        while not self._wake.wait(REFUSED_SECONDS) and not self._sinks:
            pass

    def _session(self) -> tuple[float, UserError]:
        """One line from its start to its end: how long it held after the hello, and why it ended."""
        try:
            line = Line(self._command)
        except OSError as error:
            return 0.0, ssh.no_ssh(error)
        with self._lock:
            self._line = line
        began: float | None = None
        refused: UserError | None = None
        try:
            while (reply := line.read()) is not None and not self._closing.is_set():
                if began is None:
                    if reply.get("event") != "hello":
                        continue
                    if refused := self._greet(reply):
                        break
                    began = time.monotonic()
                    self._take_up(line)
                else:
                    self._take(reply)
        finally:
            with self._lock:
                self._line, self._ready = None, False
            code, said = line.end(0.0 if refused or self._closing.is_set() else 1.0)
        held = 0.0 if began is None else time.monotonic() - began
        return held, refused or self._why(began, code, said)

    def _why(self, began: float | None, code: int | None, said: str) -> UserError:
        found = ssh.refusal(self.machine, code, said)
        if began is not None and isinstance(found, MachineRefused) and code != 255:
            return LineDown(str(found))  # it did answer: what it said last is no refusal
        return found

    def _greet(self, reply: dict[str, Any]) -> UserError | None:
        try:
            self.hello = checked(Hello, reply, "the greeting")
        except UnreadableError as error:
            return MachineRefused(f"{self.machine.name} answers in another way than sdgui does: {error}")
        if self.hello.protocol != ssh.PROTOCOL:
            return MachineRefused(
                f"{self.machine.name} has sdgui {excerpt(self.hello.version) or 'of another version'}, which speaks "
                f"protocol {self.hello.protocol}, and this one {ssh.PROTOCOL}. Press Install there (or sdgui-core "
                f"machines install {excerpt(self.machine.name)}), or update the older of the two."
            )
        return None

    def _take_up(self, line: Line) -> None:
        """The line is up: open calls are sent (again), and following goes on from what each sink has."""
        with self._lock:
            self._ready = True
            self._problem = None
            waiting = [call.request for call in self._calls.values()]
            sinks = dict(self._sinks)
        self._tell(LineState("ready"))
        for folder, sink in sinks.items():
            line.send({"do": "follow", "folder": folder, **sink.offsets()})
        for request in waiting:
            line.send(request)

    def _take(self, reply: dict[str, Any]) -> None:
        """One reply. One that cannot be read ends the session, and what it was about comes again by the next."""
        event = reply.get("event")
        if event == "bytes":
            self._to_sink(reply, Bytes, "grew")
        elif event == "standing":
            self._to_sink(reply, Standing, "stands")
        elif event in ("done", "failed"):
            number = reply.get("id")
            if not isinstance(number, int):
                self._fail_all(
                    UserError(f"{self.machine.name} answered without a request's number; update sdgui there.")
                )
                return
            with self._lock:
                call = self._calls.pop(number, None)
            if call is not None:
                _settle(call.future, reply, event == "done")

    def _to_sink(self, reply: dict[str, Any], shape: Any, what: str) -> None:
        sink = self._sinks.get(str(reply.get("folder")))
        if sink is None:
            return
        try:
            getattr(sink, what)(checked(shape, reply, "a reply"))
        except UnreadableError as error:
            self._tell(LineState("ready", f"{self.machine.name} sent what cannot be read: {error}"))

    def _tick(self) -> None:
        """Deadlines of calls, silence of the line, and a word now and then, so that the other end knows of us."""
        pinged = 0.0
        while not self._closing.wait(0.5):
            now = time.monotonic()
            with self._lock:
                late = [number for number, call in self._calls.items() if now >= call.deadline]
                line, ready = self._line, self._ready
            for number in late:
                self._fail(number, self._problem or LineDown(f"{self.machine.name} did not answer in time; try again."))
            if line is not None and now - line.heard > (SILENT_SECONDS if ready else HELLO_SECONDS):
                line.kill()
            elif line is not None and ready and now - pinged > PING_SECONDS:
                pinged = now
                line.send({"do": "ping"})

    def _tell(self, state: LineState) -> None:
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


def _settle(future: Future[Any], reply: dict[str, Any], well: bool) -> None:
    with suppress(InvalidStateError):  # it was cancelled
        if well:
            result = reply.get("result")
            future.set_result(result if isinstance(result, dict) else {})
        else:
            future.set_exception(UserError(excerpt(reply.get("message") or "it failed", 4000)))
