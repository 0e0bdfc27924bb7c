"""Determines the progress of a run on its machine from events, process and Slurm, which overrides the heartbeat.

Flow: ``following`` calls `WatchedRun.progress` once a second for each followed run -> ``RemoteStatus`` -> the mirror's
status.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from core.remote.job import Job, read_job
from core.remote.processes import end_processes
from core.remote.script import REQUEUE_LOG
from core.remote.slurm import Slurm, SlurmJob
from core.spec.chain import chain_file
from core.spec.errors import UserError
from core.spec.machines.answers import RemoteStatus
from core.spec.reading import KILOBYTE, read_text
from core.spec.run.events import Event, EventWriter, Lifecycle, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.processes import is_running
from core.spec.run.starting import STARTING
from core.spec.run.status import RunState, RunStatus, derive_state

_TIME_SLACK = 2.0  # tolerance in seconds, since Slurm's times are whole seconds

_WAIT_REASONS = {
    "Resources": "for free resources",
    "Priority": "because other jobs have priority",
    "BeginTime": "until its start time",
    "Dependency": "for another job",
    "JobHeldUser": "because the job is held (release it with scontrol release)",
    "JobHeldAdmin": "because the job is held by an administrator",
    "PartitionTimeLimit": "forever, since it requests more time than its partition allows; change time or partition",
    "PartitionNodeLimit": "forever, since it requests more nodes than its partition has; change nodes or partition",
    "PartitionDown": "because its partition is down",
    "PartitionInactive": "because its partition is inactive",
    "ReqNodeNotAvail": "because the requested nodes are not available",
}
_END_REASONS = {
    "CANCELLED": "was cancelled in Slurm",
    "TIMEOUT": "reached its time limit before the run could be saved",
    "PREEMPTED": "was preempted by another job",
    "OUT_OF_MEMORY": "was stopped because it used more memory than it requested",
    "NODE_FAIL": "ended because one of its nodes failed",
    "BOOT_FAIL": "ended because one of its nodes did not start",
    "DEADLINE": "reached its deadline",
    "REVOKED": "was revoked",
    "FAILED": "failed",
    "COMPLETED": "ended without a message from the trainer",
}


class WatchedRun:
    """A run folder whose progress is determined repeatedly."""

    def __init__(self, run: RunDir, slurm: Slurm) -> None:
        self.run = run
        self._slurm = slurm
        self._lifecycle = Lifecycle(run.events)
        self._requested = ""  # the last request, repeated until the trainer has started

    def progress(self, time_now: Callable[[], float] = time.time) -> RemoteStatus:
        """The current progress of the run. Raises UserError if the folder cannot be read."""
        if not self.run.path.is_dir():
            return self._progress_without_folder()
        job, last, status = read_job(self.run), self._lifecycle.read(), self.run.read_status()
        if job is not None and job.launcher == "slurm":
            progress = self._progress_from_slurm(job, last, status, time_now())
        else:
            progress = self._progress_from_process(last, status, time_now())
        if job is not None and job.result:
            progress = self._progress_of_study_job(job, progress, status)
        self._repeat_request(progress)
        return progress

    def _progress_without_folder(self) -> RemoteStatus:
        """The progress of a run without a folder: a stage that has not started, or a deleted run."""
        if chain_file(self.run.path) is None:
            note = f"The run folder {self.run.path} no longer exists on its machine."
            return RemoteStatus(folder=str(self.run.path), state=RunState.INTERRUPTED, note=note)
        job = read_job(self.run)
        if job is not None and self._is_working(job, None):
            note = "waiting for the previous stage to finish"
            return RemoteStatus(folder=str(self.run.path), state=RunState.STARTING, note=note)
        note = "The chain ended before this stage started; resume it to continue."
        return RemoteStatus(folder=str(self.run.path), state=RunState.INTERRUPTED, note=note)

    def _progress_of_study_job(self, job: Job, progress: RemoteStatus, status: RunStatus | None) -> RemoteStatus:
        """RUNNING until the process of a study's job has ended; then DONE if the process wrote its result file."""
        if progress.state.alive or progress.state in (RunState.PAUSED, RunState.STOPPED):
            return progress
        if self._is_working(job, status):
            return progress.model_copy(update={"state": RunState.RUNNING, "note": "evaluating"})
        if (self.run.path / job.result).is_file():
            return progress.model_copy(update={"state": RunState.DONE, "note": ""})
        stderr_lines = self.run.stderr_end().splitlines()
        # Slurm or the job script may print after the trainer's error.
        errors = [line for line in stderr_lines if line.startswith("error: ")]
        note = next(iter([*errors[-1:], *stderr_lines[-1:], progress.note]), "") or "the process exited unexpectedly"
        state = RunState.FAILED if progress.state is RunState.FAILED else RunState.INTERRUPTED
        return progress.model_copy(update={"state": state, "note": note})

    def _is_working(self, job: Job, status: RunStatus | None) -> bool:
        if job.launcher == "slurm":
            slurm = self._slurm.job(job.job) if job.job else None
            return slurm is not None and (slurm.running or slurm.waiting)
        if job.pid:
            return is_running(job.pid, job.started)
        return status is not None and status.is_local and is_running(status.pid, status.started)

    def _progress_from_process(
        self, last: RunStarted | RunFinished | RunFailed | None, status: RunStatus | None, time_now: float
    ) -> RemoteStatus:
        terminal = _terminal(last)
        resumed = terminal is not None and status is not None and status.started > terminal.time
        state = derive_state(status, None if resumed else terminal, time_now)
        if resumed and state is RunState.RUNNING and status is not None and status.doing != STARTING:
            # A resumed run writes no event until its first step, so trust the status file.
            return self._make_progress(RunState.STARTING, status.doing, last, status, time_now)
        if state in (RunState.RUNNING, RunState.LOST_CONTACT) and status is not None and status.doing == STARTING:
            # The trainer renews this status only after loading its libraries, but its process exists.
            return self._make_progress(RunState.STARTING, "", last, replace(status, heartbeat=time_now), time_now)
        if state is RunState.STARTING:  # without a status file there is no trainer
            state = RunState.INTERRUPTED
        return self._make_progress(state, "", last, status, time_now)

    def _progress_from_slurm(
        self, job: Job, last: RunStarted | RunFinished | RunFailed | None, status: RunStatus | None, time_now: float
    ) -> RemoteStatus:
        try:
            slurm_job = self._slurm.job(job.job) if job.job else None
        except UserError as error:  # Slurm does not answer, so use the heartbeat
            state = derive_state(_ignoring_process(status), _terminal(last), time_now)
            return self._make_progress(state, str(error), last, status, time_now)
        if isinstance(last, RunFinished) and last.outcome == "done" and chain_file(self.run.path):
            # The job keeps running, since it trains later stages of the chain.
            return self._make_progress(RunState.DONE, "", last, status, time_now)
        state, note = _slurm_state(job, slurm_job, last, status, time_now, self._why_requeued())
        if slurm_job is not None and not (slurm_job.waiting or slurm_job.running):
            slurm_job = None
        expected = slurm_job.expected - time_now if slurm_job and slurm_job.expected else None
        progress = self._make_progress(state, note, last, status, time_now)
        return progress.model_copy(
            update={"job": job.job, "scheduler": slurm_job.state if slurm_job else "", "expected": expected}
        )

    def _make_progress(
        self, state: RunState, note: str, last: Event | None, status: RunStatus | None, time_now: float
    ) -> RemoteStatus:
        return RemoteStatus(
            folder=str(self.run.path),
            state=state,
            note=note,
            age=max(0.0, time_now - status.heartbeat) if status else None,
            status=status,
            step=getattr(last, "step", 0),
        )

    def _why_requeued(self) -> str:
        try:
            text = read_text(self.run.path / REQUEUE_LOG, 256 * KILOBYTE, root=self.run.path, error=RunDirError)
        except (FileNotFoundError, UserError):
            return ""
        return next((line.partition(" ")[2] for line in reversed(text.split("\n")) if line.strip()), "")

    def request(self, action: str) -> None:
        """Request the trainer to stop or pause; a job that waits in Slurm's queue is cancelled."""
        progress = self.progress()
        if not progress.state.alive:
            return
        if progress.scheduler and self._is_queued(progress):
            self._slurm.cancel(progress.job)
            self._write_ending("stopped" if action == "stop" else "paused", progress.step)
            return
        self.run.create()  # for a stage that has not started
        self.run.ask("stop" if action == "stop" else "pause")
        self._requested = action

    def end(self, kill: bool) -> None:
        """End the run by signals to its processes, or by ``scancel``."""
        job = read_job(self.run)
        if job is None or job.launcher != "slurm":
            end_processes(self.run.path, job, self.run.read_status(), kill)
        elif kill:
            self._slurm.kill(job.job)
        else:
            self._slurm.cancel(job.job)

    def _is_queued(self, progress: RemoteStatus) -> bool:
        slurm_job = self._slurm.job(progress.job)
        return slurm_job is not None and slurm_job.waiting

    def _write_ending(self, outcome: str, step: int) -> None:
        """Write the last event of a job that was cancelled before its trainer started."""
        lock = self.run.claim()
        try:
            writer = EventWriter(self.run.events)
            writer.write(RunFinished(step=step, outcome="stopped" if outcome == "stopped" else "paused"))
            writer.close()
        finally:
            lock.release()

    def _repeat_request(self, progress: RemoteStatus) -> None:
        """Repeat the request until the run has ended: a starting trainer clears earlier requests."""
        if not progress.state.alive:
            self._requested = ""
        elif self._requested and not self.run.control.exists() and progress.state is RunState.STARTING:
            self.run.ask("stop" if self._requested == "stop" else "pause")


def _slurm_state(
    job: Job,
    slurm_job: SlurmJob | None,
    last: RunStarted | RunFinished | RunFailed | None,
    status: RunStatus | None,
    time_now: float,
    requeued: str,
) -> tuple[RunState, str]:
    """State and note of a Slurm job's run."""
    terminal = _terminal(last)
    if slurm_job is None:
        if terminal is not None and terminal.time >= job.submitted - _TIME_SLACK:
            return derive_state(None, terminal), ""
        reason = f"Slurm no longer knows job {job.job}" if job.job else "the job was not submitted"
        return RunState.INTERRUPTED, f"{reason}, and the run did not record an end; resume the run."
    if slurm_job.waiting:
        if terminal is not None and terminal.time >= job.submitted - _TIME_SLACK and not slurm_job.restarts:
            return derive_state(None, terminal), ""
        return RunState.STARTING, _waiting_note(job, slurm_job, time_now, requeued)
    start_time = max(slurm_job.began or 0.0, job.submitted) - _TIME_SLACK
    is_current = last is not None and last.time >= start_time
    if slurm_job.running:
        if is_current and terminal is not None:
            return derive_state(None, terminal), ""
        if is_current:
            return RunState.RUNNING, ""
        activity = status.doing if status is not None and status.started >= start_time else ""
        return RunState.STARTING, f"{activity or STARTING} on {slurm_job.nodes or 'its node'} (Slurm job {job.job})"
    if terminal is not None and (
        is_current or (terminal.time >= job.submitted - _TIME_SLACK and not slurm_job.restarts)
    ):
        return derive_state(None, terminal), ""
    end_reason = _END_REASONS.get(slurm_job.state, f"ended as {slurm_job.state}")
    return RunState.INTERRUPTED, f"Slurm job {job.job} {end_reason}; resume the run from its last checkpoint."


def _waiting_note(job: Job, slurm_job: SlurmJob, time_now: float, requeued: str) -> str:
    reason = _WAIT_REASONS.get(slurm_job.reason, f"({slurm_job.reason})" if slurm_job.reason else "")
    parts = [f"Slurm job {job.job} waits {reason}".strip()]
    if slurm_job.restarts:
        parts.insert(0, f"requeued after {requeued}" if requeued else "requeued by Slurm")
    if slurm_job.expected and slurm_job.expected > time_now:
        parts.append(f"the job should start in about {_duration(slurm_job.expected - time_now)}")
    return "; ".join(parts)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _terminal(last: Event | None) -> RunFinished | RunFailed | None:
    return last if isinstance(last, (RunFinished, RunFailed)) else None


def _ignoring_process(status: RunStatus | None) -> RunStatus | None:
    """A copy of ``status`` whose host matches no machine, so that only the heartbeat is used, not the process ID."""
    return replace(status, host="a node of the cluster", verdict="") if status is not None else None
