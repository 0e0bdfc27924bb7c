"""Budgets in seconds made steps: each arm's step is measured on the machine before anything is trained.

Flow: ``core.studies.study.queue`` calls `measure_arms` -> ``core.studies.study.step_time`` for each arm, in rounds ->
`steps_within` for each run. Each arm's step is measured in turn with a step of the study's first arm, so a machine that
is busy for a while slows both. An arm's cost is the median over rounds of the ratio of the two, times the first arm's
median: arms that are measured on different days are on one scale.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence

from core.spec.children import python_command, start_program
from core.spec.errors import UserError
from core.spec.study import Study, StudyDir
from core.spec.study.records import StepTimeFile
from core.studies.study.claiming import StudyError

ROUNDS = 3
MOST_STEPS = 10**9
JOB = tuple(python_command("core.studies.study.step_time"))
_POLL_SECONDS = 0.5

Measuring = Callable[[StudyDir, str, int, threading.Event, Callable[[], None]], str]


def measure_arms(
    out: StudyDir,
    arms: Sequence[str],
    ended: threading.Event,
    log: Callable[[str], None],
    wait: Callable[[], None],
    measure: Measuring | None = None,
) -> Mapping[str, str]:
    """Measure the steps of ``arms`` that are not measured yet; ``wait`` is called about twice a second.

    ``measure``: measures an arm once, in place of a process of this computer.

    Returns the arms that could not be measured with the reason. Ends early when ``ended`` is set.
    """
    problems: dict[str, str] = {}
    out.times.mkdir(exist_ok=True)
    waiting = [(part, arm) for part in range(ROUNDS) for arm in arms if not _measured(out, arm, part)]
    for done, (part, arm) in enumerate(waiting):
        if ended.is_set() or arm in problems:
            continue
        if part == 0 or done == 0:
            log(f"measuring what a step of {arm} takes")
        if problem := (measure or measure_here)(out, arm, part, ended, wait):
            problems[arm] = problem
            log(f"failed: {arm}: {problem}")
    return problems


def steps_within(out: StudyDir, study: Study, arm: str, seconds: float) -> int:
    """Steps of the trained arm called ``arm`` that take ``seconds``; StudyError while its step is not measured."""
    return max(1, min(MOST_STEPS, math.floor(seconds / step_time(out, study, arm).step_seconds)))


def step_time(out: StudyDir, study: Study, arm: str) -> StepTimeFile:
    """The cost of a step of the trained arm ``arm``, scaled by the first arm's. StudyError while it is not measured."""
    base = study.base(arm).name
    records, first = (_records(out, name) for name in (base, study.arms[0].name))
    ratio = statistics.median(one.step_seconds / one.reference_seconds for one in records)
    reference = statistics.median(one.step_seconds for one in first)
    return records[0].model_copy(update={"step_seconds": ratio * reference, "reference_seconds": reference})


def _records(out: StudyDir, arm: str) -> list[StepTimeFile]:
    """All rounds of an arm. StudyError where one is missing or damaged."""
    try:
        records = [one for part in range(ROUNDS) if (one := out.read_step_time(arm, part)) is not None]
    except UserError as error:
        raise StudyError(f"the step time of {arm} is unknown: {error}") from error
    if len(records) < ROUNDS:
        raise StudyError(f"the step time of {arm} is not measured yet.")
    return records


def _measured(out: StudyDir, arm: str, part: int) -> bool:
    try:
        return out.read_step_time(arm, part) is not None
    except UserError:
        return True  # `step_time` says what is wrong with it


def measure_here(out: StudyDir, arm: str, part: int, ended: threading.Event, wait: Callable[[], None]) -> str:
    """Measure ``arm`` once; why it could not be, "" when it was or when it was ended."""
    with tempfile.TemporaryFile() as output:
        process = start_program([*JOB, str(out.path), arm, str(part)], output, output)
        while process.poll() is None:
            wait()
            if ended.wait(_POLL_SECONDS):
                _stop(process)
                return ""
        if process.returncode == 0:
            return ""
        output.seek(0)
        said = output.read().decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"measuring its step exited unexpectedly with status {process.returncode}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
