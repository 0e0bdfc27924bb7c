"""An arm's step timed on another machine, for a study whose budgets that machine measures.

Flow: ``core.studies.study.budgets`` -> ``measure_elsewhere`` -> ``step_time`` there -> ``times/ARM-PART.json`` here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reading import MEGABYTE
from core.spec.run.status import RunState
from core.spec.study import StudyDir
from core.studies.study.places.remote_job import Work, fetched
from core.studies.study.places.remote_place import Elsewhere

_POLL_SECONDS = 0.5


def measure_elsewhere(
    place: Elsewhere, out: StudyDir, arm: str, part: int, ended: threading.Event, wait: Callable[[], None]
) -> str:
    """Measure ``arm`` once; why it could not be, "" when it was or when it was ended. ``wait``: called meanwhile."""
    while (device := place.offer()) is None:
        wait()
        if place.problem or ended.wait(_POLL_SECONDS):
            return place.problem
    work = Work(place.host, place.order(["step", arm, str(part)], device))
    try:
        while (standing := work.look()) is None or standing.state.alive:
            wait()
            if ended.wait(_POLL_SECONDS):
                if work.folder:
                    place.host.end(work.folder, "kill")
                return ""
        if standing.state is not RunState.DONE:
            return standing.note or f"measuring its step ended as {standing.state}"
        found = fetched(place.host, work.folder, "exports/step.json", MEGABYTE, ended.is_set)
        path = out.step_time(arm, part)
        with writing(path, UserError):
            write_whole(path, found)
    except UserError as error:
        return "" if ended.is_set() else str(error)
    return ""
