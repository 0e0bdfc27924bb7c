"""How a run stands, as its machine sees it: by its events, its process, and Slurm, whose word overrides the heartbeat.

Flow: ``following`` calls ``Watched.stand`` every second for each followed run -> ``RemoteStatus`` -> the mirror.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from core.remote.ending import end_processes
from core.remote.job import Job, read_job
from core.remote.script import REQUEUES
from core.remote.slurm import Slurm, SlurmJob
from core.spec.chain import ChainDir, chain_file, read_chain
from core.spec.errors import UserError
from core.spec.machines.answers import RemoteStatus
from core.spec.reading import KILOBYTE, open_regular, read_text
from core.spec.run.event_fields import EventError
from core.spec.run.events import Event, EventWriter, RunFailed, RunFinished, RunStarted, decode
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.processes import is_running
from core.spec.run.starting import STARTING
from core.spec.run.status import RunState, RunStatus, judge

_CHUNK = 4 << 20
_MARK = b'"kind":"run_'
_SLACK = 2.0  # seconds: Slurm's times are whole seconds

_REASONS = {
    "Resources": "for free resources",
    "Priority": "since other jobs come first",
    "BeginTime": "until the time from which it may start",
    "Dependency": "for another job",
    "JobHeldUser": "since it is held (scontrol release lets it go)",
    "JobHeldAdmin": "since an administrator holds it",
    "PartitionTimeLimit": "in vain: it asks for more time than its partition allows; change time or partition",
    "PartitionNodeLimit": "in vain: it asks for more nodes than its partition has; change nodes or partition",
    "PartitionDown": "since its partition is down",
    "PartitionInactive": "since its partition is inactive",
    "ReqNodeNotAvail": "since the nodes that it asks for are not available",
}
_ENDS = {
    "CANCELLED": "was cancelled in Slurm",
    "TIMEOUT": "reached its time limit before the run could be saved",
    "PREEMPTED": "was preempted by another job",
    "OUT_OF_MEMORY": "was ended since it used more memory than it had asked for",
    "NODE_FAIL": "ended since a node of it failed",
    "BOOT_FAIL": "ended since a node of it did not start",
    "DEADLINE": "reached its deadline",
    "REVOKED": "was revoked",
    "FAILED": "failed",
    "COMPLETED": "ended without a word from the trainer",
}


class Lifecycle:
    """The last start or ending in an events file, kept up to date by reading what is new of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.last: RunStarted | RunFinished | RunFailed | None = None

    def read(self) -> RunStarted | RunFinished | RunFailed | None:
        """The last one now. EventError when the file cannot be read."""
        try:
            with open_regular(self._path, root=self._path.parent, error=EventError) as file:
                size = file.seek(0, 2)
                if size < self._offset:
                    self._offset, self.last = 0, None
                while self._offset < size:
                    file.seek(self._offset)
                    chunk = file.read(_CHUNK)
                    end = chunk.rfind(b"\n") + 1
                    if not end:
                        if len(chunk) == _CHUNK:  # no trainer writes such a line
                            self._offset += len(chunk)
                            continue
                        break
                    self._take(chunk[:end])
                    self._offset += end
        except FileNotFoundError:
            self._offset, self.last = 0, None
        return self.last

    def _take(self, lines: bytes) -> None:
        at = lines.rfind(_MARK)
        while at >= 0:
            begin, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
            try:
                event: Event | None = decode(lines[begin:end])
            except EventError:
                event = None
            if isinstance(event, (RunStarted, RunFinished, RunFailed)):
                self.last = event
                return
            at = lines.rfind(_MARK, 0, begin)


class Watched:
    """One run folder, judged again and again."""

    def __init__(self, run: RunDir, slurm: Slurm) -> None:
        self.run = run
        self._slurm = slurm
        self._lifecycle = Lifecycle(run.events)
        self._asked = ""  # what was asked of a trainer that may not listen yet

    def stand(self, now: Callable[[], float] = time.time) -> RemoteStatus:
        """The run as it stands. UserError when its folder cannot be read."""
        if not self.run.path.is_dir():
            return self._absent()
        job, last, status = read_job(self.run), self._lifecycle.read(), self.run.read_status()
        if job is not None and job.launcher == "slurm":
            found = self._by_slurm(job, last, status, now())
        else:
            found = self._by_process(last, status, now())
        if job is not None and job.result:
            found = self._by_result(job, found, status)
        elif job is not None and found.state is RunState.DONE and self._judged_together and self._works(job, status):
            found = found.model_copy(update={"state": RunState.RUNNING, "note": "evaluating the ensemble"})
        self._insist(found)
        return found

    def _absent(self) -> RemoteStatus:
        """Without a folder: of a stage that has not begun, or of a run that was deleted."""
        if chain_file(self.run.path) is None:
            note = f"The run folder {self.run.path} no longer exists on its machine."
            return RemoteStatus(folder=str(self.run.path), state=RunState.INTERRUPTED, note=note)
        job = read_job(self.run)
        if job is not None and self._works(job, None):
            return RemoteStatus(folder=str(self.run.path), state=RunState.STARTING, note="after the stage before it")
        note = "The chain ended before this stage began; resume it to go on."
        return RemoteStatus(folder=str(self.run.path), state=RunState.INTERRUPTED, note=note)

    @property
    def _judged_together(self) -> bool:
        """Whether this is the last stage of a chain whose stages are yet to be judged together."""
        file = chain_file(self.run.path)
        if file is None or ChainDir(file.parent).ensemble.exists():
            return False
        chain = read_chain(file)
        last = ChainDir(file.parent).stage(chain, len(chain.stages) - 1)
        return chain.ensemble and self.run.path.name == last.path.name

    def _by_result(self, job: Job, found: RemoteStatus, status: RunStatus | None) -> RemoteStatus:
        """Of a part of a study: it runs until its process ends, and is done when that has left its result."""
        if found.state.alive or found.state in (RunState.PAUSED, RunState.STOPPED):
            return found
        if self._works(job, status):
            return found.model_copy(update={"state": RunState.RUNNING, "note": "evaluating"})
        if (self.run.path / job.result).is_file():
            return found.model_copy(update={"state": RunState.DONE, "note": ""})
        said = self.run.stderr_end().splitlines()
        own = [line for line in said if line.startswith("error: ")]  # Slurm and the script may have the last word
        note = next(iter([*own[-1:], *said[-1:], found.note]), "") or "it exited unexpectedly"
        state = RunState.FAILED if found.state is RunState.FAILED else RunState.INTERRUPTED
        return found.model_copy(update={"state": state, "note": note})

    def _works(self, job: Job, status: RunStatus | None) -> bool:
        if job.launcher == "slurm":
            slurm = self._slurm.job(job.job) if job.job else None
            return slurm is not None and (slurm.running or slurm.waiting)
        if job.pid:
            return is_running(job.pid, job.started)
        return status is not None and status.is_local and is_running(status.pid, status.started)

    def _by_process(
        self, last: RunStarted | RunFinished | RunFailed | None, status: RunStatus | None, now: float
    ) -> RemoteStatus:
        terminal = _terminal(last)
        resumed = terminal is not None and status is not None and status.started > terminal.time
        state = judge(status, None if resumed else terminal, now)
        if resumed and state is RunState.RUNNING and status is not None and status.doing != STARTING:
            return self._standing(RunState.STARTING, status.doing, last, status, now)  # no event overrides that
        if state in (RunState.RUNNING, RunState.LOST_CONTACT) and status is not None and status.doing == STARTING:
            # No trainer renews that status before it has loaded its libraries; its process is there, as judged.
            return self._standing(RunState.STARTING, "", last, replace(status, heartbeat=now), now)
        if state is RunState.STARTING:  # no status at all: nobody trains here
            state = RunState.INTERRUPTED
        return self._standing(state, "", last, status, now)

    def _by_slurm(
        self, job: Job, last: RunStarted | RunFinished | RunFailed | None, status: RunStatus | None, now: float
    ) -> RemoteStatus:
        try:
            found = self._slurm.job(job.job) if job.job else None
        except UserError as error:  # the controller is away: what it said last stands no longer than a heartbeat
            state = judge(_elsewhere(status), _terminal(last), now)
            return self._standing(state, str(error), last, status, now)
        if isinstance(last, RunFinished) and last.outcome == "done" and chain_file(self.run.path):
            return self._standing(RunState.DONE, "", last, status, now)  # its job trains the stages after it
        state, note = _judged(job, found, last, status, now, self._why_requeued())
        if found is not None and not (found.waiting or found.running):
            found = None
        expected = found.expected - now if found and found.expected else None
        standing = self._standing(state, note, last, status, now)
        return standing.model_copy(
            update={"job": job.job, "scheduler": found.state if found else "", "expected": expected}
        )

    def _standing(
        self, state: RunState, note: str, last: Event | None, status: RunStatus | None, now: float
    ) -> RemoteStatus:
        return RemoteStatus(
            folder=str(self.run.path),
            state=state,
            note=note,
            age=max(0.0, now - status.heartbeat) if status else None,
            status=status,
            step=getattr(last, "step", 0),
        )

    def _why_requeued(self) -> str:
        try:
            lines = read_text(self.run.path / REQUEUES, 256 * KILOBYTE, root=self.run.path, error=RunDirError).split(
                "\n"
            )
        except (FileNotFoundError, UserError):
            return ""
        return next((line.partition(" ")[2] for line in reversed(lines) if line.strip()), "")

    # What is asked of it
    def ask(self, what: str) -> None:
        """Ask its trainer to stop or pause; what waits in Slurm's queue is taken out of it."""
        standing = self.stand()
        if not standing.state.alive:
            return
        if standing.scheduler and self._waits(standing):
            self._slurm.cancel(standing.job)
            self._write_ending("stopped" if what == "stop" else "paused", standing.step)
            return
        self.run.create()  # of a stage that has not begun
        self.run.ask("stop" if what == "stop" else "pause")
        self._asked = what

    def end(self, kill: bool) -> None:
        """End it without waiting for its consent: signals to its processes, or ``scancel``."""
        job = read_job(self.run)
        if job is None or job.launcher != "slurm":
            end_processes(self.run.path, job, self.run.read_status(), kill)
        elif kill:
            self._slurm.hurry(job.job)
        else:
            self._slurm.cancel(job.job)

    def _waits(self, standing: RemoteStatus) -> bool:
        found = self._slurm.job(standing.job)
        return found is not None and found.waiting

    def _write_ending(self, outcome: str, step: int) -> None:
        """The ending of a job that no trainer will write, since none was running."""
        lock = self.run.claim()
        try:
            writer = EventWriter(self.run.events)
            writer.write(RunFinished(step=step, outcome="stopped" if outcome == "stopped" else "paused"))
            writer.close()
        finally:
            lock.release()

    def _insist(self, standing: RemoteStatus) -> None:
        """A trainer that starts clears what was asked before: it is asked again until it has ended."""
        if not standing.state.alive:
            self._asked = ""
        elif self._asked and not self.run.control.exists() and standing.state is RunState.STARTING:
            self.run.ask("stop" if self._asked == "stop" else "pause")


def _judged(
    job: Job,
    found: SlurmJob | None,
    last: RunStarted | RunFinished | RunFailed | None,
    status: RunStatus | None,
    now: float,
    requeued: str,
) -> tuple[RunState, str]:
    """State and note of a Slurm job's run."""
    terminal = _terminal(last)
    if found is None:
        if terminal is not None and terminal.time >= job.submitted - _SLACK:
            return judge(None, terminal), ""
        known = f"Slurm no longer knows job {job.job}" if job.job else "sbatch was not reached"
        return RunState.INTERRUPTED, f"{known}, and the run left no ending; resume it."
    if found.waiting:
        if terminal is not None and terminal.time >= job.submitted - _SLACK and not found.restarts:
            return judge(None, terminal), ""
        return RunState.STARTING, _waiting_note(job, found, now, requeued)
    began = max(found.began or 0.0, job.submitted) - _SLACK
    fresh = last is not None and last.time >= began
    if found.running:
        if fresh and terminal is not None:
            return judge(None, terminal), ""
        if fresh:
            return RunState.RUNNING, ""
        doing = status.doing if status is not None and status.started >= began else ""
        return RunState.STARTING, f"{doing or STARTING} on {found.nodes or 'its node'} (Slurm job {job.job})"
    if terminal is not None and (fresh or (terminal.time >= job.submitted - _SLACK and not found.restarts)):
        return judge(None, terminal), ""
    how = _ENDS.get(found.state, f"ended as {found.state}")
    return RunState.INTERRUPTED, f"Slurm job {job.job} {how}; resume it to go on from its last checkpoint."


def _waiting_note(job: Job, found: SlurmJob, now: float, requeued: str) -> str:
    why = _REASONS.get(found.reason, f"({found.reason})" if found.reason else "")
    parts = [f"Slurm job {job.job} waits {why}".strip()]
    if found.restarts:
        parts.insert(0, f"requeued after {requeued}" if requeued else "requeued by Slurm")
    if found.expected and found.expected > now:
        parts.append(f"it should start in about {_duration(found.expected - now)}")
    return "; ".join(parts)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _terminal(last: Event | None) -> RunFinished | RunFailed | None:
    return last if isinstance(last, (RunFinished, RunFailed)) else None


def _elsewhere(status: RunStatus | None) -> RunStatus | None:
    """A status that is judged by its heartbeat alone: the process may be on any node."""
    return replace(status, host="a node of the cluster", verdict="") if status is not None else None
