"""This computer as a place: one process per run, one run per GPU or a fixed number of parallel runs.

Flow: the queue -> ``begin`` -> ``python -m core.studies.study.job`` -> ``exports/measures.json``.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from core.spec.children import device_variables, python_command, start_program
from core.spec.files import check_inside
from core.spec.run.folder import error_line
from core.spec.study import RunState, Study, StudyDir, StudyRun
from core.studies.study.claiming import StudyError
from core.studies.study.places.place import THIS_COMPUTER, Ended

JOB = tuple(python_command("core.studies.study.job"))
_END_SECONDS = 10.0  # time for a killed process to end


class LocalPlace:
    """This computer. ``devices``: train one run per GPU, instead of ``jobs`` runs in parallel."""

    name, problem, trouble = THIS_COMPUTER, "", ""

    def __init__(self, out: StudyDir, jobs: int, devices: Sequence[str] = ()) -> None:
        self._out = out
        self.jobs = len(devices) or jobs
        self._free = list(devices) or [""] * self.jobs

    def offer(self) -> str | None:
        """A free GPU, or "" for one more process; None if nothing is free."""
        return self._free[0] if self._free else None

    def begin(self, run: StudyRun, steps: int, device: str) -> _LocalTraining:
        """Start the run's process."""
        folder = self._out.run(run.arm, run.seed)
        check_inside(self._out.path, self._out.written_paths_of(run.arm, run.seed), StudyError)
        folder.create()
        command = [*JOB, str(self._out.path), run.arm, str(run.seed), str(steps)]
        with folder.stdout.open("ab") as output, folder.stderr.open("wb") as errors:
            process = start_program(command, output, errors, variables=device_variables(device))
        self._free.remove(device)
        return _LocalTraining(self, process, run, device)

    def stop(self, run: StudyRun) -> None:
        """A trainer on this computer ends with the study's process."""

    def extend(self, study: Study) -> None:
        """Does nothing, since each process reads the study itself."""

    def finish(self, run: StudyRun, device: str, status: int) -> Ended:
        """Free the device of a process that exited with ``status``, and determine the outcome of the run."""
        self._free.append(device)
        if status == 0 and self._out.measures(run.arm, run.seed).exists():
            return Ended()
        output = self._out.run(run.arm, run.seed).stderr_end()
        # A killed process writes no error: the last line of its output is its progress.
        reason = error_line(output) if status < 0 else (output.splitlines() or [""])[-1]
        return Ended(reason or f"the trainer exited unexpectedly with status {status}", killed=status < 0)

    def is_trained(self, run: StudyRun) -> bool:
        """Whether the run's last step is done."""
        status = self._out.run(run.arm, run.seed).read_status()
        return status is not None and 0 < status.total_steps <= status.step and status.doing.startswith("saving")


class _LocalTraining:
    trouble = ""

    def __init__(self, place: LocalPlace, process: subprocess.Popen[bytes], run: StudyRun, device: str) -> None:
        self.state: RunState = "training"
        self._place, self._process, self._run, self._device = place, process, run, device

    def poll(self) -> Ended | None:
        status = self._process.poll()
        if status is not None:
            return self._place.finish(self._run, self._device, status)
        if self.state == "training" and self._place.is_trained(self._run):
            self.state = "measuring"
        return None

    def request_stop(self) -> None:
        self._process.terminate()

    def abandon(self) -> None:
        self._process.kill()
        self._process.wait(_END_SECONDS)
