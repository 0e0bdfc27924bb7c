"""Converts budgets in seconds to steps, with each arm's step time, which is measured on the machine before training.

Flow: ``core.studies.study.queue`` calls `measure_arms` -> ``core.studies.study.step_time`` for each arm, in rounds ->
`steps_within` for each run. Steps of an arm alternate with steps of the study's first arm, so that other load slows
both. An arm's step time is the median ratio of the two over all rounds, times the first arm's median, which makes
measurements of different days comparable.
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
MAX_STEPS = 10**9
JOB = tuple(python_command("core.studies.study.step_time"))
_POLL_SECONDS = 0.5

Measuring = Callable[[StudyDir, str, int, threading.Event, Callable[[], None]], str]  # `measure_locally`'s signature


def measure_arms(
    out: StudyDir,
    arms: Sequence[str],
    stop: threading.Event,
    log: Callable[[str], None],
    while_waiting: Callable[[], None],
    measure: Measuring,
) -> Mapping[str, str]:
    """Measure the step time of each arm that has none yet. Returns an error message per failed arm.

    ``while_waiting`` is called about twice a second. ``measure``, such as `measure_locally`, measures one arm in one
    round. Returns early when ``stop`` is set.
    """
    problems: dict[str, str] = {}
    out.times.mkdir(exist_ok=True)
    rounds = range(ROUNDS)
    missing = [(number, arm) for number in rounds for arm in arms if not _is_measured(out, arm, number)]
    for position, (round_number, arm) in enumerate(missing):
        if stop.is_set() or arm in problems:
            continue
        if round_number == 0 or position == 0:
            log(f"measuring the step time of {arm}")
        if problem := measure(out, arm, round_number, stop, while_waiting):
            problems[arm] = problem
            log(f"failed: {arm}: {problem}")
    return problems


def steps_within(out: StudyDir, study: Study, arm: str, seconds: float) -> int:
    """The number of steps that ``arm`` trains in ``seconds``. Raises StudyError before the step time is measured."""
    return max(1, min(MAX_STEPS, math.floor(seconds / step_time(out, study, arm).step_seconds)))


def step_time(out: StudyDir, study: Study, arm: str) -> StepTimeFile:
    """The step time of ``arm``, scaled by the first arm's. Raises StudyError if it has not been measured."""
    configured_arm = study.configured_arm(arm).name  # step times do not depend on the budget
    records, records_of_first = (_records(out, name) for name in (configured_arm, study.arms[0].name))
    ratio = statistics.median(record.step_seconds / record.reference_seconds for record in records)
    reference = statistics.median(record.step_seconds for record in records_of_first)
    return records[0].model_copy(update={"step_seconds": ratio * reference, "reference_seconds": reference})


def _records(out: StudyDir, arm: str) -> list[StepTimeFile]:
    """All measurements of an arm. Raises StudyError if a measurement is missing or damaged."""
    try:
        records = [record for number in range(ROUNDS) if (record := out.read_step_time(arm, number)) is not None]
    except UserError as error:
        raise StudyError(f"the step time of {arm} is unknown: {error}") from error
    if len(records) < ROUNDS:
        raise StudyError(f"the step time of {arm} has not been measured yet; start the study again to measure it.")
    return records


def _is_measured(out: StudyDir, arm: str, round_number: int) -> bool:
    try:
        return out.read_step_time(arm, round_number) is not None
    except UserError:
        return True  # `step_time` reports the error


def measure_locally(
    out: StudyDir, arm: str, round_number: int, stop: threading.Event, while_waiting: Callable[[], None]
) -> str:
    """Measure ``arm`` once in a process, calling ``while_waiting`` until it exits.

    Returns an error message, "" on success or if ``stop`` is set.
    """
    with tempfile.TemporaryFile() as output:
        process = start_program([*JOB, str(out.path), arm, str(round_number)], output, output)
        while process.poll() is None:
            while_waiting()
            if stop.wait(_POLL_SECONDS):
                _stop(process)
                return ""
        if process.returncode == 0:
            return ""
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the step-time measurement exited unexpectedly with status {process.returncode}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
