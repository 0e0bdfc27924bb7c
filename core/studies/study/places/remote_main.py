"""A part of a study on the machine that it was sent to: ``python -m core.studies.study.places.remote_main``.

``run STUDY ARM SEED STEPS`` trains or resumes a run and evaluates it; ``step STUDY ARM PART`` times an arm's step. Data
that the study renders are made here once. It outlives whoever asked for it, and can be started again at any moment.
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
    """The exit status, as `core.studies.study.job` has it."""
    kind, folder, arm, *numbers = arguments
    keep_freed_memory()
    out = StudyDir(Path(folder))
    return job.reported(lambda: _work(out, kind, arm, [int(one) for one in numbers]))


def _work(out: StudyDir, kind: str, arm: str, numbers: list[int]) -> int:
    with filelock.FileLock(out.lock):  # others of this study begin at the same time
        prepare(out, absolute(read_study(out.study), out.path), lambda text: print(text, flush=True))
    if kind == "run":
        seed, steps = numbers
        return job.work(out, arm, seed, steps)
    (part,) = numbers
    status = step_time.main([str(out.path), arm, str(part)])
    if status == 0:
        exports = RunDir(out.times / f"{arm}-{part}").exports
        write_whole(exports / "step.json", out.step_time(arm, part).read_bytes())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
