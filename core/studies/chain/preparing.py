"""Runs the work before a stage's training in the stage's folder, with the same status, control and failure records.

Flow: ``run`` -> `prepare_stage` -> the work, which reports progress -> ``status.json`` of the stage. A stop or pause
discards the work; it starts over when the chain is resumed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from core.spec.config import RunConfig
from core.spec.run.events import Outcome, RunFinished
from core.spec.run.folder import RunDir
from core.training.errors import Interrupt
from core.training.progress import Heartbeat
from core.training.team.recording import open_events, prepare_run, record_failure
from core.training.team.signals import signals_as_requests

Progress = Callable[[str, int, int], None]


def prepare_stage(config: RunConfig, run: RunDir, progress: Progress, work: Callable[[Progress], None]) -> Outcome:
    """Do ``work`` for the stage that will train ``config`` in ``run``. Returns "done", "paused" or "stopped".

    Raises what ``work`` raises, after recording it, and as `core.training.train.train` when the folder cannot be used.
    """
    lock = run.claim()
    try:
        if finished := prepare_run(config, run):
            return finished
        with Heartbeat(run, quiet=True) as heartbeat, signals_as_requests() as signals:

            def show(activity: str, done: int, total: int) -> None:
                heartbeat.update_substep(activity, done, total)
                progress(activity, done, total)
                if action := run.pending_request() or (signals.request if signals.is_set() else None):
                    raise Interrupt("paused" if action == "pause" else "stopped")

            return _run_recorded(run, lambda: work(show))
    finally:
        lock.release()


def _run_recorded(run: RunDir, work: Callable[[], None]) -> Outcome:
    events = open_events(run)
    try:
        work()
        return "done"
    except Interrupt as interrupt:
        events.write(RunFinished(step=0, outcome=interrupt.outcome))
        events.sync()
        run.clear_control()
        return interrupt.outcome
    except Exception as error:
        record_failure(events, 0, error)
        raise
    finally:
        events.close()


def write_logs_to(run: RunDir) -> None:
    """Append the subsequent output of this process to the logs in ``run``."""
    run.check()
    for stream, path, number in ((sys.stdout, run.stdout, 1), (sys.stderr, run.stderr, 2)):
        stream.flush()
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
