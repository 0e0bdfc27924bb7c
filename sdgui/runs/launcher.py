"""Launcher: starts trainers in separate processes, and pauses, stops and queues them.

Flow: a config from the store -> run folder with ``config.json`` -> ``python -m core train`` in its own session.
From then on the state of the run is in its folder; the window only writes ``control``. A trainer outlives the window.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from core.spec.chain import Chain, chain_file, write_chain
from core.spec.children import device_variables
from core.spec.config import read_config, with_absolute_references
from core.spec.config.run import MAX_CONFIG_BYTES
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.installed import NotInstalled, need
from core.spec.reading import read_text
from core.spec.run.code import check_code_unchanged, keep_code
from core.spec.run.folder import RunDir, new_name
from core.spec.run.starting import start_trainer
from core.spec.run.status import process_alive
from sdgui.runs.background_tasks import StoreWriter
from sdgui.runs.chains import ChainWatch
from sdgui.runs.machines.slots import GPUS_NOT_ANSWERED, MachineSlots
from sdgui.runs.program import core_command, torchrun_command, train_options
from sdgui.runs.stopping import Stopping, StopPlan, StopStage, finish_stops
from sdgui.store.queue import Slots
from sdgui.store.records import THIS_COMPUTER, Place, Run, StoreError
from sdgui.store.store import Store

_TICK_MS = 200
_QUEUE_TICKS = 5  # ticks between checks of the queue (1 s), because another window's run may have ended


class RemoteLauncher(Protocol):
    """Starts runs on other machines."""

    def start(self, run: Run, config: str) -> None: ...


class Launcher(QObject):
    """Starts, pauses, stops and queues runs. Lives in the window's thread; never waits for a trainer.

    ``launch``, ``resume``, ``enqueue``, ``enqueue_run`` and ``unqueue`` write to the store and the disk: they may be
    called from any thread, and the window submits them to its ``StoreWriter``.
    """

    launched = Signal(int)  # run id: a trainer was started (also from the queue)
    launch_failed = Signal(int, str)  # run id, message: a queued run could not be started
    stopping = Signal(int, object)  # run id, Stopping
    queue_changed = Signal()
    _queue_check_requested = Signal()

    def __init__(
        self,
        store: Store,
        command: Sequence[str] | None = None,
        limit: int = 1,
        parent: QObject | None = None,
        asked_seconds: float = 30.0,
        terminated_seconds: float = 10.0,
        slots: MachineSlots | None = None,
        remote: RemoteLauncher | None = None,
    ) -> None:
        """``limit``: see the property. A run that does not stop when asked is terminated after ``asked_seconds``, and
        killed ``terminated_seconds`` later."""
        super().__init__(parent)
        self._store = store
        self._uses_own_trainer = not command  # False if the caller, such as a test, passed a program
        self._command = list(command or core_command())
        # starts queued runs in a thread, so that a locked database does not block the window
        self._starter = StoreWriter(self)
        self._remote = remote
        self._slots = slots or MachineSlots(at_once=limit)
        self._stop_delays = (asked_seconds, terminated_seconds)
        self._stops: dict[int, StopPlan] = {}
        self._ticks, self._closed = 0, False
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        self._queue_check_requested.connect(self._check_queue, Qt.ConnectionType.QueuedConnection)
        self.chains = ChainWatch(store, self)
        self.chains.start()

    def launch(self, experiment_id: int, chain: Chain | None = None, place: Place = THIS_COMPUTER) -> Run:
        """Start a run of the experiment now, ignoring the queue; with ``chain``, all its stages in order.

        Returns the run (of a chain, its first stage). Raises UserError; the run and its files are then removed.
        """
        self._check_trainer_installed(place.host)
        run = (
            self._add_chain(experiment_id, chain, place) if chain else self._store.add_run(experiment_id, False, place)
        )
        try:
            self._start(self._assign_devices(run))
        except UserError:
            self._discard(run)
            raise
        return self._store.run(run.id)

    def resume(self, run_id: int) -> Run:
        """Resume a paused, stopped, failed or interrupted run in its folder. Raises UserError."""
        run = self._own_run(run_id)
        if _alive(run):
            raise UserError(f"The run {run.folder.name} is already running; stop or pause it first.")
        self._check_trainer_installed(run.machine)
        if run.is_logged:
            raise UserError(f"A script logged {run.folder.name}; restart the script with start_run(resume_step=...).")
        if not run.dir.config.is_file():
            raise UserError(f"{run.folder} no longer has a config.json, so it cannot be resumed; launch a new run.")
        if not run.machine and chain_file(run.folder) is None:
            check_code_unchanged(read_config(run.dir.config), run.dir)
        run = self._assign_devices(run)
        try:
            self._start(run)
        except UserError as error:
            self._store.mark_failed(run_id, str(error))
            raise
        return run

    def pause(self, run_id: int) -> None:
        """Ask a run to save its state and exit. Raises UserError if the folder cannot be written."""
        folder = self._own_run(run_id).dir
        try:
            plan = self._stops[run_id] = StopPlan(run_id, folder, *self._stop_delays, request="pause")
        except OSError as error:
            raise _unwritable(folder, error) from error
        self.stopping.emit(run_id, plan.current)

    def stop(self, run_id: int) -> Stopping:
        """Ask a run to stop; later terminate, then kill it. A repeated call starts the next stage immediately.

        Raises UserError if the folder cannot be written.
        """
        plan = self._stops.get(run_id)
        folder = self._own_run(run_id).dir
        try:
            if plan is not None and plan.current.stage is not StopStage.PAUSING:
                plan.advance(hurry=True)
            else:
                plan = self._stops[run_id] = StopPlan(run_id, folder, *self._stop_delays)
        except OSError as error:
            raise _unwritable(folder, error) from error
        self.stopping.emit(run_id, plan.current)
        return plan.current

    def stops(self) -> dict[int, Stopping]:
        """Runs that were asked to stop or pause, until their trainers end."""
        return {run_id: plan.current for run_id, plan in list(self._stops.items())}

    def enqueue(self, experiment_id: int, chain: Chain | None = None, place: Place = THIS_COMPUTER) -> Run:
        """Queue a run with a frozen config, to be started when its machine has a free device. Raises UserError."""
        self._check_trainer_installed(place.host)
        if chain:
            return self.enqueue_run(self._add_chain(experiment_id, chain, place).id)
        run = self._store.add_run(experiment_id, queued=True, place=place)
        try:
            self._prepare(run)
        except UserError:
            self._discard(run)
            raise
        self.check_queue()
        return run

    def enqueue_run(self, run_id: int) -> Run:
        """Put a paused or interrupted run in the queue, to be resumed later."""
        run = self._store.enqueue(run_id)
        self.check_queue()
        return run

    def unqueue(self, run_id: int) -> None:
        """Remove a run from the queue; a run that never started is deleted with its folder."""
        run = self._store.unqueue(run_id)
        if self._was_only_queued(run):
            self._discard(run)
        self.check_queue()

    def set_limit(self, limit: int) -> None:
        self._slots.at_once = max(1, limit)
        self.check_queue()

    @property
    def limit(self) -> int:
        """The maximum number of runs that the queue starts in parallel on this computer if it has no GPU."""
        return self._slots.at_once

    def check_queue(self) -> None:
        """Start queued runs that fit the free devices; called when either may have changed, from any thread."""
        self._queue_check_requested.emit()

    def close(self) -> None:
        """Detach from the trainers, which keep training; a thread stays alive to complete the requested stops."""
        if self._stops and not self._closed:
            threading.Thread(target=finish_stops, args=(list(self._stops.values()),), name="stops").start()
        self._closed = True  # a signal that is still queued must not check the queue
        self._timer.stop()
        self.chains.stop()
        self._starter.wait()

    def _check_trainer_installed(self, host: str) -> None:
        """Raise UserError for a local run if only the window is installed."""
        if host or not self._uses_own_trainer:
            return
        try:
            need("train")
        except NotInstalled as error:
            raise UserError(f"{error} Or choose another machine with the button next to Launch.") from error

    def _own_run(self, run_id: int) -> Run:
        """A run of this home. Raises UserError for another person's run: its path is on another computer."""
        run = self._store.run(run_id)
        if run.refusal:
            raise UserError(run.refusal)
        return run

    def _assign_devices(self, run: Run) -> Run:
        """Mark the run as launched on devices of its machine."""
        slots = self._slots.of(run.machine)
        if slots is None and not run.machine:
            raise UserError(GPUS_NOT_ANSWERED)
        return self._store.assign_devices(run.id, slots or Slots())

    def _add_chain(self, experiment_id: int, chain: Chain, place: Place) -> Run:
        """Add a run for the first stage; later stages are added when they start."""
        if not place.host:
            chain = chain.with_absolute_paths()
        folder = self._store.runs_folder / new_name(chain.stages[0].config.name)
        try:
            first_stage = write_chain(folder, chain)
            run = self._store.import_run(first_stage, experiment_id, tags=[first_stage.name])
            return self._store.request_place(run.id, place)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise _unwritable(RunDir(folder), error) from error
        except UserError:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _prepare(self, run: Run) -> None:
        """Create the folder with the frozen config."""
        config = self._store.experiment(run.experiment_id).config
        if config is None or config.digest() != run.digest:
            raise UserError("The experiment was changed while it was being launched; launch it again.")
        try:
            run.dir.create()
            config = with_absolute_references(config)
            keep_code(config, run.dir)
            write_whole(run.dir.config, config.to_json().encode())
        except OSError as error:
            raise _unwritable(run.dir, error) from error

    def _start(self, run: Run) -> None:
        folder = run.dir
        self._stops.pop(run.id, None)
        if not folder.config.exists():
            self._prepare(run)
        if run.machine:
            self._start_remotely(run)
            return
        self._check_trainer_installed(run.machine)
        chain = chain_file(folder.path)  # a stage is trained by its chain, which continues with the next stage
        paths = (chain, chain.parent) if chain else (folder.config, folder.path)
        # One process per device; the stages of a chain are trained in one process.
        processes = 1 if chain else run.devices.count(",") + 1
        program = torchrun_command(processes) if processes > 1 and self._uses_own_trainer else self._command
        command = [*program, "train", *map(str, paths), *train_options(folder, chain)]
        try:
            process = start_trainer(command, folder, device_variables(run.devices))
        except FileNotFoundError as error:
            raise UserError(f"The program {error.filename or command[0]} was not found; reinstall sdgui.") from error
        except OSError as error:
            raise _unwritable(folder, error) from error
        if chain:
            self.chains.start()  # only now that the trainer runs: the watch ignores chains without a live process
        # waits in a daemon thread, so that the child leaves no zombie and the window does not block
        threading.Thread(target=process.wait, name="reaper", daemon=True).start()
        self.launched.emit(run.id)

    def _start_remotely(self, run: Run) -> None:
        """Submit the run in a background thread, since the machine may be slow or unreachable."""
        if self._remote is None:
            raise UserError(f"The machine {run.machine} is not in the list of machines; choose this computer.")
        self.launched.emit(run.id)
        threading.Thread(target=self._hand_over, args=(self._remote, run), name="hand over", daemon=True).start()

    def _hand_over(self, remote: RemoteLauncher, run: Run) -> None:
        try:
            remote.start(run, read_text(run.dir.config, MAX_CONFIG_BYTES, root=run.dir.path))
        except (UserError, OSError) as error:
            with suppress(StoreError):
                self._store.mark_failed(run.id, str(error))
            self.launch_failed.emit(run.id, str(error))

    def _discard(self, run: Run) -> None:
        """Delete a run that never started."""
        shutil.rmtree(run.folder.parent if chain_file(run.folder) else run.folder, ignore_errors=True)
        self._store.delete_run(run.id, permanently=True)

    def _was_only_queued(self, run: Run) -> bool:
        """Whether the run was only queued: no trainer has started, and the folder was not imported."""
        has_events = run.offset or run.ending
        if run.launched is not None or has_events or not self._store.owns(run):
            return False
        stages = run.folder.parent.glob("stage-*") if chain_file(run.folder) else [run.folder]
        return not any(_trained(RunDir(stage)) for stage in stages)

    def _check_queue(self) -> None:
        self.queue_changed.emit()
        self._ticks = 0
        self._tick()

    def _tick(self) -> None:
        if self._closed:
            return
        for run_id, plan in list(self._stops.items()):
            if plan.advance():
                if plan.current.stage is StopStage.ENDED:
                    self._stops.pop(run_id, None)
                self.stopping.emit(run_id, plan.current)
        if self._ticks % _QUEUE_TICKS == 0:
            if self._starter.pending:
                return  # retried at the next tick
            self._starter.submit(self._start_queued)
        self._ticks += 1

    def _start_queued(self) -> None:
        """Start queued runs in order while a machine has a free device; does nothing while the store is locked."""
        with suppress(StoreError):
            while not self._closed and (waiting := self._store.queue()):
                run = self._store.take_next(self._slots.all(run.machine for run in waiting))
                if run is None:
                    return
                self._start_taken(run)
                self.check_queue()

    def _start_taken(self, run: Run) -> None:
        try:
            if not _alive(run):  # another program may have resumed it while it waited
                self._start(run)
        except UserError as error:
            self.launch_failed.emit(run.id, str(error))
            with suppress(StoreError):  # if this fails too, the run will be shown as interrupted
                self._store.mark_failed(run.id, str(error))


def _trained(folder: RunDir) -> bool:
    """Whether a trainer has written to the folder."""
    return folder.events.exists() or folder.status.exists() or any(folder.checkpoints.glob("*"))


def _alive(run: Run) -> bool:
    status = run.dir.read_status()
    return status is not None and process_alive(status)


def _unwritable(folder: RunDir, error: OSError) -> UserError:
    return UserError(
        f"Cannot write to the run folder {folder.path}: {error.strerror or error}. "
        "Free some space or fix its permissions."
    )
