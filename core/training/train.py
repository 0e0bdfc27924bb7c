"""Training: a config and a run folder in, events and checkpoints out.

Flow: ``python -m core train`` calls ``train``; the window never does. The run folder is claimed,
``core.training.loop`` trains, and the outcome is recorded, whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.custom.callbacks import Callback, Callbacks
from core.custom.loading import CustomCode
from core.spec.config import RunConfig
from core.spec.run.code import CodeUse, keep_code
from core.spec.run.events import EventWriter, Outcome, RunFinished
from core.spec.run.folder import RunDir
from core.training.errors import Interrupt
from core.training.loop import Loop
from core.training.progress import Heartbeat
from core.training.team.recording import disk_full, open_events, prepared, record_failure
from core.training.team.signals import signals_as_requests


def train(
    config: RunConfig,
    run: RunDir,
    quiet: bool = False,
    use: CodeUse = "check",
    given: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Train ``config`` in ``run``, from its newest checkpoint if it has one; returns how it ended.

    ``use``: of code that changed since the run began. ``given``: objects that the config names as ``python:NAME``.
    Raises UserError, after recording the failure in ``events.jsonl``; RunDirError without recording it when the folder
    is in use, belongs to another config or cannot be written.
    """
    run.create()
    lock = run.claim()
    try:
        if finished := prepared(config, run):
            return finished
        with Heartbeat(run, quiet) as heartbeat:
            code = CustomCode(run, given, started=True)
            return _recorded(config, run, heartbeat, open_events(run), use, code, Callbacks(callbacks))
    finally:
        lock.release()


def _recorded(
    config: RunConfig,
    run: RunDir,
    heartbeat: Heartbeat,
    events: EventWriter,
    use: CodeUse,
    code: CustomCode,
    callbacks: Callback,
) -> Outcome:
    """Train, and record the outcome, whatever it is."""
    loop: Loop | None = None
    try:
        with signals_as_requests() as asked:
            try:
                keep_code(config, run, use)
                loop = Loop(config, run, events, heartbeat, asked, code=code, callbacks=callbacks)
                loop.run()
                outcome: Outcome = "done"
            except Interrupt as interrupt:
                outcome = interrupt.outcome
                if loop is not None:
                    loop.leave()
        events.write(RunFinished(step=loop.step if loop else 0, outcome=outcome))
        events.sync()
        callbacks.on_end(outcome)
        return outcome
    except OSError as error:
        full = disk_full(run, error)
        record_failure(events, loop.step if loop else 0, full or error)
        if full is None:
            raise
        raise full from error
    except Exception as error:
        record_failure(events, loop.step if loop else 0, error)
        raise
    finally:
        run.clear_control()
        events.close()
