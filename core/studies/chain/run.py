"""Trains the stages of a chain in order; a chain can be interrupted and resumed.

Flow: ``python -m core train CHAIN.json DIR`` -> **run** -> ``core.training.train`` for each stage. Finished stages
are skipped, an unfinished one resumes from its last checkpoint, and data between two stages is made once.
"""

from __future__ import annotations

from collections.abc import Callable

import filelock

from core.spec.chain import Chain, ChainDir, read_chain, stage_config
from core.spec.config import with_absolute_paths
from core.spec.errors import UserError, writing
from core.spec.files import check_inside, write_whole
from core.spec.run.events import Outcome
from core.studies.chain.bootstrap import caption_and_filter
from core.studies.chain.preparing import prepare_stage, write_logs_to
from core.training.train import train

Progress = Callable[[str, int, int], None]


class ChainError(UserError):
    """A chain that cannot be started or resumed."""


def run_chain(
    chain: Chain, folder: ChainDir, progress: Progress, quiet: bool = False, stage_logs: bool = False
) -> Outcome:
    """Train or resume the stages of ``chain`` in ``folder``, and return the outcome.

    ``stage_logs``: write this process's output to the logs of the current stage. Raises ChainError if the folder
    contains another chain or is in use; UserError as ``train`` does.
    """
    lock = filelock.FileLock(folder.lock, timeout=0)
    with writing(folder.path, ChainError):
        folder.path.mkdir(parents=True, exist_ok=True)
        check_inside(folder.path, folder.written_paths(chain), ChainError)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise ChainError(
                f"the chain folder {folder.path} is in use by another process; wait until that process has ended."
            ) from error
    try:
        _write_or_check_chain(chain, folder)
        for position in range(len(chain.stages)):
            outcome = _train_stage(chain, folder, position, progress, quiet, stage_logs)
            if outcome != "done":
                return outcome
        return "done"
    finally:
        lock.release()


def _write_or_check_chain(chain: Chain, folder: ChainDir) -> None:
    """Write ``chain.json``, or check that the folder contains the same chain."""
    if not folder.chain.exists():
        write_whole(folder.chain, chain.to_json().encode())
    elif read_chain(folder.chain) != chain:
        raise ChainError(f"{folder.path} contains a different chain or config; choose a new folder.")


def _train_stage(
    chain: Chain, folder: ChainDir, position: int, progress: Progress, quiet: bool, stage_logs: bool
) -> Outcome:
    stage, run = chain.stages[position], folder.stage(chain, position)
    config = with_absolute_paths(stage_config(chain, folder, position))
    run.create()
    if stage_logs:
        write_logs_to(run)
    if stage.before == "caption-filter" and not folder.manifest(stage).exists():
        outcome = prepare_stage(config, run, progress, lambda show: _caption(chain, folder, position, show))
        if outcome != "done":
            return outcome
    return train(config, run, quiet)


def _caption(chain: Chain, folder: ChainDir, position: int, progress: Progress) -> None:
    source = chain.stages[position].config.data.train
    caption_and_filter(folder.stage(chain, position - 1), source, folder.manifest(chain.stages[position]), progress)
