"""What is done in a stage's folder before it trains: seen and ended as its training is.

Flow: ``run`` -> **prepare_stage** -> the work itself, which tells how far it is -> ``status.json`` of the stage.
Asked to stop or pause it is given up, and begun anew when the chain goes on; what fails is recorded as a run's failure.
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
from core.training.team.recording import open_events, prepared, record_failure
from core.training.team.signals import Requests, signals_as_requests

Progress = Callable[[str, int, int], None]


def prepare_stage(config: RunConfig, run: RunDir, progress: Progress, work: Callable[[Progress], None]) -> Outcome:
    """Do ``work`` for the stage that is to be trained on ``config`` in ``run``; "done", or what was asked meanwhile.

    Raises what ``work`` raises, after recording it, and as `core.training.train.train` when the folder cannot be used.
    """
    lock = run.claim()
    try:
        if finished := prepared(config, run):
            return finished
        with Heartbeat(run, quiet=True) as heartbeat, signals_as_requests() as asked:

            def show(doing: str, done: int, total: int) -> None:
                heartbeat.part(doing, done, total)
                progress(doing, done, total)
                if what := _asked(run, asked):
                    raise Interrupt("paused" if what == "pause" else "stopped")

            return _recorded(run, lambda: work(show))
    finally:
        lock.release()


def _asked(run: RunDir, signals: Requests) -> str | None:
    return run.asked() or (signals.what if signals.is_set() else None)


def _recorded(run: RunDir, work: Callable[[], None]) -> Outcome:
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
    """From here on what this process prints is appended to the logs in ``run``."""
    run.check()
    for stream, path, number in ((sys.stdout, run.stdout, 1), (sys.stderr, run.stderr, 2)):
        stream.flush()
        with path.open("ab") as file:
            os.dup2(file.fileno(), number)
