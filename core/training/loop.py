"""The training loop: steps, validations and checkpoints.

Flow: ``core.training.train`` opens the run folder and records the outcome; **loop** trains. In each step,
the teacher computes the targets, the student computes its outputs, and the objectives compute their losses
(``core.training.train_step``). The optimiser then updates the student, and the teacher is updated as a moving average
of it.
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
from core.model.towers.freezing import layer_depths
from core.ranks.collectives import mean_over_ranks
from core.ranks.tensors import full_tensor
from core.spec.config import RunConfig
from core.spec.failures import is_out_of_memory
from core.spec.run.code import digest_of
from core.spec.run.events import CheckpointSaved, EventWriter, Log, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.lineage import parent_of
from core.spec.run.provenance import write_provenance
from core.tracking.provenance import collect, trainer_folder
from core.tracking.system import SystemMonitor
from core.training.accumulation import micro_batch_warning
from core.training.assembly import Assembly, assemble
from core.training.checkpointing import Checkpointing, PendingSave
from core.training.errors import Interrupt, TrainingError
from core.training.memory import largest_that_fits
from core.training.progress import Heartbeat, Pace
from core.training.schedules import build_optimizer, build_schedules, set_rates
from core.training.step.anchor import Anchor
from core.training.step.reports import Reports
from core.training.step.step_guard import LossesAndNorms, RunningStatistics, StepGuard
from core.training.step.utilisation import count_operations, device_peak_flops, memory_gib
from core.training.team.mesh import shard_parts, unsharded_parts
from core.training.team.signals import Requests
from core.training.team.team import ALONE, Team
from core.training.train_step import StepLosses
from core.training.validator import Validator

T = TypeVar("T")
MAX_SKIPPED_IN_A_ROW = 5  # this many skipped steps in a row end the run


class Loop:
    """Trains a run from its newest checkpoint, or from the start."""

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        events: EventWriter,
        heartbeat: Heartbeat,
        requests: threading.Event,
        team: Team = ALONE,
        code: CustomCode = NO_CODE,
        callbacks: Callback | None = None,
    ) -> None:
        self.team = team
        self._in_lockstep = False  # whether all ranks call ``check_control`` at the same points; False while assembling
        self.config, self.run_dir, self.events = config, run, events
        self.heartbeat, self._requests = heartbeat, requests
        self.parts: Assembly = team.on_all_ranks(lambda: assemble(config, self._report_progress, self._log, team, code))
        self._in_lockstep = True
        if team.size > 1:
            team.require_same("copy of the training data", self.parts.train.digest())
            if (mismatched := self.parts.mismatched) is not None:
                team.require_same("result of the caption filter", digest_of(mismatched.numpy().tobytes()))
        shard_parts(self.parts.student, self.parts.teacher, team, config.runtime.shard)
        self.network, self.teacher = self.parts.network, self.parts.teacher
        self.total_steps = self.parts.loader.total_steps
        self.schedules = build_schedules(config, self.total_steps)
        self.optimizer = build_optimizer(config.optim, self.network, layer_depths(self.network))
        self.anchor = Anchor(self.network, config.optim.anchor)
        self.step_losses = StepLosses(config, self.parts, self.schedules)
        self.validator = Validator(config, self.parts, events, self._report_progress)
        self.checkpointing = Checkpointing(config, run, self.parts, self.optimizer, team, self._log)
        self.callbacks, self.device = callbacks or Callback(), self.parts.runtime.device
        self._guard, self._reports = StepGuard(), Reports()
        self._status_note = ""  # shown with the progress on a terminal
        self._running_statistics = RunningStatistics(self.network)
        self._system = SystemMonitor(config.runtime.system_every, run.path, team.launch.rank, team.launch.local_rank)
        self._peak_flops = device_peak_flops(self.parts.runtime)
        self._operation_counts: list[int] = []  # FLOPs of the first steps
        self._save_intervals = [config.checkpoint.every_steps or self.parts.loader.steps_per_epoch]
        if config.checkpoint.keep_every:
            self._save_intervals.append(config.checkpoint.keep_every)
        if warning := micro_batch_warning(self.network, config.optim.micro_batch, config.optim.batch_size):
            self._log(warning)
        if self.parts.retain:  # measured here, since resuming replaces the initial weights; ``run`` writes the values
            self._on_first_rank(self.validator.measure_initial)
        self.progress = self.checkpointing.resume()
        self._saved_step = self.progress.step or None  # None before the first checkpoint
        self._pending_save: PendingSave | None = None  # None once the checkpoint's event is written

    @property
    def step(self) -> int:
        """The number of the current step, counted from 1; 0 before the first."""
        return self.progress.step

    def run(self) -> None:
        """Train to the end, with validations and checkpoints.

        Raises Interrupt on request, TrainingError if losses are not finite or memory runs out.
        """
        self._write_start_event()
        if self.step == 0:
            self.validator.write_initial()
        if self.step and self.progress.score is None and self.validator.is_due(self.step):
            # The run was interrupted between this step and its validation.
            self._validate_and_save()
        pace = Pace()
        with self._system, closing(self.parts.batches(self.step, self.total_steps)) as batches:
            for batch in batches:
                pace.batch_arrived()
                self.check_control()
                metrics = self._train_and_count_flops(batch)
                self.callbacks.on_step(self.step, metrics, self.network)
                pace.count_step(len(batch.rows) * self.team.size)
                if self._is_logged(self.step) or self.step == self.total_steps:
                    speed = pace.take_speed(self._operations, self._peak_flops)
                    speed["runtime/memory_gib"] = memory_gib(self.device)
                    self._reports.add(self.step, self.team.average(metrics), speed, self._guard.take_values())
                self._write_metrics()
                self.heartbeat.update("training", self.step, self.total_steps, self._status_note)
                self._validate_and_save()
                self._write_saved_event()
                pace.start_waiting()
        self._write_metrics(wait=True)
        self._write_saved_event(wait=True)
        self._on_first_rank(lambda: self.validator.test(self.step))

    def _is_logged(self, step: int) -> bool:
        """Whether ``step`` is logged: one step in every ``log_every``, if possible one that uses the teacher."""
        return self.schedules.teacher.is_logged(step, self.config.runtime.log_every)

    @property
    def _operations(self) -> float:
        """Mean operations (FLOPs) per step, over the counted steps; 0 before any is counted."""
        return fmean(self._operation_counts) if self._operation_counts else 0.0

    def _train_and_count_flops(self, batch: Batch) -> dict[str, Tensor]:
        """Run a training step. If the device's peak FLOPS are known, also count the operations of the first
        ``teacher.every`` steps, so that one counted step includes the teacher's forward pass.
        """
        if self._peak_flops is None or len(self._operation_counts) == self.schedules.teacher.every:
            return self.train_step(batch)
        metrics, count = count_operations(lambda: self.train_step(batch))
        self._operation_counts.append(count)
        return metrics

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step on ``batch``; returns its metrics, still on the device."""
        self.progress.begin_step()
        schedules = self.schedules
        rate = float(schedules.learning_rate[self.step])
        set_rates(self.optimizer, rate, float(schedules.weight_decay[self.step]))
        try:
            batch = self.parts.to_device(batch)
            total, metrics, norm, skipped = self._compute_gradient(batch)
            self.optimizer.step()  # allocates the moments in the first step
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                traceback.clear_frames(error.__traceback__)  # frees the tensors of the failed step
                raise self._out_of_memory_error(batch) from error
            raise
        self.anchor.pull(self.optimizer, skipped)
        if self.network.lora is not None:
            self.network.lora.update_matrices()
        self.network.clamp_logit_scale()
        if self.teacher is not None:
            if schedules.updates_teacher(self.step):
                self.teacher.update(self.network, float(schedules.update_momentum[self.step]), skipped)
            # The logged momentum is that of one step; an update uses the product over the steps since the last update.
            metrics["diag/teacher_momentum"] = torch.tensor(float(schedules.momentum[self.step]))
        self.optimizer.zero_grad(set_to_none=True)
        lr = torch.tensor(rate, dtype=torch.float64)
        return {"train/loss": total, **metrics, "train/lr": lr, "train/grad_norm": norm}

    def _compute_gradient(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """Compute clipped gradients; returns the sum of the weighted losses, the metrics, the gradient norm, and
        whether the step is skipped (1.0 or 0.0, on the device) because losses or norm are not finite.
        """
        self._running_statistics.remember()
        losses, metrics = self.step_losses(batch, self.step)
        local_losses = torch.stack(list(losses.values()))
        local_losses.sum().backward()
        if self.network.lora is not None:
            self.network.lora.project_gradients()
        norm = full_tensor(nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optim.clip_norm or math.inf))
        mean_losses = mean_over_ranks(local_losses.detach())
        names = [f"train/{name}" for name in losses]
        skipped = self._guard.record_step(self.step, names, mean_losses, norm)
        if self.optimizer.defaults["fused"]:  # on CPU, CUDA and MPS: the kernel updates nothing if found_inf is 1
            self.optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self._running_statistics.restore(skipped)
        return mean_losses.sum(), metrics, norm, skipped

    def save_if_needed(self) -> None:
        """Save the state of an interrupted run, unless this step has already been saved."""
        if self._saved_step != self.step:
            self.save()
        self._write_saved_event(wait=True)

    def save(self) -> None:
        """Save the complete state after this step."""
        self._write_metrics(wait=True)
        self._log_skipped(self._guard.take_values())
        self.heartbeat.update("saving", self.step, self.total_steps)
        self.events.sync()
        self._write_saved_event(wait=True)  # finish the previous save first
        self._pending_save = self.checkpointing.save(self.progress)
        self._saved_step = self.step
        self._write_saved_event()

    def _write_saved_event(self, wait: bool = False) -> None:
        """Write the event of a checkpoint once the checkpoint is saved. Raises CheckpointError if saving failed."""
        save = self._pending_save
        if save is None or not (wait or save.is_done):
            return
        self._pending_save = None
        name, best = save.result()
        self.events.write(CheckpointSaved(step=save.step, name=name, best=best, network=save.network))

    def check_control(self) -> None:
        """Raise Interrupt if the file ``control`` or a signal requests a stop or a pause."""
        request = self.run_dir.pending_request() if self.team.is_leader else None
        if request is None and self._requests.is_set():
            # A plain threading.Event, which callers may pass, always means stop.
            request = self._requests.request if isinstance(self._requests, Requests) else "stop"
        if self._in_lockstep:
            request = self.team.agree_on_request(request)
        if request is not None:
            raise Interrupt("paused" if request == "pause" else "stopped")

    def _validate_and_save(self) -> None:
        improved = False
        if self.validator.is_due(self.step):
            self._write_metrics(wait=True)
            share_done = self.step / self.total_steps
            score, network_name = self._on_first_rank(lambda: self.validator.validate(self.step, share_done))
            improved = self.progress.record_score(score, network_name)
            self.callbacks.on_validation(self.step, self.validator.values)
        if improved or self.step == self.total_steps or any(self.step % steps == 0 for steps in self._save_intervals):
            self.save()

    def _on_first_rank(self, call: Callable[[], T]) -> T:
        """Return rank 0's result of ``call`` on every rank. If weights are sharded, all ranks run ``call``."""
        if self.team.size == 1:
            return call()
        # FSDP wraps the networks even if their weights are not sharded. In that case only rank 0 runs ``call``, so all
        # weights are gathered before it: gathering within ``call`` would wait for the other ranks.
        # If weights are sharded, all ranks run ``call``, and each block gathers its own weights in ``forward``. Cached
        # decoding of captions bypasses that ``forward``, so for captioning the blocks are gathered before ``call`` too.
        gather_blocks = not self.team.sharded or self.config.objectives.captioning.weight > 0
        with unsharded_parts(self.parts.student, self.teacher, gather_blocks):
            if self.team.sharded:
                result = call()
                return self.team.on_first_rank(lambda: result)
            self._in_lockstep = False
            try:
                return self.team.on_first_rank(call)
            finally:
                self._in_lockstep = True

    def _write_start_event(self) -> None:
        runtime, provenance = self.parts.runtime, dict[str, Any]()
        if self.team.is_leader:
            provenance = collect(
                self.run_dir,
                trainer_folder(),
                data=self.checkpointing.data_contents(),
                seed=self.config.seed,
                code=self.config.runtime.record_code,
            )
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
                parent=parent_of(self.config),
            )
        )

    def _write_metrics(self, wait: bool = False) -> None:
        """Write the metrics that have arrived from the device; ``wait``: wait for all of them."""
        for report in self._reports.take_arrived(wait):
            self._log_skipped(report.collected)
            self.events.write(Metrics(step=report.step, values={**report.values, **self._system.take()}))
            self._status_note = f"loss {report.values['train/loss']:.3f}"

    def _log_skipped(self, collected: LossesAndNorms) -> None:
        """Log the steps whose losses or gradient norm were not finite; too many in a row end the run."""
        for skipped in self._guard.find_skipped(LossesAndNorms(collected.steps, collected.values.cpu())):
            message = f"step {skipped.step} was skipped: {', '.join(skipped.suspects)} not finite"
            self._log(message)
            if skipped.in_a_row >= MAX_SKIPPED_IN_A_ROW:
                rate, precision = self.config.optim.learning_rate, self.parts.runtime.precision
                raise TrainingError(
                    f"{message}, for {skipped.in_a_row} steps in a row. Likely causes: the learning rate, {rate:g} "
                    "(try a third of it); no gradient clipping (set optim.clip_norm to 1); the precision, "
                    f"{precision} (try fp32); or bad images. Copy the config, change it and start a new run; the last "
                    "checkpoint is intact."
                )

    def _out_of_memory_error(self, batch: Batch) -> TrainingError:
        """The error to raise, with the batch size that did not fit and the largest that fits, found by halving."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.team.size > 1:  # sizes cannot be tried, since the other ranks are waiting
            return TrainingError(
                f"out of memory on {self.parts.runtime.describe()} at step {self.step} with {len(batch.rows)} pairs on "
                f"each of {self.team.size} ranks; set optim.micro_batch to {max(1, len(batch.rows) // 2)} or less "
                "(optim.batch_size can stay as it is), start more processes, or choose a smaller architecture."
            )

        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        without_state = [p for p in parameters if "exp_avg_sq" not in self.optimizer.state.get(p, {})]

        def attempt(size: int) -> None:
            # Takes the memory of two moments per parameter, which the optimiser allocates in its first step.
            moments = [torch.empty_like(p) for p in without_state for _ in range(2)]
            losses, _ = self.step_losses(batch.first(size), self.step)
            torch.stack(list(losses.values())).sum().backward()
            self.optimizer.zero_grad(set_to_none=True)
            del moments

        rows = largest_that_fits(attempt, len(batch.rows))
        batch_size = self.config.optim.batch_size
        size = rows * batch_size // len(batch.rows)  # ``rows`` includes unlabelled rows, optim.batch_size does not
        remedy = f"{size} fits: set optim.batch_size to {size}" if size else "not even one pair fits"
        if size and not self.config.optim.micro_batch:
            remedy += f", or set optim.micro_batch to {rows} and leave optim.batch_size unchanged"
        return TrainingError(
            f"out of memory on {self.parts.runtime.describe()} at step {self.step} with optim.batch_size "
            f"{batch_size}; {remedy}, or choose a smaller architecture."
        )

    def _report_progress(self, activity: str, finished: int, total: int) -> None:
        """Report the progress of long work, and raise Interrupt if a stop or a pause is requested."""
        self.heartbeat.update_substep(activity, finished, total)
        self.check_control()

    def _log(self, message: str) -> None:
        self.events.write(Log(level="warning", message=message))
