"""Calls Slurm's commands: sbatch, squeue, scontrol, scancel, sinfo.

``squeue`` lists all of a user's jobs in one call; ``scontrol`` is called for one job when squeue no longer lists it or
its state has changed. Times are local. Accounting (slurmdbd), which many clusters do not offer, is not needed.
"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError
from core.spec.machines.answers import Partition
from core.spec.reading import excerpt

QUEUE_VALID_SECONDS = 15.0  # how long squeue's output is reused for all runs, to spare the cluster's controller
_TIMEOUT_SECONDS = 20.0
WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


class SlurmError(UserError):
    """A Slurm command failed; the message contains its output."""


@dataclass(frozen=True)
class SlurmJob:
    """A Slurm job. ``began`` is the last start, ``expected`` the expected start, in seconds since the epoch."""

    state: str
    reason: str = ""
    began: float | None = None
    expected: float | None = None
    nodes: str = ""
    restarts: int = 0

    @property
    def waiting(self) -> bool:
        return self.state in WAITING

    @property
    def running(self) -> bool:
        return self.state in RUNNING


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command), capture_output=True, encoding="utf-8", errors="replace", timeout=_TIMEOUT_SECONDS, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


class Slurm:
    """Calls Slurm's commands and caches the results. Thread-safe."""

    def __init__(self, run: Run = _run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._queued: dict[str, SlurmJob] = {}
        self._queue_problem = ""  # why squeue failed; it may have taken long, so that not every run calls it again
        self._queue_time = float("-inf")
        # job -> state in squeue, and the result of scontrol for this state
        self._details: dict[str, tuple[str, SlurmJob | None]] = {}
        self._details_time: dict[str, float] = {}

    @property
    def is_installed(self) -> bool:
        """Whether this machine has Slurm."""
        return shutil.which("sbatch") is not None

    def version(self) -> str:
        return self._output_of("sinfo", "--version").strip().removeprefix("slurm ")

    def partitions(self) -> list[Partition]:
        """All partitions, the default partition first."""
        rows: dict[str, Partition] = {}
        for line in self._output_of("sinfo", "-h", "-o", "%P|%D|%A|%G|%l").splitlines():
            parts = line.strip().split("|")
            if len(parts) != 5:
                continue
            name, nodes, idle = parts[0].rstrip("*"), _count(parts[1]), _count(parts[2].partition("/")[2])
            existing = rows.get(name)
            rows[name] = Partition(
                name=name,
                default=parts[0].endswith("*"),
                nodes=nodes + (existing.nodes if existing else 0),
                idle=idle + (existing.idle if existing else 0),
                gpus=", ".join(filter(None, {existing.gpus if existing else "", parts[3].replace("(null)", "")})),
                time=parts[4],
            )
        return sorted(rows.values(), key=lambda partition: not partition.default)

    def submit(self, script: Path, name: str) -> str:
        """Submit ``script`` as the job ``name`` and return the job's number. Raises SlurmError if sbatch fails."""
        output = self._output_of("sbatch", "--parsable", f"--job-name={name}", f"--chdir={script.parent}", str(script))
        number = output.strip().splitlines()[-1].split(";")[0] if output.strip() else ""
        if not number.isdigit():
            raise SlurmError(f"sbatch printed {excerpt(output)!r}, which has no job number.")
        self.forget()
        return number

    def job_named(self, name: str) -> str:
        """The number of a pending or running job called ``name``; "" if there is no such job."""
        output = self._output_of("squeue", "-h", "-u", _user(), "-n", name, "-o", "%i")
        return next((number for number in output.split() if number.isdigit()), "")

    def cancel(self, job: str) -> None:
        """Cancel ``job``. Raises SlurmError if that fails."""
        self._output_of("scancel", job)
        self.forget()

    def kill(self, job: str) -> None:
        """Send SIGKILL to all processes of ``job``."""
        self._output_of("scancel", "--signal=KILL", "--full", job)
        self.forget()

    def forget(self) -> None:
        """Discard squeue's cached output."""
        with self._lock:
            self._queue_time = float("-inf")

    def job(self, job: str) -> SlurmJob | None:
        """The job with this number; None if Slurm no longer knows it. Raises SlurmError if Slurm does not answer."""
        with self._lock:
            if time.monotonic() - self._queue_time > QUEUE_VALID_SECONDS:
                try:
                    self._queued, self._queue_problem = self._read_queue(), ""
                except SlurmError as error:
                    self._queue_problem = str(error)
                self._queue_time = time.monotonic()
            if self._queue_problem:
                raise SlurmError(self._queue_problem)
            queued = self._queued.get(job)
            state = queued.state if queued else ""
            details = self._details.get(job)
            if details is None or details[0] != state or (queued is None and self._needs_refresh(job)):
                self._details[job] = details = (state, self._show_job(job))
                self._details_time[job] = time.monotonic()
        if queued is None:
            return details[1]
        restarts = details[1].restarts if details[1] else 0
        return SlurmJob(queued.state, queued.reason, queued.began, queued.expected, queued.nodes, restarts)

    def _needs_refresh(self, job: str) -> bool:
        """Whether a job is no longer in squeue, but its cached details are from before the end of the job."""
        details = self._details[job][1]
        return (
            details is not None
            and (details.waiting or details.running)
            and time.monotonic() - self._details_time[job] > 1.0
        )

    def _read_queue(self) -> dict[str, SlurmJob]:
        jobs = {}
        output = self._output_of("squeue", "-h", "-u", _user(), "-o", "%i|%T|%r|%S|%N")
        for line in output.splitlines():
            number, state, reason, start, nodes = (line.strip().split("|") + [""] * 5)[:5]
            jobs[number] = _job(state, reason, parse_time(start), nodes, 0)
        return jobs

    def _show_job(self, job: str) -> SlurmJob | None:
        process = self._execute(["scontrol", "-o", "show", "job", job])
        if process.returncode != 0:
            if "Invalid job id" in process.stderr:
                return None
            raise SlurmError(f"scontrol cannot show job {job}: {_message(process)}")
        fields = dict(re.findall(r"(\w+)=(\S*)", process.stdout))
        state, reason, start, nodes = (fields.get(name, "") for name in ("JobState", "Reason", "StartTime", "NodeList"))
        return _job(state, reason, parse_time(start), nodes, _count(fields.get("Restarts", "")))

    def _output_of(self, *command: str) -> str:
        process = self._execute(command)
        if process.returncode != 0:
            raise SlurmError(f"{command[0]} failed: {_message(process)}")
        return process.stdout

    def _execute(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return self._run(command)
        except FileNotFoundError as error:
            raise SlurmError(
                f"there is no {command[0]} on this machine; choose another launcher, or load the Slurm module in the "
                "machine's setup."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise SlurmError(f"{command[0]} did not answer within {error.timeout:.0f} s; try again.") from error
        except OSError as error:
            raise SlurmError(f"{command[0]} cannot be started: {error.strerror or error}; try again.") from error


def _job(state: str, reason: str, start: float | None, nodes: str, restarts: int) -> SlurmJob:
    running = state in RUNNING
    reason_shown = "" if reason in ("None", "(null)") else reason
    waiting = state in WAITING
    return SlurmJob(
        state, reason_shown, None if waiting else start, start if waiting else None,
        nodes if running and nodes != "(null)" else "", restarts,
    )  # fmt: skip


def _count(text: str) -> int:
    """A number that Slurm printed; 0 for other text, such as N/A."""
    return int(text) if text.isascii() and text.isdigit() else 0


def parse_time(text: str) -> float | None:
    """Slurm's local time in seconds since the epoch; None for N/A."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def _message(process: subprocess.CompletedProcess[str]) -> str:
    text = " ".join((process.stderr or process.stdout).split())
    return f"{excerpt(text, 400).rstrip('.')}." if text else f"exit status {process.returncode}."


def _user() -> str:
    return getpass.getuser()
