"""Slurm, by its own commands: sbatch, squeue, scontrol, scancel, sinfo.

``squeue`` is asked once for all of a user's jobs, ``scontrol`` about one job when squeue no longer lists it or its
state has changed. Times are this machine's. Nothing here needs accounting (slurmdbd), which many clusters do not offer.
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

FRESH_SECONDS = 15.0  # so long an answer of squeue's counts, for all runs: the controller serves a whole cluster
_SECONDS = 20.0
WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED"}

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


class SlurmError(UserError):
    """One of Slurm's commands refused; the message has its words."""


@dataclass(frozen=True)
class SlurmJob:
    """A job. ``began``: when it was last started; ``expected``: when it should start; seconds since the epoch."""

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
        list(command), capture_output=True, encoding="utf-8", errors="replace", timeout=_SECONDS, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


class Slurm:
    """May be called from any thread."""

    def __init__(self, run: Run = _run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._listed: dict[str, SlurmJob] = {}
        self._asked = float("-inf")
        self._known: dict[str, tuple[str, SlurmJob | None]] = {}  # job -> state in squeue, and what scontrol said then
        self._looked: dict[str, float] = {}

    @property
    def found(self) -> bool:
        """Whether there is a Slurm on this machine."""
        return shutil.which("sbatch") is not None

    def version(self) -> str:
        return self._said("sinfo", "--version").strip().removeprefix("slurm ")

    def partitions(self) -> list[Partition]:
        """All partitions, the default first."""
        rows: dict[str, Partition] = {}
        for line in self._said("sinfo", "-h", "-o", "%P|%D|%A|%G|%l").splitlines():
            parts = line.strip().split("|")
            if len(parts) != 5:
                continue
            name, nodes, idle = parts[0].rstrip("*"), int(parts[1]), int(parts[2].partition("/")[2] or 0)
            had = rows.get(name)
            rows[name] = Partition(
                name=name,
                default=parts[0].endswith("*"),
                nodes=nodes + (had.nodes if had else 0),
                idle=idle + (had.idle if had else 0),
                gpus=", ".join(filter(None, {had.gpus if had else "", parts[3].replace("(null)", "")})),
                time=parts[4],
            )
        return sorted(rows.values(), key=lambda one: not one.default)

    def submit(self, script: Path, name: str) -> str:
        """Hand ``script`` to sbatch as the job ``name``; its number. SlurmError with sbatch's words."""
        said = self._said("sbatch", "--parsable", f"--job-name={name}", f"--chdir={script.parent}", str(script))
        number = said.strip().splitlines()[-1].split(";")[0] if said.strip() else ""
        if not number.isdigit():
            raise SlurmError(f"sbatch answered {excerpt(said)!r}, which names no job.")
        self.forget()
        return number

    def named(self, name: str) -> str:
        """The number of a job of this name that waits or runs; "" when there is none."""
        said = self._said("squeue", "-h", "-u", _user(), "-n", name, "-o", "%i")
        return said.split()[0] if said.split() else ""

    def cancel(self, job: str) -> None:
        """SlurmError when it cannot be cancelled."""
        self._said("scancel", job)
        self.forget()

    def hurry(self, job: str) -> None:
        """SIGKILL to all of a job's processes."""
        self._said("scancel", "--signal=KILL", "--full", job)
        self.forget()

    def forget(self) -> None:
        """Ask anew the next time."""
        with self._lock:
            self._asked = float("-inf")

    def job(self, job: str) -> SlurmJob | None:
        """How it stands; None when Slurm no longer knows it. SlurmError when it cannot be asked."""
        with self._lock:
            if time.monotonic() - self._asked > FRESH_SECONDS:
                self._listed = self._queue()
                self._asked = time.monotonic()
            listed = self._listed.get(job)
            state = listed.state if listed else ""
            known = self._known.get(job)
            if known is None or known[0] != state or (listed is None and self._ageing(job)):
                self._known[job] = known = (state, self._shown(job))
                self._looked[job] = time.monotonic()
        if listed is None:
            return known[1]
        restarts = known[1].restarts if known[1] else 0
        return SlurmJob(listed.state, listed.reason, listed.began, listed.expected, listed.nodes, restarts)

    def _ageing(self, job: str) -> bool:
        """What was said of a job that squeue does not list, while it was ending, is asked again."""
        shown = self._known[job][1]
        return shown is not None and (shown.waiting or shown.running) and time.monotonic() - self._looked[job] > 1.0

    def _queue(self) -> dict[str, SlurmJob]:
        found = {}
        said = self._said("squeue", "-h", "-u", _user(), "-o", "%i|%T|%r|%S|%N")
        for line in said.splitlines():
            number, state, reason, start, nodes = (line.strip().split("|") + [""] * 5)[:5]
            found[number] = _job(state, reason, moment(start), nodes, 0)
        return found

    def _shown(self, job: str) -> SlurmJob | None:
        done = self._do(["scontrol", "-o", "show", "job", job])
        if done.returncode != 0:
            if "Invalid job id" in done.stderr:
                return None
            raise SlurmError(f"scontrol cannot tell of job {job}: {_words(done)}")
        fields = dict(re.findall(r"(\w+)=(\S*)", done.stdout))
        state = fields.get("JobState", "")
        restarts = int(fields.get("Restarts", "0") or 0)
        return _job(
            state, fields.get("Reason", ""), moment(fields.get("StartTime", "")), fields.get("NodeList", ""), restarts
        )

    def _said(self, *command: str) -> str:
        done = self._do(command)
        if done.returncode != 0:
            raise SlurmError(f"{command[0]} refused: {_words(done)}")
        return done.stdout

    def _do(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return self._run(command)
        except FileNotFoundError as error:
            raise SlurmError(
                f"there is no {command[0]} on this machine; choose another way to launch, or add the module that has "
                "Slurm to the machine's setup."
            ) from error
        except (OSError, subprocess.SubprocessError) as error:
            raise SlurmError(f"{command[0]} did not answer: {excerpt(str(error))}; try again.") from error


def _job(state: str, reason: str, start: float | None, nodes: str, restarts: int) -> SlurmJob:
    running = state in RUNNING
    shown = "" if reason in ("None", "(null)") else reason
    waiting = state in WAITING
    return SlurmJob(
        state, shown, None if waiting else start, start if waiting else None,
        nodes if running and nodes != "(null)" else "", restarts,
    )  # fmt: skip


def moment(text: str) -> float | None:
    """Slurm's time, which is this machine's, in seconds since the epoch; None for N/A."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def _words(done: subprocess.CompletedProcess[str]) -> str:
    said = " ".join((done.stderr or done.stdout).split())
    return f"{excerpt(said, 400).rstrip('.')}." if said else f"exit status {done.returncode}."


def _user() -> str:
    return getpass.getuser()
