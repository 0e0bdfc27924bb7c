"""The loop: batches in; steps, validations and checkpoints out.

Flow: ``core.training.train`` opens the run folder and records how it ended; **loop** trains. A step reads like the
method: the teacher makes targets, the student answers, the objectives compare (``core.training.train_step``), the
optimiser moves the student, and the teacher follows.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from statistics import fmean
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from core.custom.callbacks import Callback
from core.custom.loading import NO_CODE, CustomCode
from core.data.batch import Batch
from core.model.runtime import is_out_of_memory
from core.model.towers.freezing import depths
from core.ranks.collectives import mean_over_ranks
from core.ranks.tensors import full_tensor
from core.spec.config import RunConfig
from core.spec.run.events import CheckpointSaved, EventWriter, Log, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.provenance import write_provenance
from core.tracking.provenance import collect, trainer_folder
from core.tracking.system import SystemMonitor
from core.training.accumulation import departs
from core.training.assembly import Assembly, assemble
from core.training.checkpointing import Checkpointing, Saving
from core.training.errors import Interrupt, TrainingError
from core.training.memory import largest_fitting
from core.training.progress import Heartbeat, Pace
from core.training.schedules import build_optimizer, build_schedules, set_rates
from core.training.step.anchor import Anchor
from core.training.step.reports import Reports
from core.training.step.step_guard import RunningStatistics, StepGuard, Taken
from core.training.step.utilisation import counted, device_peak, memory_gib
from core.training.team.mesh import shard_parts, unsharded_parts
from core.training.team.signals import Requests
from core.training.team.team import ALONE, Team
from core.training.train_step import TrainStep
from core.training.validator import Validator

T = TypeVar("T")
NONFINITE_LIMIT = 5  # skipped steps in a row that end a run


class Loop:
    """A run in training."""

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        events: EventWriter,
        heartbeat: Heartbeat,
        asked: threading.Event,
        team: Team = ALONE,
        code: CustomCode = NO_CODE,
        callbacks: Callback | None = None,
    ) -> None:
        self.team, self._in_step = team, False  # whether all ranks look at what is asked at the same place
        self.config, self.run_dir, self.events, self.heartbeat, self._asked = config, run, events, heartbeat, asked
        self.parts: Assembly = team.together(lambda: assemble(config, self._progress, self._log, team, code))
        if team.size > 1:
            team.same("copy of the training data", self.parts.train.digest())
        shard_parts(self.parts.student, self.parts.teacher, team, config.runtime.shard)
        self.network, self.teacher = self.parts.network, self.parts.teacher
        self.total_steps = self.parts.loader.total_steps
        self.schedules = build_schedules(config, self.total_steps)
        self.optimizer = build_optimizer(config.optim, self.network, depths(self.network))
        self.anchor = Anchor(self.network, config.optim.anchor)
        self.losses = TrainStep(config, self.parts, self.schedules)
        self.validator = Validator(config, self.parts, events, self._progress)
        self.checkpointing = Checkpointing(config, run, self.parts, self.optimizer, team)
        self.callbacks, self.device = callbacks or Callback(), self.parts.runtime.device
        self._guard, self._reports, self._note = StepGuard(), Reports(), ""
        self._statistics = RunningStatistics(self.network)
        self._system = SystemMonitor(config.runtime.system_every, run.path, team.launch.rank, team.launch.local_rank)
        self._peak, self._counts = device_peak(self.parts.runtime), list[int]()  # operations of the first steps
        every, kept = config.checkpoint.every_steps, config.checkpoint.keep_every
        self._intervals = (every or self.parts.loader.steps_per_epoch, *((kept,) if kept else ()))  # of saving
        if warning := departs(self.network, config.optim.micro_batch, config.optim.batch_size):
            self._log(warning)
        if self.parts.retain:  # before a checkpoint is loaded
            self._by_first(self.validator.measure_initial)
        self.standing = self.checkpointing.resume()
        self._saved = self.standing.step or None  # the step of the newest checkpoint
        self._saving: Saving | None = None  # one that was not announced yet

    @property
    def step(self) -> int:
        """The number of the last step, from 1; 0 before the first."""
        return self.standing.step

    def run(self) -> None:
        """Train from here to the end, validate and save on the way.

        Raises Interrupt when asked to, TrainingError when the losses are not finite or memory runs out.
        """
        self._report_start()
        if self.step == 0:
            self.validator.report_initial()
        self._in_step = True
        if self.step and self.standing.score is None and self.validator.due(self.step):  # stopped before that was done
            self._validate_and_save()
        pace = Pace()
        with self._system, closing(self.parts.batches(self.step, self.total_steps)) as batches:
            for batch in batches:
                pace.has_batch()
                self.check_control()
                report = self._counted_step(batch)
                self.callbacks.on_step(self.step, report, self.network)
                pace.step(len(batch.rows) * self.team.size)
                if self._reported(self.step) or self.step == self.total_steps:
                    speed = pace.report(self._operations, self._peak) | {"runtime/memory_gib": memory_gib(self.device)}
                    self._reports.add(self.step, self.team.report(report), speed, self._guard.taken())
                self._write_reports()
                self.heartbeat.update("training", self.step, self.total_steps, self._note)
                self._validate_and_save()
                self._announce_saved()
                pace.begin()
        self._write_reports(wait=True)
        self._announce_saved(wait=True)
        self._by_first(lambda: self.validator.test(self.step))

    def _reported(self, step: int) -> bool:
        return self.schedules.teaching.reported(step, self.config.runtime.log_every)

    @property
    def _operations(self) -> float:
        """Of a step, in the mean over those that were counted; 0 before."""
        return fmean(self._counts) if self._counts else 0.0

    def _counted_step(self, batch: Batch) -> dict[str, Tensor]:
        """A step; where the device's peak is known, the operations of the first ones are counted, so many that the
        teacher teaches in one of them.
        """
        if self._peak is None or len(self._counts) == self.schedules.teaching.every:
            return self.train_step(batch)
        report, count = counted(lambda: self.train_step(batch))
        self._counts.append(count)
        return report

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step on ``batch``; what is to be reported of it, not read from the device yet."""
        self.standing.begin_step()
        rate, decay, momentum = (float(values[self.step]) for values in self.schedules.rates)
        set_rates(self.optimizer, rate, decay)
        try:
            batch = self.parts.to_device(batch)
            total, report, norm, skipped = self._gradient(batch)
            self.optimizer.step()  # the first one allocates the moments
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                traceback.clear_frames(error.__traceback__)  # with them goes all that the failed step had computed
                raise self._out_of_memory(batch) from error
            raise
        self.anchor.pull(self.optimizer, skipped)
        self.network.clamp_logit_scale()
        if self.teacher is not None:
            if self.schedules.follows(self.step):
                self.teacher.update(self.network, float(self.schedules.followed[self.step]), skipped)
            report["diag/teacher_momentum"] = torch.tensor(momentum)
        self.optimizer.zero_grad(set_to_none=True)
        lr = torch.tensor(rate, dtype=torch.float64)
        return {"train/loss": total, **report, "train/lr": lr, "train/grad_norm": norm}

    def _gradient(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """Give every parameter its gradient, clipped: the weighted loss, the report, the gradient's norm, and whether
        the step is skipped (1.0 or 0.0, on the device), since losses or norm are not finite.
        """
        self._statistics.remember()
        losses, report = self.losses(batch, self.step)
        own = torch.stack(list(losses.values()))
        own.sum().backward()
        norm = full_tensor(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optim.clip_norm or math.inf))
        weighted = mean_over_ranks(own.detach())
        names = [f"train/{name}" for name in losses]
        skipped = self._guard.unsound(self.step, names, weighted, norm)
        if self.optimizer.defaults["fused"]:  # it reads this on the device, and leaves everything as it was
            self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self._statistics.restore(skipped)
        return weighted.sum(), report, norm, skipped

    def leave(self) -> None:
        """Save before the end of training, unless this step was saved already."""
        if self._saved != self.step:
            self.save()
        self._announce_saved(wait=True)

    def save(self) -> None:
        """Save the whole state after this step."""
        self._write_reports(wait=True)
        self._log_skipped(self._guard.taken())
        self.heartbeat.update("saving", self.step, self.total_steps)
        self.events.sync()
        self._announce_saved(wait=True)  # one at a time
        self._saving = self.checkpointing.save(self.standing)
        self._saved = self.step
        self._announce_saved()

    def _announce_saved(self, wait: bool = False) -> None:
        """Write the event of a checkpoint once it is on the disk; CheckpointError when it could not be written."""
        saving = self._saving
        if saving is None or not (wait or saving.done):
            return
        self._saving = None
        name, best = saving.result()
        self.events.write(CheckpointSaved(step=saving.step, name=name, best=best, network=saving.network))

    def check_control(self) -> None:
        """Raise Interrupt when ``control`` or a signal asks for it."""
        what = self.run_dir.asked() if self.team.leads else None
        if what is None and self._asked.is_set():
            what = self._asked.what if isinstance(self._asked, Requests) else "stop"
        if self._in_step:
            what = self.team.agree(what)
        if what is not None:
            raise Interrupt("paused" if what == "pause" else "stopped")

    def _validate_and_save(self) -> None:
        improved = False
        if self.validator.due(self.step):
            self._write_reports(wait=True)
            progress = self.schedules.progress(self.step)
            improved = self.standing.note(*self._by_first(lambda: self.validator.validate(self.step, progress)))
            self.callbacks.on_validation(self.step, self.validator.values)
        if improved or self.step == self.total_steps or any(self.step % steps == 0 for steps in self._intervals):
            self.save()

    def _by_first(self, call: Callable[[], T]) -> T:
        """What ``call``, which reads the networks, gives on rank 0; where weights are split all compute it."""
        if self.team.size == 1:
            return call()
        blocks = not self.team.sharded or self.config.objectives.captioning.weight > 0
        with unsharded_parts(self.parts.student, self.teacher, blocks):
            if self.team.sharded:
                own = call()
                return self.team.by_first(lambda: own)
            self._in_step = False
            try:
                return self.team.by_first(call)
            finally:
                self._in_step = True

    def _report_start(self) -> None:
        runtime, provenance = self.parts.runtime, dict[str, Any]()
        if self.team.leads:
            code, data = self.config.runtime.record_code, self.checkpointing.contents()
            provenance = collect(self.run_dir, trainer_folder(), data=data, seed=self.config.seed, code=code)
            write_provenance(self.run_dir, provenance)
        self.events.write(
            RunStarted(
                step=self.step,
                total_steps=self.total_steps,
                config_digest=self.config.digest(),
                device=runtime.describe() if self.team.size == 1 else f"{self.team.size} x {runtime.describe()}",
                precision=runtime.precision,
                pairs=len(self.parts.train),
                parameters=sum(p.numel() for p in self.network.parameters()),
                provenance=provenance,
            )
        )

    def _write_reports(self, wait: bool = False) -> None:
        """Write what has arrived from the device; with ``wait`` all that was asked for."""
        for report in self._reports.arrived(wait):
            self._log_skipped(report.taken)
            self.events.write(Metrics(step=report.step, values={**report.values, **self._system.take()}))
            self._note = f"loss {report.values['train/loss']:.3f}"

    def _log_skipped(self, taken: Taken) -> None:
        """Log each step that was skipped; too many in a row end the run."""
        for skipped in self._guard.skipped(Taken(taken.steps, taken.numbers.cpu())):
            what = f"step {skipped.step} was skipped: {', '.join(skipped.suspects)} not finite"
            self._log(what)
            if skipped.in_a_row >= NONFINITE_LIMIT:
                rate, precision = self.config.optim.learning_rate, self.parts.runtime.precision
                raise TrainingError(
                    f"{what}, for {skipped.in_a_row} steps in a row. Suspects: learning rate {rate:g} (try a third), "
                    f"no gradient clipping (set optim.clip_norm to 1), precision {precision} (try fp32), or bad "
                    "images. Change a copy of the config and start a new run; the last checkpoint is good."
                )

    def _out_of_memory(self, batch: Batch) -> TrainingError:
        """The batch size that did not fit, and the largest half of it that does."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.team.size > 1:  # the others wait for this one: nothing can be tried
            return TrainingError(
                f"out of memory on {self.parts.runtime.describe()} at step {self.step} with {len(batch.rows)} pairs on "
                f"each of {self.team.size} ranks; set optim.micro_batch to {max(1, len(batch.rows) // 2)} or less and "
                "keep the batch, start more processes, or choose a smaller architecture."
            )

        def attempt(size: int) -> None:
            moments = [torch.empty_like(p) for p in missing for _ in range(2)]  # a step needs room for them too
            losses, _ = self.losses(batch.first(size), self.step)
            torch.stack(list(losses.values())).sum().backward()
            self.optimizer.zero_grad(set_to_none=True)
            del moments

        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        missing = [p for p in parameters if "exp_avg_sq" not in self.optimizer.state.get(p, {})]
        size = largest_fitting(attempt, len(batch.rows))
        remedy = f"{size} fits: set optim.batch_size to {size}" if size else "not even one pair fits"
        if size and not self.config.optim.micro_batch:
            remedy += f", or optim.micro_batch to {size} and keep the batch"
        return TrainingError(
            f"out of memory on {self.parts.runtime.describe()} at step {self.step} with optim.batch_size "
            f"{len(batch.rows)}; {remedy}, or choose a smaller architecture."
        )

    def _progress(self, doing: str, done: int, total: int) -> None:
        """Progress inside a long piece of work, which may be interrupted too."""
        self.heartbeat.part(doing, done, total)
        self.check_control()

    def _log(self, message: str) -> None:
        self.events.write(Log(level="warning", message=message))
