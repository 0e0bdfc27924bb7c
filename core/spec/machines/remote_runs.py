"""Launches, mirrors, stops and ends remote runs.

Flow: launcher or command -> ``launch`` -> the machine; from then on the local run folder is a mirror (``Mirror``), and
requests in its ``control`` file are forwarded. While the connection is down, everything is deferred.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path

from core.spec.config import parse_config, with_absolute_references
from core.spec.config.run import MAX_CONFIG_BYTES
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts, RemoteStatus, Submitted
from core.spec.machines.connection import ConnectionState
from core.spec.machines.host import Host
from core.spec.machines.machines import Machines
from core.spec.machines.mirror import InUse, Mirror
from core.spec.machines.record import RemoteRecord, is_remote, read_record, write_checkpoints, write_record
from core.spec.machines.remote_chains import next_stage, submit
from core.spec.machines.ssh import ConnectionLost
from core.spec.reading import read_text
from core.spec.run.code import keep_code
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus

_TICK_SECONDS = 0.2
_MAINTENANCE_TICKS = 10  # ticks between two calls of ``_maintain``
_FIRST_SECONDS = 20.0  # a submission that takes longer continues in the background
_SETTLED = ("done", "failed", "stopped")  # verdicts that are final

Trouble = Callable[[Path, str], object]
StageStarted = Callable[[Path], object]


class _Attached:
    """A mirrored run, and the requests that were forwarded for it."""

    def __init__(self, mirror: Mirror, is_submitting: bool) -> None:
        self.mirror = mirror
        self.host: Host | None = None  # the connection that follows the run
        self.is_submitting = is_submitting
        self.last_request: tuple[str, int] | None = None  # the last forwarded request, and its file's stamp
        self.stops = 0  # number of stop requests
        self.is_finished = False  # whether the run is done and its next stage is attached


class RemoteRuns:
    """The remote runs of this program. Thread-safe; a background thread forwards requests and retries deferred work."""

    def __init__(
        self,
        machines: Machines,
        trouble: Trouble = lambda folder, sentence: None,
        stage_started: StageStarted = lambda folder: None,
    ) -> None:
        """``trouble`` is called with a run folder and a message if following the run fails, ``stage_started`` with the
        folder of the next stage of a chain. Both are called in other threads.
        """
        self.machines = machines
        self._trouble, self._stage_started = trouble, stage_started
        self._attached: dict[Path, _Attached] = {}
        self._reported: dict[Path, str] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # Submission
    def launch(self, run: RunDir, machine: str, config: str, devices: Sequence[str] = (), script: str = "") -> None:
        """Start ``run`` on ``machine``. The paths in ``config`` are remote paths.

        Returns when the machine has confirmed the run. If the connection is down, it returns immediately and the run
        is submitted after reconnecting. Raises UserError if the machine refuses the run.
        """
        host = self.machines.host(machine)
        run.create()
        parsed = with_absolute_references(parse_config(config, "the config"))
        keep_code(parsed, run)
        with writing(run.config, UserError):
            write_whole(run.config, parsed.to_json().encode())
        record = RemoteRecord(
            machine=machine,
            host=host.machine.host,
            token=secrets.token_hex(8),
            waiting=True,
            devices=list(devices),
            script=script,
        )
        self._deliver(run, record, parsed.to_json())

    def resume(self, run: RunDir, devices: Sequence[str] | None = None) -> None:
        """Resume a run on its machine and in its remote folder; see `launch`."""
        record = read_record(run)
        if record is None:
            raise UserError(f"{run.path} is not a remote run; resume it on this computer.")
        if record.study:
            raise UserError(f"{run.path.name} is a run of a study; resume the study.")
        changed = {
            "token": secrets.token_hex(8),
            "waiting": True,
            "devices": record.devices if devices is None else list(devices),
        }
        self._deliver(run, record.model_copy(update=changed), "" if record.folder else _config(run))

    def resume_without_following(self, run: RunDir) -> None:
        """Resume a run without mirroring it, since another local program does; see `resume`."""
        record = read_record(run)
        if record is None or not record.folder:
            raise UserError(f"{run.path} has not been submitted to its machine yet; resume the run in the window.")
        if record.study:
            raise UserError(f"{run.path.name} is a run of a study; resume the study.")
        self._submit(run, record.model_copy(update={"token": secrets.token_hex(8)}), "").result(2 * _FIRST_SECONDS)

    def _deliver(self, run: RunDir, record: RemoteRecord, config: str) -> None:
        self.detach(run)
        attached = self._attach(run, record, is_submitting=True)  # InUse is raised before the run changes
        try:
            run.clear_control()
            write_record(run, record)
            _show_waiting(attached.mirror, f"sending to {record.machine}")
            submitted = self._submit(run, record, config, _FIRST_SECONDS).result(2 * _FIRST_SECONDS)
        except (ConnectionLost, TimeoutError) as error:
            _show_waiting(attached.mirror, f"waiting for {record.machine}: {error}")
        except OSError:
            self.detach(run)
            raise
        except UserError:
            self.detach(run)
            write_record(run, record.model_copy(update={"waiting": False}))
            raise
        else:
            self._confirm(attached, submitted)
        finally:
            attached.is_submitting = False

    def _submit(self, run: RunDir, record: RemoteRecord, config: str, seconds: float = 120.0) -> Future[Submitted]:
        return submit(self.machines.host(record.machine), run, record, config, seconds)

    def _confirm(self, attached: _Attached, submitted: Submitted) -> None:
        mirror = attached.mirror
        hello = self.machines.host(mirror.record.machine).hello
        computer = hello.host if hello is not None else ""
        changed = {"folder": submitted.folder, "computer": computer, "waiting": False}
        mirror.record = mirror.record.model_copy(update=changed)
        write_record(mirror.run, mirror.record)
        self._follow(attached)

    # Following
    def attach(self, run: RunDir) -> None:
        """Mirror a remote run, unless a program already mirrors it. Raises UserError if it cannot be mirrored."""
        with self._lock:
            if run.path in self._attached:
                return
        record = read_record(run)
        if record is None:
            return
        with suppress(InUse):
            attached = self._attach(run, record)
            if record.folder and not record.waiting:
                self._follow(attached)

    def attach_unsettled(self, folders: Sequence[Path]) -> None:
        """Mirror the remote runs among ``folders`` that have not ended."""
        for folder in folders:
            run = RunDir(folder)
            try:
                if not is_remote(folder):
                    continue
                status = run.read_status()
                verdict = status.verdict if status is not None else ""
                if verdict == RunState.DONE.value:
                    self._attach_next_stage(run)
                elif verdict not in _SETTLED:
                    self.attach(run)
            except UserError as error:
                self._report(folder, str(error))

    def catch_up(self, folders: Sequence[Path], seconds: float = _FIRST_SECONDS) -> dict[str, str]:
        """Update the mirrors of the remote runs among ``folders``, and wait until they are up to date.

        Returns machine -> message, for machines that could not be reached.
        """
        self.attach_unsettled(folders)
        deadline = time.monotonic() + seconds
        states = {"": ConnectionState("connecting")}  # so that the loop runs at least once
        while any(state.kind not in ("waiting", "refused") for state in states.values()):
            with self._lock:
                silent = {
                    entry.mirror.record.machine
                    for entry in self._attached.values()
                    if entry.mirror.remote_status is None and not entry.mirror.trouble
                }
            states = {machine: self._state(machine) for machine in silent}
            if time.monotonic() > deadline:
                break
            time.sleep(_TICK_SECONDS / 4)
        return {machine: state.message or "the machine did not answer in time." for machine, state in states.items()}

    def _state(self, machine: str) -> ConnectionState:
        try:
            return self.machines.host(machine).state
        except UserError as error:  # no longer listed
            return ConnectionState("refused", str(error))

    def _attach_next_stage(self, run: RunDir) -> None:
        """Mirror the stage after a finished stage of a chain."""
        stage = next_stage(run)
        if stage is not None:
            self.attach_unsettled([stage.path])
            self._stage_started(stage.path)

    def detach(self, run: RunDir) -> None:
        """Stop mirroring ``run``, which continues on its machine."""
        with self._lock:
            attached = self._attached.pop(run.path, None)
        if attached is not None:
            if attached.host is not None:
                attached.host.unfollow(attached.mirror.record.folder)
            attached.mirror.close()

    def close(self) -> None:
        """Stop mirroring, and close all connections; the runs continue."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.machines.close()
        with self._lock:
            attached, self._attached = list(self._attached.values()), {}
        for entry in attached:
            entry.mirror.close()

    def _attach(self, run: RunDir, record: RemoteRecord, is_submitting: bool = False) -> _Attached:
        attached = _Attached(Mirror(run, record), is_submitting)
        with self._lock:
            self._attached[run.path] = attached
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="remote runs", daemon=True)
                self._thread.start()
        return attached

    def _follow(self, attached: _Attached) -> None:
        record = attached.mirror.record
        attached.host = self.machines.host(record.machine)
        attached.host.follow(record.folder, attached.mirror)

    # The background thread
    def _work(self) -> None:
        ticks = 0
        while not self._closing.wait(_TICK_SECONDS):
            ticks += 1
            with self._lock:
                attached = list(self._attached.items())
            for folder, entry in attached:
                try:
                    self._forward_request(entry)
                    if entry.mirror.done and not entry.is_finished:
                        self._finish(entry)
                    if ticks % _MAINTENANCE_TICKS == 0:
                        self._maintain(entry)
                    self._report(folder, entry.mirror.problem or entry.mirror.trouble)
                except (UserError, OSError) as error:
                    self._report(folder, str(error))

    def _finish(self, attached: _Attached) -> None:
        attached.is_finished = True
        self._attach_next_stage(attached.mirror.run)

    def _maintain(self, attached: _Attached) -> None:
        """Submit a deferred run; follow again after a full disk or changed settings of the machine."""
        record = attached.mirror.record
        if not attached.mirror.run.path.is_dir():  # deleted locally; the remote run continues
            self.detach(attached.mirror.run)
            return
        host = self.machines.host(record.machine)
        if record.waiting:
            if not attached.is_submitting:
                self._submit_later(attached)
        elif attached.host is not host or attached.mirror.gap:
            self._follow(attached)
        elif attached.mirror.has_unlisted_checkpoints and host.state.kind == "ready":
            _list_checkpoints(attached.mirror, host)

    def _submit_later(self, attached: _Attached) -> None:
        run, record = attached.mirror.run, attached.mirror.record
        submission = self._submit(run, record, "" if record.folder else _config(run))
        attached.is_submitting = True  # set only after the call, so that a failed call is retried

        def settle(reply: Future[Submitted]) -> None:
            try:
                self._confirm(attached, reply.result())
            except ConnectionLost as error:
                _show_waiting(attached.mirror, f"waiting for {record.machine}: {error}")
            except UserError as error:
                attached.mirror.record = record.model_copy(update={"waiting": False})
                with suppress(UserError):
                    write_record(run, attached.mirror.record)
                _show_refused(attached.mirror, str(error))
            finally:
                attached.is_submitting = False

        submission.add_done_callback(settle)

    def _forward_request(self, attached: _Attached) -> None:
        """Forward the request in ``control`` to the machine; a repeated stop request ends the run forcibly."""
        run, record = attached.mirror.run, attached.mirror.record
        try:
            stamp = run.control.stat().st_mtime_ns
        except FileNotFoundError:
            return
        request = run.pending_request()
        if request is None or not record.folder or attached.host is None or attached.last_request == (request, stamp):
            return
        attached.last_request = (request, stamp)
        attached.stops += request == "stop"
        if request == "stop" and attached.stops > 1:
            answer = attached.host.end(record.folder, "terminate" if attached.stops == 2 else "kill")
        else:
            answer = attached.host.control(record.folder, request)

        def settle(reply: Future[RemoteStatus]) -> None:
            if reply.cancelled():
                return
            if isinstance(reply.exception(), ConnectionLost):
                attached.last_request = None  # the request is repeated until the machine receives it
                attached.stops -= request == "stop"
                return
            with suppress(OSError):
                if run.control.stat().st_mtime_ns == stamp:
                    run.clear_control()
            if reply.exception() is not None:
                self._report(run.path, str(reply.exception()))
            else:
                attached.mirror.update_status(reply.result())

        answer.add_done_callback(settle)

    def _report(self, folder: Path, sentence: str) -> None:
        if self._reported.get(folder, "") != sentence:
            self._reported[folder] = sentence
            if sentence:
                self._trouble(folder, sentence)


def _config(run: RunDir) -> str:
    return read_text(run.config, MAX_CONFIG_BYTES, root=run.path)


def _show_waiting(mirror: Mirror, activity: str) -> None:
    status = RunStatus(pid=0, started=0.0, heartbeat=time.time(), doing=activity[:1000])
    mirror.write_status(status, RunState.STARTING, activity)


def _show_refused(mirror: Mirror, sentence: str) -> None:
    mirror.write_status(RunStatus(pid=0, started=0.0, heartbeat=time.time()), RunState.INTERRUPTED, sentence)


def _list_checkpoints(mirror: Mirror, host: Host) -> None:
    mirror.has_unlisted_checkpoints = False

    def settle(reply: Future[list[CheckpointFacts]]) -> None:
        try:
            write_checkpoints(mirror.run, reply.result())
        except (UserError, CancelledError):
            mirror.has_unlisted_checkpoints = True

    host.checkpoints(mirror.record.folder).add_done_callback(settle)
