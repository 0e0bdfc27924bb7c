"""Starts, pauses, stops and follows studies, each a separate program that outlives the window.

Flow: Study panel -> ``start`` -> ``python -m core study STUDY.json OUT`` in its own session; the study's folder
holds all of its state. A thread reads the folders of the store's studies, emits ``changed``, and adds their runs to the
store.
"""

from __future__ import annotations

import platform
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from PySide6.QtCore import QObject, Qt, Signal

from core.spec.children import start_program
from core.spec.config import ConfigError, read_config
from core.spec.errors import UserError, writing
from core.spec.files import check_inside, write_whole
from core.spec.installed import need
from core.spec.run.folder import slug
from core.spec.run.processes import start_time
from core.spec.study import Study, StudyDir, absolute, read_study
from core.spec.study.confirming import confirmable_trials, confirming_study
from core.spec.study.machines import StudyMachines, needs_one_machine, read_machines, trains_here, write_machines
from core.spec.study.sweep import DEFAULT_ARM, Sweep, is_sweep_file, read_sweep
from core.spec.study.sweep_report import SweepDir, trial_name
from sdgui.runs.machines.slots import GPUS_NOT_ANSWERED, Reserved
from sdgui.runs.poller import Poller
from sdgui.runs.program import core_command, end_process
from sdgui.runs.study_status import (
    StudyRunSnapshot,
    StudySnapshot,
    first_status,
    program_alive,
    read_study_folder,
    record_request,
)
from sdgui.store.queue import Slots
from sdgui.store.records import StoreError
from sdgui.store.store import Store
from sdgui.store.studies import StudyRecord

POLL_SECONDS = 1.0


class StudyPrograms(QObject):
    """The studies of the store; ``snapshot(study_id)`` is the last known status of a study."""

    changed = Signal(int)  # id of a study with a new snapshot
    runs_added = Signal(object)  # frozenset[int]: runs of a study that are new in the store, or on another device
    trouble = Signal(str)
    _notified = Signal(int)

    def __init__(
        self,
        store: Store,
        command: Sequence[str] | None = None,
        parent: QObject | None = None,
        slots: Callable[[], Slots | None] = Slots,
    ) -> None:
        """``slots``: the capacity of this computer, which a study's parallel runs use; None while it is unknown."""
        super().__init__(parent)
        self._store, self._command = store, list(command or core_command())
        self._slots = slots
        self._snapshots: Mapping[int, StudySnapshot] = {}  # replaced as a whole by the thread
        self._known_folders: set[Path] = set()  # run folders that are or were in the store
        self._places: dict[Path, tuple[str, str]] = {}  # run folder -> recorded device and machine
        self._jobs: dict[int, int] = {}  # study id -> parallel runs, as started by this window
        self._import_errors: dict[Path, str] = {}  # folder -> reported error
        self.poller = Poller("studies", "The studies", self._work, self.trouble.emit)
        self._notified.connect(self.changed, Qt.ConnectionType.QueuedConnection)

    # State
    def snapshot(self, study_id: int) -> StudySnapshot | None:
        """The last snapshot of a study; None before the first."""
        return self._snapshots.get(study_id)

    def alive(self) -> list[int]:
        """Ids of studies whose program is running."""
        return [study_id for study_id, snapshot in self._snapshots.items() if snapshot.alive]

    # Commands. They may block on a disk, so call them outside the window's thread.
    def add(self, study: Study, configs: Mapping[str, str] | None = None) -> StudyRecord:
        """Write a new study to the store's home, and add it to the store. Raises UserError.

        ``configs``: content of arms/NAME.json by arm, for arms whose ``config`` refers to that file.
        """
        base = self._store.studies_folder / slug(study.name)
        folder, number = base, 2
        while folder.exists():
            folder, number = base.with_name(f"{base.name}-{number}"), number + 1
        is_new = False
        try:
            folder.mkdir(parents=True)
            is_new = True
            StudyDir(folder).runs.mkdir()
            _write(folder, study, configs or {})
        except OSError as error:
            if is_new:  # frees the name for the next attempt
                shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"The study cannot be written to {folder}: {error.strerror}.") from error
        record = self._store.add_study(folder, study.name)
        self.poll()
        return record

    def add_sweep(self, sweep: Sweep, config: str = "") -> StudyRecord:
        """Write a new sweep to the store's home, and add it to the store. Raises UserError.

        ``config``: content of arms/default.json, to which the sweep's ``config`` refers.
        """
        record = self.add(sweep.study([]), {DEFAULT_ARM: config} if config else {})
        self._write_sweep(record.folder, sweep.absolute(record.folder))
        return record

    def extend_sweep(self, study_id: int, trials: int) -> None:
        """Set the total number of trials; a running sweep applies it. Raises UserError."""
        folder = self._store.study(study_id).folder
        sweep = read_sweep(SweepDir(folder).sweep)
        self._write_sweep(folder, sweep.model_copy(update={"trials": trials}))

    def confirming_seconds(self, study_id: int) -> float:
        """The suggested seconds for *Confirm*: the sweep's budget, or the time of its best trial. Raises UserError."""
        out = SweepDir(self._store.study(study_id).folder)
        sweep, trials = read_sweep(out.sweep), confirmable_trials(out.read_report())
        measures = out.read_measures(trial_name(trials[0].number), sweep.seeds[0]) if trials else None
        return sweep.budget or float((measures or {}).get("train_seconds", 0.0)) or 60.0

    def confirm_sweep(self, study_id: int, best: int, seeds: int, seconds: float) -> StudyRecord:
        """Add a study of the best trials of a sweep; see `confirming_study`. Raises UserError."""
        out = SweepDir(self._store.study(study_id).folder)
        study = confirming_study(read_sweep(out.sweep), out.read_report(), best, seeds, seconds)
        return self.add(absolute(study, out.path))

    def _write_sweep(self, folder: Path, sweep: Sweep) -> None:
        with writing(SweepDir(folder).sweep):
            write_whole(SweepDir(folder).sweep, sweep.to_json().encode())
        self.poll()

    def extend(self, study_id: int, study: Study, configs: Mapping[str, str]) -> StudyRecord:
        """Add the new arms and seeds of ``study`` to a study. Raises UserError."""
        record = self._store.study(study_id)
        out = StudyDir(record.folder)
        status = out.read_status()
        if status is not None and program_alive(status):
            raise UserError("The study is running; pause it before adding to it.")
        if not absolute(study, record.folder).can_continue(read_study(out.study)):
            raise UserError(f"{out.study} has changed in the meantime; open it again.")
        try:
            _write(record.folder, study, configs)
        except OSError as error:
            raise UserError(f"The study cannot be written to {record.folder}: {error.strerror}.") from error
        self.poll()
        return record

    def open(self, path: Path) -> StudyRecord:
        """Add a study folder to the store, or create a study from a file. Raises ConfigError with the invalid field."""
        if path.is_dir():
            study = read_study(StudyDir(path).study)
            record = self._store.add_study(path, study.name)
            self._known_folders.clear()  # runs of the study may have been deleted from the bin
            self.poll()
            return record
        if path.name == "study.json" and StudyDir(path.parent).status.exists():
            return self.open(path.parent)
        if is_sweep_file(path):
            sweep = read_sweep(path).absolute(path.parent)
            sweep.check_space()
            return self.add_sweep(sweep)
        return self.add(absolute(read_study(path), path.parent))

    def start(self, study_id: int) -> None:
        """Start or resume the study. Raises UserError."""
        study = self._store.study(study_id)
        if not study.is_local:
            raise UserError(f"The folder of this study is on {study.owner_host}; start the study on that computer.")
        if self._command == core_command():
            need("sweep" if SweepDir(study.folder).sweep.is_file() else "train")
        folder = study.folder
        out, run_logs = StudyDir(folder), (folder / "stdout.log", folder / "stderr.log")
        status = out.read_status()
        if status is not None and program_alive(status):
            raise UserError("The study is already running, perhaps started by another window.")
        check_inside(folder, run_logs, UserError)
        try:
            record_request(folder, "")
            with run_logs[0].open("ab") as stdout, run_logs[1].open("wb") as stderr:
                home_option = ["--home", str(self._store.home)] if _machines(out).on else []
                parallel_options = self._parallel_options(study_id, out)
                subcommand = ["sweep", "run"] if SweepDir(folder).sweep.is_file() else ["study", str(out.study)]
                command = [*self._command, *subcommand, str(folder), *parallel_options, *home_option]
                process = start_program(command, stdout, stderr, detached=True)
        except OSError as error:
            raise UserError(f"The study in {folder} cannot be started: {error.strerror}.") from error
        threading.Thread(target=process.wait, name="study reaper", daemon=True).start()
        started, status = start_time(process.pid), out.read_status()
        if status is None or status.pid != process.pid:  # unless the program has already written its own
            out.write_status(first_status(process.pid, started, platform.node()))
        self.poll()

    def reserved(self, without: int = -1) -> Reserved:
        """The capacity of this computer that running studies use, except the study ``without``."""
        runs, devices = 0, frozenset[str]()
        for study_id, snapshot in self._snapshots.items():
            if study_id == without or not snapshot.alive or not trains_here(snapshot.machines):
                continue
            local_runs = [run for run in snapshot.runs if not run.machine]
            runs += max(self._jobs.get(study_id, 1), sum(run.state in ("training", "measuring") for run in local_runs))
            devices |= {run.device for run in local_runs if run.device}
        return Reserved(runs, devices)

    def _parallel_options(self, study_id: int, out: StudyDir) -> list[str]:
        """Options for parallel runs: one per free GPU (per GPU if none is free), or up to the queue's limit on a CPU.

        On a CPU, a study at equal time (with budgets, or arms as long as others) trains one run at a time. Raises
        UserError if the limit is reached, or if the GPUs have not answered yet.
        """
        self._jobs[study_id] = 1
        if not trains_here(_machines(out).on):
            return []
        slots, reserved = self._slots(), self.reserved(study_id)
        if slots is None:
            raise UserError(GPUS_NOT_ANSWERED)
        if slots.devices:
            free = self._store.free_devices("", replace(slots, in_use=slots.in_use | reserved.devices)) or slots.devices
            return ["--devices", ",".join(free)]
        busy = [
            run for run in self._store.alive_runs() if run.is_own and not run.machine and run.queue_position is None
        ]
        other_runs = sum(not run.folder.is_relative_to(out.path) for run in busy)
        room = slots.at_once - max(other_runs, reserved.runs)
        if room < 1:
            raise UserError(
                f"This computer is busy: the limit “Parallel runs” on the Machines page is {slots.at_once}. Start the "
                "study when a run has ended, or raise the limit."
            )
        jobs = 1 if needs_one_machine(read_study(out.study)) else room
        self._jobs[study_id] = jobs
        return ["--jobs", str(jobs)] if jobs > 1 else []

    def choose_machines(self, study_id: int, on: Sequence[str]) -> None:
        """Set the machines of a study for its next start. Raises UserError."""
        out = StudyDir(self._store.study(study_id).folder)
        write_machines(out, _machines(out).model_copy(update={"on": list(on)}))
        self.poll()

    def request_end(self, study_id: int, request: str) -> None:
        """Request "pause" or "stop": runs save their state, then the program exits; or "kill", which does not wait."""
        folder = self._store.study(study_id).folder
        status = StudyDir(folder).read_status()
        if status is None or not program_alive(status):
            return
        if status.host not in ("", platform.node()):
            raise UserError(f"The study is running on {status.host}; end it on that computer.")
        try:
            record_request(folder, "stop" if request == "kill" else request)
            end_process(status, kill=request == "kill")
        except psutil.AccessDenied as error:
            raise UserError(f"The study in {folder} is another user's program; end it as that user.") from error
        except OSError as error:
            raise UserError(f"The study in {folder} cannot be stopped: {error.strerror}.") from error
        finally:
            self.poll()

    def stop_all(self) -> None:
        """Ask every running study to stop, so that it starts no more runs; failures are emitted as ``trouble``."""
        for study_id in self.alive():
            try:
                self.request_end(study_id, "stop")
            except UserError as error:  # for example, a study on another machine, which continues
                self.trouble.emit(str(error))

    # Polling
    def follow(self) -> None:
        """Start following the studies of the store."""
        self.poller.begin()

    def poll(self) -> None:
        """Read the folders immediately."""
        self.poller.wake()

    def close(self) -> None:
        """Stop following; the programs keep running."""
        self.poller.stop()

    def _work(self) -> float:
        for study in self._store.studies():
            if study.is_local:
                self._follow_study(study)
        return POLL_SECONDS

    def _follow_study(self, study: StudyRecord) -> None:
        previous_snapshot = self._snapshots.get(study.id)
        snapshot = read_study_folder(study.folder, previous_snapshot)
        self._snapshots = {**self._snapshots, study.id: snapshot}
        new_runs = [self._try_to_import(study, run) for run in snapshot.runs]
        if added := frozenset(run_id for run_id in new_runs if run_id is not None):
            self.runs_added.emit(added)
        if snapshot != previous_snapshot and not self.poller.ending.is_set():
            self._notified.emit(study.id)

    def _try_to_import(self, study: StudyRecord, run: StudyRunSnapshot) -> int | None:
        """Call ``_import``; a failure is reported once, and the next poll tries again."""
        try:
            added_id = self._import(study, run.arm, run.seed, run.folder)
            moved_id = self._record_place(run)
        except (StoreError, ConfigError, OSError) as error:
            if self._import_errors.get(run.folder) != str(error):
                self._import_errors[run.folder] = str(error)
                self.trouble.emit(str(error))
            return None
        self._import_errors.pop(run.folder, None)
        return added_id or moved_id

    def _import(self, study: StudyRecord, arm: str, seed: int, folder: Path) -> int | None:
        """Add a started run to the store, under the experiment of its arm; returns its id if it is new."""
        if folder in self._known_folders or not (folder / "config.json").is_file():
            return None
        if self._store.run_in(folder, include_deleted=True) is not None:
            self._known_folders.add(folder)
            return None
        experiment = self._store.arm_experiment(study.id, arm, read_config(folder / "config.json"))
        run = self._store.import_run(folder, experiment, [f"seed {seed}"])
        self._known_folders.add(folder)
        return run.id

    def _record_place(self, run: StudyRunSnapshot) -> int | None:
        """Record where a run trains, which may change when its study is resumed; returns its id if it has changed."""
        place = run.device, run.machine
        is_placed = any(place) or run.state in ("training", "measuring")  # a CPU of this computer has no name
        if run.folder not in self._known_folders or not is_placed or self._places.get(run.folder) == place:
            return None
        moved_id, stored = None, self._store.run_in(run.folder)
        if stored is not None and (stored.devices, stored.machine) != place:
            self._store.record_devices(stored.id, *place)
            moved_id = stored.id
        self._places[run.folder] = place
        return moved_id


def _machines(out: StudyDir) -> StudyMachines:
    return read_machines(out, read_study(out.study))


def _write(folder: Path, study: Study, configs: Mapping[str, str]) -> None:
    check_inside(folder, [folder / "arms"], UserError)
    for name, text in configs.items():
        (folder / "arms").mkdir(exist_ok=True)
        write_whole(folder / "arms" / f"{name}.json", text.encode())
    write_whole(StudyDir(folder).study, absolute(study, folder).to_json().encode())
