"""Entry point of a study's job on another machine: ``python -m core.studies.study.places.remote_main``.

``run STUDY ARM SEED STEPS`` trains or resumes a run and evaluates it; ``step STUDY ARM ROUND`` measures a step time.
The study's demo data are made once. The process outlives the connection, and can be started again at any moment.
"""

from __future__ import annotations

import sys
from pathlib import Path

import filelock

from core.spec.files import write_whole
from core.spec.run.folder import RunDir
from core.spec.study import StudyDir, absolute, read_study
from core.studies.study import job, step_time
from core.studies.study.data import prepare
from core.training.memory import keep_freed_memory


def main(arguments: list[str]) -> int:
    """The exit status of `core.studies.study.job`."""
    kind, folder, arm, *numbers = arguments
    keep_freed_memory()
    out = StudyDir(Path(folder))
    return job.run_reporting_errors(lambda: _work(out, kind, arm, [int(number) for number in numbers]))


def _work(out: StudyDir, kind: str, arm: str, numbers: list[int]) -> int:
    with filelock.FileLock(out.lock):  # other jobs of this study may start at the same time
        prepare(out, absolute(read_study(out.study), out.path), lambda text: print(text, flush=True))
    if kind == "run":
        seed, steps = numbers
        return job.work(out, arm, seed, steps)
    (round_number,) = numbers
    step_time.measure_arm(out, arm, round_number)
    exports = RunDir(out.times / f"{arm}-{round_number}").exports
    write_whole(exports / "step.json", out.step_time(arm, round_number).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
