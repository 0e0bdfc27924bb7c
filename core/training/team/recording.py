"""Preparation of a run folder for training, and records of failures; does not import torch.

Flow: ``core.training.train`` and ``over_ranks`` claim the folder, prepare it, and record failures in it.
"""

from __future__ import annotations

import sys
import traceback

from core.spec.config import RunConfig, differences, read_config
from core.spec.errors import UserError, is_full, writing
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
from core.spec.run.model_names import checkpoint_names
from core.spec.run.processes import own_start_time
from core.training.errors import TrainingError

# These settings may differ in a resumed run: they affect speed and bookkeeping, not the result.
_FREE_ON_RESUME = ("name", "runtime.", "checkpoint.", "data.cache_mib", "data.workers")
# Data paths may differ too: the data's content is compared with the checkpoint (``core.training.checkpointing``).
_DATA_PATHS = ("data.train", "data.val", "data.test")


def prepare_run(config: RunConfig, run: RunDir) -> Outcome | None:
    """Prepare the run folder; returns the outcome if the run is already finished."""
    try:
        _write_or_check_config(config, run)
        if earlier_outcome := _earlier_outcome(run):
            return earlier_outcome
        # Removes requests that an earlier, killed trainer left; newer requests are for this process.
        run.clear_control(older_than=own_start_time())
    except OSError as error:
        raise disk_full_error(run, error) or run.unwritable(error) from error
    return None


def open_events(run: RunDir) -> EventWriter:
    """Open the run's events for appending. Raises RunDirError, or TrainingError for a full disk."""
    try:
        return EventWriter(run.events)
    except OSError as error:
        raise disk_full_error(run, error) or run.unwritable(error) from error


def disk_full_error(run: RunDir, error: Exception) -> TrainingError | None:
    """The error to raise for a full disk; None if ``error`` has another cause."""
    if not (isinstance(error, OSError) and is_full(error)):
        return None
    return TrainingError(
        f"the disk with {run.path} is full; the last checkpoint is intact. Free some space and resume the run."
    )


def _write_or_check_config(config: RunConfig, run: RunDir) -> None:
    """Write ``config.json``, or check that the folder has the same config.

    A config that was rejected before training is replaced.
    """
    if run.config.exists() and not _was_refused(run):
        existing = read_config(run.config)
        changed = {
            name: values
            for name, values in differences(existing, config).items()
            if not name.startswith(_FREE_ON_RESUME) and name not in _DATA_PATHS
        }
        if changed:
            name, (old, new) = next(iter(changed.items()))
            remainder = f" and {len(changed) - 1} more fields" if len(changed) > 1 else ""
            raise RunDirError(
                f"the run folder {run.path} belongs to another config: {name} is {old!r} in the folder, but {new!r} in "
                f"this config{remainder}; choose another folder, or train the folder's config.json."
            )
    else:
        with writing(run.config, RunDirError):
            write_whole(run.config, config.to_json().encode())


def _was_refused(run: RunDir) -> bool:
    """Whether the run failed before its first step, so that the folder contains no results of its config."""
    if checkpoint_names(run):  # avoids reading a long log
        return False
    kinds = {type(event) for event in EventReader(run.events).read_all()}
    return RunFailed in kinds and RunStarted not in kinds


def _earlier_outcome(run: RunDir) -> Outcome | None:
    last = Lifecycle(run.events).read()
    return "done" if isinstance(last, RunFinished) and last.outcome == "done" else None


def record_failure(events: EventWriter, step: int, error: Exception) -> None:
    """Record a failure. If the log cannot be written, print that to stderr instead of raising another error."""
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    kind = type(error).__name__
    try:
        events.write(RunFailed(step=step, error=kind, message=message, traceback=traceback.format_exc()))
    except OSError as write_error:
        print(f"the failure could not be written to the event log: {write_error.strerror}", file=sys.stderr)


def record_refusal(config: RunConfig, run: RunDir, error: UserError) -> bool:
    """Record ``error``, which prevents ``run`` from starting; returns True if the run is already finished.

    Raises RunDirError if the folder is in use, or belongs to another config.
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
