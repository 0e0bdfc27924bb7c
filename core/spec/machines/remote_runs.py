"""Runs on other machines as this program has them: handed over, mirrored, asked to stop, ended.

Flow: launcher or verb -> ``launch`` -> the machine; from then on the local run folder is a mirror (``Mirror``), and
what is written into its ``control`` is passed on. The window only attaches; where the line is down it all happens
later.
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
from core.spec.config.run import LARGEST_FILE
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import CheckpointFacts, Standing, Submitted
from core.spec.machines.connection import LineState
from core.spec.machines.host import Host
from core.spec.machines.machines import Machines
from core.spec.machines.mirror import InUse, Mirror
from core.spec.machines.record import RemoteRecord, is_remote, read_record, write_checkpoints, write_record
from core.spec.machines.remote_chains import fetch_ensemble, next_stage, submit
from core.spec.machines.ssh import LineDown
from core.spec.reading import read_text
from core.spec.run.code import keep_code
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState, RunStatus

_TICK_SECONDS = 0.2
_SELDOM_TICKS = 10  # ticks between two looks at what changes seldom
_FIRST_SECONDS = 20.0  # after which a run is handed over in the background
_SETTLED = ("done", "failed", "stopped")  # verdicts after which nothing more is expected

Told = Callable[[Path, str], object]
Begun = Callable[[Path], object]


class _Attached:
    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.host: Host | None = None  # the connection that it is followed on
        self.submitting = False
        self.asked: tuple[str, int] | None = None  # the request, and the file's stamp, that were passed on last
        self.stops = 0  # how often it was asked to stop
        self.passed = False  # done, and the stage after it attached


class RemoteRuns:
    """May be called from any thread; a thread of its own passes on what is asked, and takes up what was left."""

    def __init__(
        self,
        machines: Machines,
        trouble: Told = lambda folder, sentence: None,
        begun: Begun = lambda folder: None,
    ) -> None:
        """``trouble``: a run folder, and a sentence on what is wrong with following it; ``begun``: the folder of a
        further stage of a chain. Both are called in other threads.
        """
        self.machines = machines
        self._trouble, self._begun = trouble, begun
        self._attached: dict[Path, _Attached] = {}
        self._told: dict[Path, str] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # Handing over
    def launch(self, run: RunDir, machine: str, config: str, devices: Sequence[str] = (), script: str = "") -> None:
        """Start the run of ``run``'s name on ``machine``; ``config``: its config, whose paths are paths there.

        Returns when the machine has it, and when the line is down: then it is handed over once the line is up. Raises
        UserError when the machine refuses it; nothing was started then.
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
        self._hand_over(run, record, parsed.to_json())

    def resume(self, run: RunDir, devices: Sequence[str] | None = None, script: str | None = None) -> None:
        """Go on with a run that ended, on its machine and in its folder there; as `launch` otherwise."""
        record = read_record(run)
        if record is None:
            raise UserError(f"{run.path} is no run of another machine; resume it here.")
        if record.study:
            raise UserError(f"{run.path.name} is a run of a study; resume the study.")
        changed = {
            "token": secrets.token_hex(8),
            "waiting": True,
            "devices": record.devices if devices is None else list(devices),
            "script": record.script if script is None else script,
        }
        self._hand_over(run, record.model_copy(update=changed), "" if record.folder else _config(run))

    def resume_unfollowed(self, run: RunDir) -> None:
        """As `resume`, of a run that another program of this computer follows. UserError when it cannot be resumed."""
        record = read_record(run)
        if record is None or not record.folder:
            raise UserError(f"{run.path} has not reached its machine yet; resume it where it is followed.")
        if record.study:
            raise UserError(f"{run.path.name} is a run of a study; resume the study.")
        self._submit(run, record.model_copy(update={"token": secrets.token_hex(8)}), "").result(2 * _FIRST_SECONDS)

    def _hand_over(self, run: RunDir, record: RemoteRecord, config: str) -> None:
        self.detach(run)
        run.clear_control()
        write_record(run, record)
        attached = self._attach(run, record)
        _show_waiting(attached.mirror, f"sending to {record.machine}")
        attached.submitting = True
        try:
            submitted = self._submit(run, record, config, _FIRST_SECONDS).result(2 * _FIRST_SECONDS)
        except (LineDown, TimeoutError) as error:
            _show_waiting(attached.mirror, f"waiting for {record.machine}: {error}")
        except UserError:
            self.detach(run)
            write_record(run, record.model_copy(update={"waiting": False}))
            raise
        else:
            self._confirm(attached, submitted)
        finally:
            attached.submitting = False

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
        """Mirror a run that is on another machine; nothing when it is mirrored already, here or by another program.

        Raises UserError when it cannot be.
        """
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
        """Mirror those of the runs in ``folders`` that are elsewhere, and of which more is to be expected."""
        for folder in folders:
            run = RunDir(folder)
            try:
                if not is_remote(folder):
                    continue
                status = run.read_status()
                verdict = status.verdict if status is not None else ""
                if verdict == RunState.DONE.value:
                    self._go_on_after(run)
                elif verdict not in _SETTLED:
                    self.attach(run)
            except UserError as error:
                self._tell(folder, str(error))

    def catch_up(self, folders: Sequence[Path], seconds: float = _FIRST_SECONDS) -> dict[str, str]:
        """Mirror what is new of those of the runs that are elsewhere; it waits for that.

        Machine -> why it could not be asked.
        """
        self.attach_unsettled(folders)
        until, states = time.monotonic() + seconds, {"": LineState("connecting")}
        while any(state.kind not in ("waiting", "refused") for state in states.values()):
            with self._lock:
                silent = {one.mirror.record.machine for one in self._attached.values() if one.mirror.standing is None}
            states = {machine: self._line(machine) for machine in silent}
            if time.monotonic() > until:
                break
            time.sleep(_TICK_SECONDS / 4)
        return {machine: state.sentence or "it did not answer in time." for machine, state in states.items()}

    def _line(self, machine: str) -> LineState:
        try:
            return self.machines.host(machine).state
        except UserError as error:  # it is no longer listed
            return LineState("refused", str(error))

    def _go_on_after(self, run: RunDir) -> None:
        """Mirror the stage after a finished one of a chain."""
        stage = next_stage(run)
        if stage is not None:
            self.attach_unsettled([stage.path])
            self._begun(stage.path)

    def detach(self, run: RunDir) -> None:
        """No longer mirror it; it goes on there."""
        with self._lock:
            attached = self._attached.pop(run.path, None)
        if attached is not None:
            if attached.host is not None:
                attached.host.unfollow(attached.mirror.record.folder)
            attached.mirror.close()

    def close(self) -> None:
        """End following, and the connections; the runs go on."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(5.0)
        self.machines.close()
        with self._lock:
            attached, self._attached = list(self._attached.values()), {}
        for one in attached:
            one.mirror.close()

    def _attach(self, run: RunDir, record: RemoteRecord) -> _Attached:
        attached = _Attached(Mirror(run, record))
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

    # What goes on meanwhile
    def _work(self) -> None:
        ticks = 0
        while not self._closing.wait(_TICK_SECONDS):
            ticks += 1
            with self._lock:
                attached = list(self._attached.items())
            for folder, one in attached:
                try:
                    self._pass_on(one)
                    if one.mirror.done and not one.passed:
                        self._passed(one)
                    if ticks % _SELDOM_TICKS == 0:
                        self._look_after(one)
                    self._tell(folder, one.mirror.trouble)
                except (UserError, OSError) as error:
                    self._tell(folder, str(error))

    def _passed(self, one: _Attached) -> None:
        one.passed = True
        self._go_on_after(one.mirror.run)
        fetch_ensemble(self.machines.host(one.mirror.record.machine), one.mirror.run)

    def _look_after(self, one: _Attached) -> None:
        """Hand over what waits for the line; follow again after a disk was full or a machine's settings changed."""
        record = one.mirror.record
        if not one.mirror.run.path.is_dir():  # it was deleted here; what is there goes on
            self.detach(one.mirror.run)
            return
        host = self.machines.host(record.machine)
        if record.waiting:
            if not one.submitting:
                self._submit_later(one)
        elif one.host is not host or one.mirror.gap:
            self._follow(one)
        elif one.mirror.saved and host.state.kind == "ready":
            _list_checkpoints(one.mirror, host)

    def _submit_later(self, one: _Attached) -> None:
        run, record = one.mirror.run, one.mirror.record
        asked = self._submit(run, record, "" if record.folder else _config(run))
        one.submitting = True  # only now: what was not asked is asked again

        def settle(answered: Future[Submitted]) -> None:
            try:
                self._confirm(one, answered.result())
            except LineDown as error:
                _show_waiting(one.mirror, f"waiting for {record.machine}: {error}")
            except UserError as error:
                one.mirror.record = record.model_copy(update={"waiting": False})
                with suppress(UserError):
                    write_record(run, one.mirror.record)
                _show_refused(one.mirror, str(error))
            finally:
                one.submitting = False

        asked.add_done_callback(settle)

    def _pass_on(self, one: _Attached) -> None:
        """What was written into ``control`` goes to the machine; asked to stop again, it is ended there."""
        run, record = one.mirror.run, one.mirror.record
        try:
            stamp = run.control.stat().st_mtime_ns
        except FileNotFoundError:
            return
        what = run.asked()
        if what is None or not record.folder or one.host is None or one.asked == (what, stamp):
            return
        one.asked = (what, stamp)
        one.stops += what == "stop"
        if what == "stop" and one.stops > 1:
            asked = one.host.end(record.folder, "terminate" if one.stops == 2 else "kill")
        else:
            asked = one.host.control(record.folder, what)

        def settle(answered: Future[Standing]) -> None:
            if answered.cancelled():
                return
            if isinstance(answered.exception(), LineDown):
                one.asked = None  # it is asked again, until somebody hears it
                one.stops -= what == "stop"
                return
            with suppress(OSError):
                if run.control.stat().st_mtime_ns == stamp:
                    run.clear_control()
            if answered.exception() is not None:
                self._tell(run.path, str(answered.exception()))
            else:
                one.mirror.stands(answered.result())

        asked.add_done_callback(settle)

    def _tell(self, folder: Path, sentence: str) -> None:
        if self._told.get(folder, "") != sentence:
            self._told[folder] = sentence
            if sentence:
                self._trouble(folder, sentence)


def _config(run: RunDir) -> str:
    return read_text(run.config, LARGEST_FILE, root=run.path)


def _show_waiting(mirror: Mirror, doing: str) -> None:
    status = RunStatus(pid=0, started=0.0, heartbeat=time.time(), doing=doing[:1000])
    mirror.show(status, RunState.STARTING, doing)


def _show_refused(mirror: Mirror, sentence: str) -> None:
    mirror.show(RunStatus(pid=0, started=0.0, heartbeat=time.time()), RunState.INTERRUPTED, sentence)


def _list_checkpoints(mirror: Mirror, host: Host) -> None:
    mirror.saved = False

    def settle(answered: Future[list[CheckpointFacts]]) -> None:
        try:
            write_checkpoints(mirror.run, answered.result())
        except (UserError, CancelledError):
            mirror.saved = True

    host.checkpoints(mirror.record.folder).add_done_callback(settle)
