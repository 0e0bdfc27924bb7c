"""Checks of a launch before torch is imported, since the import takes most of a process's start-up time.

Flow: ``python -m core train`` under torchrun calls ``check_launch`` in every process before it imports the trainer. On
one host rank 0 checks and reports, and torchrun ends the other ranks; on several hosts the trainer checks later, once
all ranks are connected.
"""

from __future__ import annotations

from collections.abc import Callable

from core.data.sources.opening import check_exists
from core.ranks.environment import Launch, check_batch_size, check_mesh
from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.training.team.recording import record_refusal


def check_launch(launch: Launch, read_config: Callable[[], RunConfig], run: RunDir) -> None:
    """Raise UserError on rank 0, and record it in ``run``, if ``launch`` cannot train ``read_config()``."""
    if launch.rank or not launch.one_host:
        return
    config = read_config()
    try:
        check_mesh(launch.size, config.runtime.shard)
        if not config.data.unlabelled_ratio:  # otherwise a batch has more rows than optim.batch_size
            check_batch_size(launch.size, config.optim.batch_size)
        if not config.data.dataset:
            for path in filter(None, (config.data.train, config.data.val, config.data.test)):
                check_exists(path)
    except UserError as error:
        is_finished = record_refusal(config, run, error)
        if not is_finished:  # a finished run is not trained, so the error does not matter
            raise
