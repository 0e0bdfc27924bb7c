"""Starts runs on this machine, each only once: a request that is repeated after a lost reply starts nothing.

Flow: ``submit`` -> run folder with the config -> a process in a new session, torchrun, or ``sbatch`` -> ``job.json``.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from core.remote.job import Job, read_job, write_job
from core.remote.run_progress import WatchedRun
from core.remote.script import (
    SCRIPT_FILE,
    chain_command,
    chain_script,
    direct_command,
    sbatch_script,
    study_command,
    study_script,
)
from core.remote.slurm import Slurm
from core.remote.study_jobs import parse_study_task, write_study
from core.spec.chain import ChainDir, chain_file, parse_chain, read_chain
from core.spec.children import device_variables
from core.spec.config import parse_config, with_absolute_paths
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.answers import Submitted
from core.spec.machines.machine import Launcher, Machine
from core.spec.reading import excerpt
from core.spec.run.code import unpack_code
from core.spec.run.folder import RunDir
from core.spec.run.processes import is_running, start_time
from core.spec.run.starting import start_trainer
from core.spec.run.status import process_alive

_VALID_NAME = re.compile(r"[^\x00-\x1f/\\]{1,200}")
_EXIT_SECONDS = 30.0  # time for a process to exit after its last event
_VALID_DEVICE = re.compile(r"[A-Za-z0-9-]{1,64}")


class Starter:
    """Starts runs in one runs folder; requests may come from several threads and connections."""

    def __init__(self, runs: Path, slurm: Slurm) -> None:
        self._runs, self._slurm = runs, slurm

    def run(self, name: str) -> RunDir:
        """The folder of the run ``name``. Raises UserError for an invalid folder name."""
        if not _VALID_NAME.fullmatch(name) or name.startswith(".") or name != name.strip():
            raise UserError(f"{excerpt(name)} is not a valid name for a run folder; choose another.")
        return RunDir(self._runs / name)

    def submit(
        self,
        machine: Machine,
        name: str,
        token: str,
        config: str,
        devices: Sequence[str],
        script: str,
        code: Mapping[str, str] | None = None,
    ) -> Submitted:
        """Start the run ``name``, or resume the run if there is no ``config``.

        ``code``: the run's custom code, which is written into the run folder. Raises UserError if the run cannot be
        started, and RunDirError if a trainer is running in the folder or the folder belongs to another run.
        """
        run = self.run(name)

        def begin(job: Job) -> Submitted:
            if machine.launcher == "slurm":
                return self._sbatch(run, job, script or machine.script or sbatch_script(machine, run, devices))
            return self._start(run, job, direct_command(machine, run, devices), devices)

        job = Job(token=token, launcher=machine.launcher)
        return self._start_once(run, job, devices, partial(self._prepare, run, config, code or {}), begin)

    def stage(self, name: str, stage: str) -> RunDir:
        """The folder of a stage of the chain ``name``. Raises UserError for an invalid folder name."""
        return RunDir(self.run(name).path / self.run(stage).path.name)

    def submit_chain(
        self,
        machine: Machine,
        name: str,
        stage: str,
        token: str,
        chain: str,
        devices: Sequence[str],
        script: str,
    ) -> Submitted:
        """Start or resume the chain ``name`` at ``stage``, as one process.

        Without ``chain`` (its config) the existing chain is resumed. Raises the errors of `submit`.
        """
        custom_script = script or (machine.script if machine.launcher == "slurm" else "")
        if custom_script and "chain.json" not in custom_script:
            raise UserError(
                f"{machine.name} has a custom script, which cannot start a chain; remove the script in Machines, or "
                "launch with a script for chains (sdgui-core launch CHAIN.json --on MACHINE --print-script)."
            )
        run = self.stage(name, stage)
        launcher: Launcher = "slurm" if machine.launcher == "slurm" else "direct"
        job = Job(token=token, launcher=launcher, name=name)

        def begin(job: Job) -> Submitted:
            if launcher == "slurm":
                return self._sbatch(run, job, custom_script or chain_script(machine, run, devices))
            return self._start(run, job, chain_command(run), devices)

        return self._start_once(run, job, devices, partial(self._prepare_chain, run, chain), begin)

    def submit_study(
        self,
        machine: Machine,
        study: str,
        files: Mapping[str, str],
        arguments: Sequence[str],
        token: str,
        devices: Sequence[str],
    ) -> Submitted:
        """Write the ``files`` of ``study``, and start or resume one of its jobs (see `parse_study_task`).

        Raises UserError if it cannot be started, and RunDirError if it is already running.
        """
        if machine.launcher == "slurm" and machine.script:
            raise UserError(
                f"{machine.name} has a custom script, which cannot start a study; remove the script in Machines, and "
                "move its additions to the #SBATCH lines or the setup."
            )
        task = parse_study_task(self._runs, study, arguments)
        launcher: Launcher = "slurm" if machine.launcher == "slurm" else "direct"
        job = Job(token=token, launcher=launcher, result=task.result, name=task.name)

        def begin(job: Job) -> Submitted:
            if launcher == "slurm":
                return self._sbatch(task.run, job, study_script(machine, task.run, task.arguments, devices))
            return self._start(task.run, job, study_command(task.arguments), devices)

        def prepare(_existing: Job | None) -> None:
            write_study(self._runs, study, files)
            task.run.create()

        return self._start_once(task.run, job, devices, prepare, begin)

    def _start_once(
        self,
        run: RunDir,
        job: Job,
        devices: Sequence[str],
        prepare: Callable[[Job | None], object],
        begin: Callable[[Job], Submitted],
    ) -> Submitted:
        """Start ``job`` in ``run``, unless an identical request has started it."""
        if invalid := [device for device in devices if not _VALID_DEVICE.fullmatch(device)]:
            raise UserError(f"{excerpt(invalid[0])} is not a device; use indices or UUIDs of GPUs.")
        with self._only_starter():
            existing = read_job(run)
            if existing is not None and (existing.token == job.token or existing.is_unconfirmed):
                same_token = existing.model_copy(update={"token": job.token})
                if submitted := self._find_started(run, same_token):
                    return submitted
            self._require_ended(run, existing)
            prepare(existing)
            job = job.model_copy(update={"submitted": time.time()})
            write_job(run, job)  # before the start, so that a repeated request finds the job
            return begin(job)

    @contextmanager
    def _only_starter(self) -> Iterator[None]:
        """Wait until no other thread or program of this user starts a run in this runs folder, and keep them waiting.

        A client that has lost its connection repeats a request while the program of that connection may still run
        sbatch for it.
        """
        import filelock  # noqa: PLC0415  (most sessions start nothing)

        user = os.getuid() if hasattr(os, "getuid") else 0  # a group may share the folder, but not the lock's file
        lock = filelock.FileLock(self._runs / f".starting-{user}.lock")
        with writing(self._runs, UserError):
            self._runs.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _find_started(self, run: RunDir, job: Job) -> Submitted | None:
        """The job that an earlier, identical request started, even if it was not recorded completely."""
        if job.launcher == "slurm":
            number = job.job or self._slurm.job_named(job.name or run.path.name)
            if number and number != job.job:
                write_job(run, job.model_copy(update={"job": number}))
            return Submitted(folder=str(run.path), job=number) if number else None
        if job.pid:
            return Submitted(folder=str(run.path), pid=job.pid)
        status = run.read_status()
        is_current = status is not None and status.started >= job.submitted - 2.0
        return Submitted(folder=str(run.path), pid=status.pid) if is_current and status else None

    def _require_ended(self, run: RunDir, job: Job | None) -> None:
        """Raise UserError if a trainer is running. Waits for a trainer that has written its last event to exit."""
        deadline = time.monotonic() + _EXIT_SECONDS
        self._slurm.forget()
        while self._alive(run, job):
            has_ended = not WatchedRun(run, self._slurm).progress().state.alive
            if not has_ended or time.monotonic() > deadline:
                raise UserError(f"The run {run.path.name} is already running on this machine; stop or pause it first.")
            time.sleep(0.1)

    def _alive(self, run: RunDir, job: Job | None) -> bool:
        status = run.read_status()
        if status is not None and process_alive(status):
            # On another computer with the same folders, only the heartbeat is known, which may be that of an ended run.
            return status.is_local or WatchedRun(run, self._slurm).progress().state.alive
        if job is not None and chain_file(run.path) and is_running(job.pid, job.started):
            return True  # another stage of the chain is training
        slurm_job = self._slurm.job(job.job) if job is not None and job.job else None
        return slurm_job is not None and (slurm_job.waiting or slurm_job.running)

    def _prepare(self, run: RunDir, config: str, code: Mapping[str, str], job: Job | None) -> None:
        if not config:
            if not run.config.is_file():
                raise UserError(f"{run.path} no longer has a config.json, so it cannot be resumed; launch a new run.")
            return
        frozen = with_absolute_paths(parse_config(config, "the config")).to_json().encode()
        if run.config.is_file() and job is None:
            raise UserError(f"{run.path} already exists and was not created by this window; choose another name.")
        run.create()
        unpack_code(run, code)
        with writing(run.config, UserError):
            write_whole(run.config, frozen)

    def _prepare_chain(self, run: RunDir, config: str, job: Job | None) -> None:
        folder = ChainDir(run.path.parent)
        if config:
            chain = parse_chain(config, "the chain").with_absolute_paths()
            if folder.chain.is_file() and job is None:
                raise UserError(
                    f"{folder.path} already exists and was not created by this window; choose another name."
                )
        elif folder.chain.is_file():
            chain = read_chain(folder.chain)
        else:
            raise UserError(f"{folder.path} no longer has a chain.json, so it cannot be resumed; launch a new chain.")
        if run.path.name not in (stage.path.name for stage in folder.stages(chain)):
            raise UserError(f"{excerpt(run.path.name)} is not a stage of the chain {folder.path.name}; update sdgui.")
        run.create()
        if config:
            with writing(folder.chain, UserError):
                write_whole(folder.chain, chain.to_json().encode())

    def _start(self, run: RunDir, job: Job, command: Sequence[str], devices: Sequence[str]) -> Submitted:
        with writing(run.path, UserError):
            process = start_trainer(command, run, device_variables(",".join(devices)))
        threading.Thread(target=process.wait, name="reaper", daemon=True).start()
        write_job(run, job.model_copy(update={"pid": process.pid, "started": start_time(process.pid)}))
        return Submitted(folder=str(run.path), pid=process.pid)

    def _sbatch(self, run: RunDir, job: Job, script: str) -> Submitted:
        path = run.path / SCRIPT_FILE
        run.clear_control()
        with writing(path, UserError):
            run.status.unlink(missing_ok=True)  # written by the previous trainer
            write_whole(path, script.encode())
        number = self._slurm.submit(path, job.name or run.path.name)
        write_job(run, job.model_copy(update={"job": number}))
        return Submitted(folder=str(run.path), job=number)
