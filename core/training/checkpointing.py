"""What a run's checkpoints hold: everything that the next step depends on, so that a resumed run goes on bit for bit.

Flow: the loop saves after validations and at intervals, and resumes from the newest whole checkpoint when it starts.
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
from core.teacher.custom import CustomTeacher
from core.training.assembly import Assembly
from core.training.errors import TrainingError
from core.training.team.team import ALONE, Team


@dataclass
class Standing:
    """How far a run is, and how good its last validation was."""

    step: int = 0
    score: float | None = None  # of the validation after this step, if there was one
    network: str = ""  # the network that the score is of
    best: float | None = None  # the greatest score so far

    def begin_step(self) -> None:
        self.step += 1
        self.score, self.network = None, ""

    def note(self, score: float, network: str) -> bool:
        """Record the score of a validation; returns whether the run was never better."""
        self.score, self.network = score, network
        improved = self.best is None or score > self.best
        if improved:
            self.best = score
        return improved


class Saving:
    """A checkpoint that is written, or being written in a thread."""

    def __init__(self, standing: Standing, write: Callable[[], tuple[str, bool]], background: bool) -> None:
        """``write`` gives the checkpoint's name, and whether it is the best so far; what it raises, `result` raises."""
        self.step, self.network = standing.step, standing.network
        pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._written = pool.submit(write)
        pool.shutdown(wait=not background)

    @property
    def done(self) -> bool:
        """Whether it is written, or could not be."""
        return self._written.done()

    def result(self) -> tuple[str, bool]:
        """Its name, and whether it is the best so far; waits for it. Raises CheckpointError."""
        return self._written.result()


class Checkpointing:
    """Saves the state of a run's parts, and restores it."""

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        parts: Assembly,
        optimizer: torch.optim.Optimizer,
        team: Team = ALONE,
    ) -> None:
        self._team = team
        self._config, self._run, self._parts = config, run, parts
        self._optimizer = optimizer
        self._data: dict[str, Mapping[str, str]] = {}
        self.background = parts.runtime.device.type == "cuda"  # a CPU that trains has no time to spare for a thread

    def save(self, standing: Standing) -> Saving:
        """Save the state after this step. Beside a GPU it is copied, and written while training goes on.

        Of several ranks all have to ask, and the first writes: whole tensors, so that any number of ranks can resume.
        """
        parts = self._parts
        buffers = {f"objectives.{key}": value for key, value in parts.objectives.state_dict().items()}
        if isinstance(parts.teacher, CustomTeacher):
            buffers |= {f"rule.{key}": value for key, value in parts.teacher.rule_state().items()}
        host = partial(on_host, keep=self._team.leads, copy=self.background)
        tensors = checkpoint.CheckpointState(
            student=host(parts.network.state_dict()),
            teacher=host(parts.teacher.state_dict()) if parts.teacher is not None else {},
            state=host({**optimizer_tensors(self._optimizer, parts.network), **buffers, **rng_tensors()}),
        )
        if not self._team.leads:
            return Saving(standing, lambda: ("", False), background=False)
        info = checkpoint.CheckpointInfo(
            step=standing.step,
            total_steps=parts.loader.total_steps,
            config=self._config.model_dump(mode="json"),
            model=parts.model_cfg,
            score=standing.score,
            network=standing.network,
            best_score=standing.best,
            classes=parts.network.classes,
            data=self.contents(),
        )
        kept = self._config.checkpoint
        write = partial(checkpoint.save, self._run, info, tensors, kept.keep, kept.keep_every)
        return Saving(standing, write, self.background)

    def resume(self) -> Standing:
        """Restore the newest whole checkpoint; the start of the run where there is none.

        The data may have moved: TrainingError when they hold something else now. CheckpointError when none can be read.
        """
        parts = self._parts
        found = self._newest()
        if found is None:
            return Standing()
        info, tensors = found
        self._check_data(info)
        origin = f"the checkpoint of step {info.step} in {self._run.path}"
        checkpoint.fill(partial(load_full_state, parts.network), tensors.student, origin)
        if parts.teacher is not None:
            checkpoint.fill(parts.teacher.load_state_dict, tensors.teacher, origin)
        restore_optimizer(self._optimizer, parts.network, tensors.state)
        checkpoint.fill(parts.objectives.load_buffers, tensors.under("objectives."), origin)
        if isinstance(parts.teacher, CustomTeacher):
            checkpoint.fill(parts.teacher.load_rule_state, tensors.under("rule."), origin)
        restore_rng(tensors.state)
        if self._team.leads and info.config.get("data") != self._config.model_dump(mode="json")["data"]:
            with writing(self._run.config, RunDirError):  # whoever resumes next finds the data where they are now
                write_whole(self._run.config, self._config.to_json().encode())
        return Standing(info.step, info.score, info.network, info.best_score)

    def _check_data(self, info: checkpoint.CheckpointInfo) -> None:
        for split, now in self.contents().items():
            before = info.data.get(split, now)
            changed = [what for what in now if before.get(what) != now[what]]
            if changed:
                said = [f"{what} ({before.get(what)} then, {now[what]} now)" if now[what].isdecimal() else what
                        for what in changed]  # fmt: skip
                raise TrainingError(
                    f"{getattr(self._config.data, split)} (data.{split}) is not what {self._run.path} was trained on: "
                    f"other {' and '.join(said)}. Restore the data, or start a new run."
                )
        if info.total_steps != self._parts.loader.total_steps:
            raise TrainingError(
                f"{self._run.path} was planned for {info.total_steps} steps and its data now make "
                f"{self._parts.loader.total_steps}; the training data {self._config.data.train} changed. Restore them, "
                "or start a new run."
            )

    def contents(self) -> dict[str, Mapping[str, str]]:
        """What each split holds, which is looked at once."""
        if not self._data:
            splits = {"train": self._parts.train, "val": self._parts.val, "test": self._parts.test}
            self._data = {name: pairs.contents() for name, pairs in splits.items() if pairs is not None}
        return self._data

    def _newest(self) -> tuple[checkpoint.CheckpointInfo, checkpoint.CheckpointState] | None:
        """The newest whole checkpoint, which rank 0 reads and gives to the others; None where there is none."""
        device = self._parts.runtime.device
        if self._team.size == 1:
            return checkpoint.newest_complete(self._run, device)
        read: list[tuple[checkpoint.CheckpointInfo, checkpoint.CheckpointState] | None] = [None]

        def facts() -> dict[str, Any] | None:
            read[0] = checkpoint.newest_complete(self._run, torch.device("cpu"))
            return None if read[0] is None else asdict(read[0][0])

        known = self._team.by_first(facts)
        if known is None:
            return None
        own = read[0][1] if read[0] is not None else None
        parts = [
            self._team.tensors_of_first({} if own is None else getattr(own, part))
            for part in ("student", "teacher", "state")
        ]
        return checkpoint.CheckpointInfo(**known), checkpoint.CheckpointState(*parts)
