"""Trains a config in a run folder.

Flow: ``python -m core train`` and ``core.train`` call ``train``, which claims the run folder, trains with
``core.training.loop``, and records the outcome.
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
from core.training.team.recording import disk_full_error, open_events, prepare_run, record_failure
from core.training.team.signals import signals_as_requests


def train(
    config: RunConfig,
    run: RunDir,
    quiet: bool = False,
    code_policy: CodeUse = "check",
    python_objects: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Train ``config`` in ``run``, from its newest checkpoint if one exists; returns the outcome.

    ``code_policy``: what to do if custom code has changed since the run began. ``python_objects``: the Python objects
    that the config refers to as ``python:NAME``.

    Raises UserError, after recording the failure in ``events.jsonl``; RunDirError, without recording the failure, if
    the folder is in use, belongs to another config or cannot be written.
    """
    run.create()
    lock = run.claim()
    try:
        if earlier_outcome := prepare_run(config, run):
            return earlier_outcome
        with Heartbeat(run, quiet) as heartbeat:
            code = CustomCode(run, python_objects, started=True)
            return _train_and_record(config, run, heartbeat, open_events(run), code_policy, code, Callbacks(callbacks))
    finally:
        lock.release()


def _train_and_record(
    config: RunConfig,
    run: RunDir,
    heartbeat: Heartbeat,
    events: EventWriter,
    code_policy: CodeUse,
    code: CustomCode,
    callbacks: Callback,
) -> Outcome:
    loop: Loop | None = None
    try:
        with signals_as_requests() as requests:
            try:
                keep_code(config, run, code_policy)
                loop = Loop(config, run, events, heartbeat, requests, code=code, callbacks=callbacks)
                loop.run()
                outcome: Outcome = "done"
            except Interrupt as interrupt:
                outcome = interrupt.outcome
                if loop is not None:
                    loop.save_if_needed()
        events.write(RunFinished(step=loop.step if loop else 0, outcome=outcome))
        events.sync()
        callbacks.on_end(outcome)
        return outcome
    except Exception as error:
        disk_full = disk_full_error(run, error)
        record_failure(events, loop.step if loop else 0, disk_full or error)
        if disk_full is None:
            raise
        raise disk_full from error
    finally:
        run.clear_control()
        events.close()
