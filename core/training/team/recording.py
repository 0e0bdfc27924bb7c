"""Preparation of a run folder for training, and records of failures; does not import torch.

Flow: ``core.training.train`` and ``over_ranks`` prepare the claimed folder, and record failures in it.
"""

from __future__ import annotations

import errno
import sys
import traceback

from core.spec.config import RunConfig, differences, read_config
from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.run.events import (
    EventReader,
    EventWriter,
    Lifecycle,
    Outcome,
    RunFailed,
    RunFinished,
    RunStarted,
)
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.model_names import names
from core.spec.run.processes import own_start_time
from core.training.errors import TrainingError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# A resumed run may differ in these: they affect speed and bookkeeping, not the result.
_FREE_ON_RESUME = ("name", "runtime.", "checkpoint.", "data.cache_mib", "data.workers")
# Paths of data may differ too: their content is compared with the checkpoint (``core.training.checkpointing``).
_PLACES = ("data.train", "data.val", "data.test")


def prepare_run(config: RunConfig, run: RunDir) -> Outcome | None:
    """Prepares the folder; returns the outcome if the run is already finished."""
    try:
        _settle_config(config, run)
        if finished := _finished_before(run):
            return finished
        # Removes requests left by a killed trainer; those since the start of this one stay.
        run.clear_control(older_than=own_start_time())
    except OSError as error:
        raise disk_full_error(run, error) or run.unwritable(error) from error
    return None


def open_events(run: RunDir) -> EventWriter:
    """The run's events, for appending. Raises RunDirError, or TrainingError for a full disk."""
    try:
        return EventWriter(run.events)
    except OSError as error:
        raise disk_full_error(run, error) or run.unwritable(error) from error


def disk_full_error(run: RunDir, error: OSError) -> TrainingError | None:
    """The error for a full disk; None if ``error`` is another error."""
    if error.errno not in _FULL:
        return None
    return TrainingError(
        f"the disk that holds {run.path} is full; the last checkpoint is kept. Free some space and resume."
    )


def _settle_config(config: RunConfig, run: RunDir) -> None:
    """Writes ``config.json``, or checks that the folder has the same config.

    If its config was rejected before training, the folder accepts another one.
    """
    if run.config.exists() and not _was_refused(run):
        existing = read_config(run.config)
        changed = {
            name: values
            for name, values in differences(existing, config).items()
            if not name.startswith(_FREE_ON_RESUME) and name not in _PLACES
        }
        if changed:
            name, (old, new) = next(iter(changed.items()))
            remainder = f" and {len(changed) - 1} more fields" if len(changed) > 1 else ""
            raise RunDirError(
                f"the run folder {run.path} belongs to another config: {name} is {old!r} in the folder and {new!r} here"
                f"{remainder}; choose another folder, or train the config in its config.json."
            )
    else:
        with writing(run.config, RunDirError):
            write_whole(run.config, config.to_json().encode())


def _was_refused(run: RunDir) -> bool:
    """Whether it failed before any step, and so contains no results of its config."""
    if names(run):  # avoids reading a long log
        return False
    kinds = {type(event) for event in EventReader(run.events).read_all()}
    return RunFailed in kinds and RunStarted not in kinds


def _finished_before(run: RunDir) -> Outcome | None:
    last = Lifecycle(run.events).read()
    return "done" if isinstance(last, RunFinished) and last.outcome == "done" else None


def record_failure(events: EventWriter, step: int, error: Exception) -> None:
    """Records a failure; an unwritable log does not hide the failure."""
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    kind = type(error).__name__
    try:
        events.write(RunFailed(step=step, error=kind, message=message, traceback=traceback.format_exc()))
    except OSError as refused:
        print(f"the failure could not be written to the event log: {refused.strerror}", file=sys.stderr)


def record_refusal(config: RunConfig, run: RunDir, error: UserError) -> bool:
    """Records ``error``, which prevents ``run`` from starting; returns True if the run is already finished.

    Raises RunDirError when it is in use, or belongs to another config.
    """
    run.create()
    lock = run.claim()
    try:
        if prepare_run(config, run):
            return True
        events = open_events(run)
        record_failure(events, 0, error)
        events.close()
        return False
    finally:
        lock.release()
