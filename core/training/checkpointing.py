"""Saving and restoring the complete state of a run, so that a resumed run continues bit for bit.

Flow: the loop saves after validations and at intervals, and resumes from the newest complete checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.state import optimizer_tensors, restore_optimizer, restore_rng, rng_tensors
from core.ranks.tensors import load_full_state, on_host
from core.spec.config import RunConfig
from core.spec.errors import writing
from core.spec.files import write_whole
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.model_names import CheckpointError, locate_run
from core.teacher.custom import CustomTeacher
from core.training.assembly import Assembly
from core.training.errors import TrainingError
from core.training.team.team import ALONE, Team

_CompleteCheckpoint = tuple[checkpoint.CheckpointInfo, checkpoint.CheckpointState]


@dataclass
class RunProgress:
    """The step of a run and its validation scores."""

    step: int = 0
    score: float | None = None  # score of the validation after this step, if any
    network: str = ""  # the network with this score, "student" or "teacher"
    best: float | None = None  # highest score so far

    def begin_step(self) -> None:
        self.step += 1
        self.score, self.network = None, ""

    def record_score(self, score: float, network: str) -> bool:
        """Record the score of a validation; returns whether it is the best so far."""
        self.score, self.network = score, network
        improved = self.best is None or score > self.best
        if improved:
            self.best = score
        return improved


class PendingSave:
    """A checkpoint that was written, or is being written by a thread."""

    def __init__(self, progress: RunProgress, write: Callable[[], tuple[str, bool]], background: bool) -> None:
        """``write`` returns the checkpoint's name, and whether it is the best so far; `result` re-raises errors."""
        self.step, self.network = progress.step, progress.network
        pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written = pool.submit(write)
        pool.shutdown(wait=not background)

    @property
    def is_done(self) -> bool:
        """Whether writing has finished or failed."""
        return self._written.done()

    def result(self) -> tuple[str, bool]:
        """Wait for the checkpoint; returns its name, and whether it is the best so far. Raises CheckpointError."""
        return self._written.result()


class Checkpointing:
    """Saves and restores the state of a run's parts."""

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        parts: Assembly,
        optimizer: torch.optim.Optimizer,
        team: Team = ALONE,
        log: Callable[[str], object] = lambda message: None,
    ) -> None:
        self._team, self._log = team, log
        self._config, self._run, self._parts = config, run, parts
        self._optimizer = optimizer
        self._data_contents: dict[str, Mapping[str, str]] = {}
        # Whether a thread writes checkpoints while training continues; on a CPU, it would slow down training.
        self.background = parts.runtime.device.type == "cuda"

    def save(self, progress: RunProgress) -> PendingSave:
        """Save the state after this step; with a GPU the state is copied and written in the background.

        All ranks must call this method; rank 0 writes full tensors, so that any number of ranks can resume.
        """
        parts = self._parts
        buffers = {f"objectives.{key}": value for key, value in parts.objectives.state_dict().items()}
        if isinstance(parts.teacher, CustomTeacher):
            buffers |= {f"rule.{key}": value for key, value in parts.teacher.rule_state().items()}
        to_host = partial(on_host, keep=self._team.is_leader, copy=self.background)
        tensors = checkpoint.CheckpointState(
            student=to_host(parts.network.state_dict()),
            teacher=to_host(parts.teacher.state_dict()) if parts.teacher is not None else {},
            state=to_host({**optimizer_tensors(self._optimizer, parts.network), **buffers, **rng_tensors()}),
        )
        if not self._team.is_leader:
            return PendingSave(progress, lambda: ("", False), background=False)
        info = checkpoint.CheckpointInfo(
            step=progress.step,
            total_steps=parts.loader.total_steps,
            config=self._config.model_dump(mode="json"),
            model=parts.model_cfg,
            score=progress.score,
            network=progress.network,
            best_score=progress.best,
            classes=parts.network.classes,
            data=self.data_contents(),
        )
        settings = self._config.checkpoint
        write = partial(checkpoint.save, self._run, info, tensors, settings.keep, settings.keep_every)
        return PendingSave(progress, write, self.background)

    def resume(self) -> RunProgress:
        """Restore the newest complete checkpoint; without one, the state of the parent run (``towers.start``).

        Returns step 0 if the run has neither. Raises TrainingError if the content of the data changed (a new location
        is fine), CheckpointError if no checkpoint is readable.
        """
        parts = self._parts
        newest = self._read(partial(checkpoint.newest_complete, self._run))
        if newest is None:
            return self._start_from_parent() if self._config.towers.start == "state" else RunProgress()
        info, tensors = newest
        self._check_data(info)
        origin = f"the checkpoint of step {info.step} in {self._run.path}"
        checkpoint.load_state(partial(load_full_state, parts.network), tensors.student, origin)
        if parts.teacher is not None:
            checkpoint.load_state(parts.teacher.load_state_dict, tensors.teacher, origin)
        restore_optimizer(self._optimizer, parts.network, tensors.state)
        checkpoint.load_state(parts.objectives.load_buffers, tensors.under("objectives."), origin)
        if isinstance(parts.teacher, CustomTeacher):
            checkpoint.load_state(parts.teacher.load_rule_state, tensors.under("rule."), origin)
        restore_rng(tensors.state)
        if self._team.is_leader and info.config.get("data") != self._config.model_dump(mode="json")["data"]:
            with writing(self._run.config, RunDirError):  # records the current location of the data
                write_whole(self._run.config, self._config.to_json().encode())
        return RunProgress(info.step, info.score, info.network, info.best_score)

    def _start_from_parent(self) -> RunProgress:
        """Load the state of the checkpoint in ``towers.pretrained`` as far as it fits this config; logs the rest."""
        parts, name = self._parts, self._config.towers.pretrained
        source = locate_run(name, "student")
        if source is None:
            raise TrainingError(
                f"{name} (towers.pretrained) is not a run, so it has no training state; set towers.pretrained to "
                "RUN@STEP, or towers.start to weights."
            )
        parent = self._read(partial(checkpoint.read_complete, source.run, source.checkpoint))
        assert parent is not None
        info, tensors = parent
        if info.step >= parts.loader.total_steps:
            raise TrainingError(
                f"{name} is at step {info.step}, but this run has only {parts.loader.total_steps} steps; raise "
                "optim.epochs, or choose an earlier checkpoint."
            )
        current = parts.network.state_dict()
        student = {
            key: value for key, value in tensors.student.items() if key in current and value.shape == current[key].shape
        }
        if missing := sorted(current.keys() - student.keys()):
            self._log(f"{len(missing)} tensors ({missing[0]}, ...) are not in the parent run and start untrained.")
        load_full_state(parts.network, student, strict=False)
        if parts.network.lora is not None and not any(key.startswith("lora.") for key in student):
            parts.network.lora.start_from_matrices()
        if parts.teacher is not None:
            self._load("teacher", partial(checkpoint.load_state, parts.teacher.load_state_dict, tensors.teacher, name))
        self._load("optimiser", partial(restore_optimizer, self._optimizer, parts.network, tensors.state))
        buffers = tensors.under("objectives.")
        self._load("objectives' memory", partial(checkpoint.load_state, parts.objectives.load_buffers, buffers, name))
        if isinstance(parts.teacher, CustomTeacher):
            rule = tensors.under("rule.")
            self._load("teacher's rule", partial(checkpoint.load_state, parts.teacher.load_rule_state, rule, name))
        restore_rng(tensors.state)
        return RunProgress(info.step)

    def _load(self, subject: str, load: Callable[[], object]) -> None:
        try:
            load()
        except CheckpointError:
            self._log(f"the {subject} of the parent run fits this config only in part; the rest is newly initialised.")

    def _check_data(self, info: checkpoint.CheckpointInfo) -> None:
        for split, current in self.data_contents().items():
            before = info.data.get(split, current)
            changed = [name for name in current if before.get(name) != current[name]]
            if changed:
                differences = [  # with values if they are counts, without if they are digests
                    f"{name} (was {before.get(name)}, is {current[name]})" if current[name].isdecimal() else name
                    for name in changed
                ]
                raise TrainingError(
                    f"{getattr(self._config.data, split)} (data.{split}) differs from the data that {self._run.path} "
                    f"was trained on: {' and '.join(differences)} changed. Restore the data, or start a new run."
                )
        if info.total_steps != self._parts.loader.total_steps:
            raise TrainingError(
                f"{self._run.path} was planned for {info.total_steps} steps, but its training data "
                f"{self._config.data.train} has changed and now makes {self._parts.loader.total_steps}. Restore the "
                "data, or start a new run."
            )

    def data_contents(self) -> dict[str, Mapping[str, str]]:
        """Counts and digests of each split (see ``Pairs.contents``), computed in the first call."""
        if not self._data_contents:
            splits = {"train": self._parts.train, "val": self._parts.val, "test": self._parts.test}
            self._data_contents = {name: pairs.contents() for name, pairs in splits.items() if pairs is not None}
        return self._data_contents

    def _read(self, read_on: Callable[[torch.device], _CompleteCheckpoint | None]) -> _CompleteCheckpoint | None:
        """The checkpoint that ``read_on(device)`` returns, read by rank 0 and broadcast; None if there is none."""
        device = self._parts.runtime.device
        if self._team.size == 1:
            return read_on(device)
        own_tensors = checkpoint.CheckpointState({}, {}, {})  # filled on rank 0 only

        def read_info() -> dict[str, Any] | None:
            nonlocal own_tensors
            complete = read_on(torch.device("cpu"))
            if complete is None:
                return None
            info, own_tensors = complete
            return asdict(info)

        plain_info = self._team.on_first_rank(read_info)
        if plain_info is None:
            return None
        tensors = checkpoint.CheckpointState(
            student=self._team.broadcast_tensors(own_tensors.student),
            teacher=self._team.broadcast_tensors(own_tensors.teacher),
            state=self._team.broadcast_tensors(own_tensors.state),
        )
        return checkpoint.CheckpointInfo(**plain_info), tensors
