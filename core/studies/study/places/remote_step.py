"""Measures the step time of an arm on another machine.

Flow: ``core.studies.study.budgets`` -> `measure_remotely` -> ``step_time`` on that machine -> ``times/ARM-ROUND.json``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE
from core.spec.run.status import RunState
from core.spec.study import StudyDir
from core.studies.study.places.remote_job import RemoteJob, fetch_file
from core.studies.study.places.remote_place import RemotePlace

_POLL_SECONDS = 0.5


def measure_remotely(
    place: RemotePlace,
    out: StudyDir,
    arm: str,
    round_number: int,
    stop: threading.Event,
    while_waiting: Callable[[], None],
) -> str:
    """Measure ``arm`` once, like `measure_locally`. Returns the error, "" on success or if ``stop`` is set."""
    while (device := place.offer()) is None:
        while_waiting()
        if place.problem or stop.wait(_POLL_SECONDS):
            return place.problem
    job = RemoteJob(place.host, place.request(["step", arm, str(round_number)], device))
    try:
        while (progress := job.poll()) is None or progress.state.alive:
            while_waiting()
            if stop.wait(_POLL_SECONDS):
                if job.folder:
                    place.host.end(job.folder, "kill")
                return ""
        if progress.state is not RunState.DONE:
            return progress.note or f"measuring the step time ended as {progress.state}"
        record = fetch_file(place.host, job.folder, "exports/step.json", MEGABYTE, stop.is_set)
        path = out.step_time(arm, round_number)
        with writing(path, UserError):
            write_whole(path, record)
    except UserError as error:
        return "" if stop.is_set() else str(error)
    return ""
