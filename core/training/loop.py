"""The loop itself: batches in; steps, validations and checkpoints out.

Flow: ``core.training.train`` opens the run folder and records how it ended; **loop** trains. A step reads like the
method: the teacher makes targets, the student answers, the objectives compare, the optimiser moves the student, the
teacher follows.
"""

from __future__ import annotations

import math
import threading
import traceback
from contextlib import closing

import torch
from torch import Tensor, nn

from core.checkpoint import files as checkpoint
from core.checkpoint.state import optimizer_tensors, restore_optimizer, restore_rng, rng_tensors
from core.data.batch import Batch
from core.data.dataset import PairDataset
from core.inference.encoder import Features
from core.model.network import Network
from core.model.runtime import is_out_of_memory
from core.model.towers.freezing import depths
from core.objectives.weighting.belief import Belief
from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.run.events import CheckpointSaved, Evaluated, EventWriter, Log, Metrics, Outcome, RunStarted, Sample
from core.spec.run.folder import RunDir
from core.training.accumulation import departs
from core.training.assembly import Assembly, assemble
from core.training.caption_validation import caption_losses, caption_sample
from core.training.memory import largest_fitting
from core.training.progress import Heartbeat, Pace
from core.training.schedules import build_optimizer, build_schedules, set_rates
from core.training.step_guard import StepGuard, numbers
from core.training.train_step import TrainStep
from core.training.validation import best_score, retrieval_sample, validate


class TrainingError(UserError):
    """A run that cannot go on; the message says at which step, why and what to change."""


class Interrupt(Exception):
    """The person asked to stop or pause, through ``control`` or a signal."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Loop:
    """A run in training: everything that a step needs, and what is saved of it."""

    def __init__(
        self, config: RunConfig, run: RunDir, events: EventWriter, heartbeat: Heartbeat, asked: threading.Event
    ) -> None:
        self.config, self.run_dir, self.events, self.heartbeat, self._asked = config, run, events, heartbeat, asked
        self.step = 0
        self.best: float | None = None
        self._score: float | None = None
        self._leader = ""  # the network that the score is of
        self._guard = StepGuard()
        self.parts: Assembly = assemble(config, self._part, self._log)
        self.network, self.teacher = self.parts.network, self.parts.teacher
        self.belief = self._build_belief()
        self.optimizer = build_optimizer(config.optim, self.network, depths(self.network))
        self.total_steps = self.parts.loader.total_steps
        self.schedules = build_schedules(config, self.total_steps)
        self.losses = TrainStep(config, self.parts, self.schedules, self.belief)
        per_epoch = self.parts.loader.steps_per_epoch
        self.validate_every = config.validation.every_steps or per_epoch
        self.save_every = config.checkpoint.every_steps or per_epoch
        if warning := departs(self.network, config.optim.micro_batch, config.optim.batch_size):
            self._log(warning)
        self._resume()

    def run(self) -> None:
        """Train from here to the end, validate and save on the way.

        Raises Interrupt when asked to, TrainingError when the losses are not numbers or memory runs out.
        """
        runtime = self.parts.runtime
        self.events.write(
            RunStarted(
                step=self.step,
                total_steps=self.total_steps,
                config_digest=self.config.digest(),
                device=runtime.describe(),
                precision=runtime.precision,
                pairs=len(self.parts.train),
                parameters=sum(p.numel() for p in self.network.parameters()),
            )
        )
        if self.step and self._score is None and self._validation_due():  # it was stopped before that was done
            self._validate_and_save()
        pace, note = Pace(), ""
        with closing(self.parts.loader.batches(self.step, self.total_steps)) as batches:
            for batch in batches:
                self.look_at_control()
                report = self.train_step(batch)
                if self.step % self.config.runtime.log_every == 0 or self.step == self.total_steps:
                    self._report_skipped()
                    values = numbers(report)
                    self.events.write(Metrics(step=self.step, values=values | pace.report(len(batch.rows))))
                    note = f"loss {values['train/loss']:.3f}"
                else:
                    pace.step(len(batch.rows))
                self.heartbeat.update("training", self.step, self.total_steps, note)
                self._validate_and_save()
                pace.begin()
        self._test()

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        """One optimiser step on ``batch``; what is to be reported of it, not read from the device yet."""
        self.step += 1
        self._score, self._leader = None, ""
        rate, decay, momentum = (float(values[self.step]) for values in self.schedules.rates)
        set_rates(self.optimizer, rate, decay)
        try:
            batch = self.parts.to_device(batch)
            total, report, norm = self._gradient(batch)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                traceback.clear_frames(error.__traceback__)  # with them goes all that the failed step had computed
                raise self._out_of_memory(batch) from error
            raise
        self.optimizer.step()
        self.network.clamp_logit_scale()
        if self.teacher is not None:
            self.teacher.update(self.network, momentum)
            report["diag/teacher_momentum"] = torch.tensor(momentum)
        report |= self._refresh_belief()
        self.optimizer.zero_grad(set_to_none=True)
        lr = torch.tensor(rate, dtype=torch.float64)
        return {"train/loss": total, **report, "train/lr": lr, "train/grad_norm": norm}

    def _gradient(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Give every parameter its gradient, clipped; the weighted loss, what is reported, the gradient's norm.

        Where losses or norm are not finite, the optimiser will leave the student as it is.
        """
        losses, report = self.losses(batch, self.step)
        weighted = torch.stack(list(losses.values()))
        total = weighted.sum()
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optim.clip_norm or math.inf)
        names = [f"train/{name}" for name in losses]
        self.optimizer.found_inf = self._guard.unsound(self.step, names, weighted, norm)  # type: ignore[attr-defined]
        return total.detach(), report, norm

    def _build_belief(self) -> Belief | None:
        config = self.config.belief
        if config.action == "none":
            return None
        taught = self.teacher is not None
        belief = Belief(config, len(self.parts.train), self.network.towers.embed_dim, taught)
        return belief.to(self.parts.runtime.device)

    def _refresh_belief(self) -> dict[str, Tensor]:
        every = max(1, round(self.config.belief.refresh * self.parts.loader.steps_per_epoch))
        if self.belief is None or self.step % every:
            return {}
        return self.belief.refresh(float(self.network.logit_scale.detach()), self.schedules.progress(self.step))

    def _report_skipped(self) -> None:
        """Log each step that was skipped since the last report; too many in a row end the run."""
        for skipped in self._guard.skipped():
            what = f"step {skipped.step} was skipped: {', '.join(skipped.suspects)} not finite"
            self._log(what)
            if skipped.in_a_row >= self.config.runtime.nonfinite_limit:
                rate, precision = self.config.optim.learning_rate, self.parts.runtime.precision
                raise TrainingError(
                    f"{what}, for {skipped.in_a_row} steps in a row. Suspects: learning rate {rate:g} (try a third), "
                    f"no gradient clipping (set optim.clip_norm to 1), precision {precision} (try fp32), or bad "
                    "pictures. Change a copy of the definition and start anew; the last checkpoint is good."
                )

    def _out_of_memory(self, batch: Batch) -> TrainingError:
        """What to say: the batch size that did not fit, and the largest half of it that does."""
        self.optimizer.zero_grad(set_to_none=True)

        def attempt(size: int) -> None:
            losses, _ = self.losses(batch.first(size), self.step)
            torch.stack(list(losses.values())).sum().backward()
            self.optimizer.zero_grad(set_to_none=True)

        size = largest_fitting(attempt, len(batch.rows))
        remedy = f"{size} fits: set optim.batch_size to {size}" if size else "not even one pair fits"
        if size and not self.config.optim.micro_batch:
            remedy += f", or optim.micro_batch to {size} and keep the batch"
        return TrainingError(
            f"out of memory on {self.parts.runtime.describe()} at step {self.step} with optim.batch_size "
            f"{len(batch.rows)}; {remedy}, or choose a smaller architecture."
        )

    def _validate_and_save(self) -> None:
        last = self.step == self.total_steps
        improved = self._validation_due() and self._validate()
        if last or improved or self.step % self.save_every == 0:
            self.save()

    def _validation_due(self) -> bool:
        last = self.step == self.total_steps
        return self.parts.val is not None and (last or self.step % self.validate_every == 0)

    def _validate(self) -> bool:
        """Judge student and teacher on the validation data; returns whether the run was never better."""
        assert self.parts.val is not None
        values, features = self._judge(self.parts.val, "val")
        self.events.write(Evaluated(step=self.step, values=values))
        self.events.write(Sample(step=self.step, what="retrieval", content=retrieval_sample(self.parts.val, features)))
        if self.config.objectives.captioning.weight > 0:
            written = caption_sample(self._judged(), self.parts.val, self.parts.runtime)
            self.events.write(Sample(step=self.step, what="captions", content=written))
        self._score, self._leader = best_score(values, self.config.objectives, self.schedules.progress(self.step))
        improved = self.best is None or self._score > self.best
        if improved:
            self.best = self._score
        return improved

    def _test(self) -> None:
        if self.parts.test is not None:
            values, _ = self._judge(self.parts.test, "test")
            self.events.write(Evaluated(step=self.step, values=values))

    def _judge(self, dataset: PairDataset, split: str) -> tuple[dict[str, float], dict[str, Features]]:
        networks, runtime, batch = self._judged(), self.parts.runtime, self.config.validation.batch_size
        values, features = validate(networks, dataset, runtime, split, batch, self._part, self.config.data.label)
        captioning = self.config.objectives.captioning
        if captioning.weight > 0:
            values |= caption_losses(networks, dataset, runtime, split, batch, self._part, captioning.through)
        return values, features

    def _judged(self) -> dict[str, Network]:
        """Whom validation judges; a teacher that stands still was judged when it was trained."""
        moves = self.teacher is not None and self.teacher.moves
        return {"student": self.network} | ({"teacher": self.teacher.network} if self.teacher and moves else {})

    def save(self) -> None:
        """Save the whole state after this step."""
        self._report_skipped()
        self.heartbeat.update("saving", self.step, self.total_steps)
        buffers = {f"objectives.{key}": value for key, value in self.parts.objectives.state_dict().items()}
        if self.belief is not None:
            buffers |= {f"belief.{key}": value for key, value in self.belief.state_dict().items()}
        state = {**optimizer_tensors(self.optimizer, self.network), **buffers, **rng_tensors()}
        tensors = checkpoint.CheckpointState(
            student=self.network.state_dict(),
            teacher=self.teacher.state_dict() if self.teacher is not None else {},
            state=state,
        )
        info = checkpoint.CheckpointInfo(
            step=self.step,
            total_steps=self.total_steps,
            config=self.config.model_dump(mode="json"),
            model=self.parts.model_cfg,
            score=self._score,
            network=self._leader,
            best_score=self.best,
            classes=self.network.classes,
        )
        self.events.sync()
        name, best = checkpoint.save(self.run_dir, info, tensors, self.config.checkpoint.keep)
        self.events.write(CheckpointSaved(step=self.step, name=name, best=best, network=self._leader))

    def _resume(self) -> None:
        found = checkpoint.newest_whole(self.run_dir, self.parts.runtime.device)
        if found is None:
            return
        info, tensors = found
        if info.total_steps != self.total_steps:
            raise TrainingError(
                f"{self.run_dir.path} was planned for {info.total_steps} steps and its data now make "
                f"{self.total_steps}; the training data {self.config.data.train} changed. Restore them, or start anew."
            )
        origin = f"the checkpoint of step {info.step} in {self.run_dir.path}"
        checkpoint.fill(self.network.load_state_dict, tensors.student, origin)
        if self.teacher is not None:
            checkpoint.fill(self.teacher.load_state_dict, tensors.teacher, origin)
        restore_optimizer(self.optimizer, self.network, tensors.state)
        checkpoint.fill(self.parts.objectives.load_buffers, tensors.under("objectives."), origin)
        if self.belief is not None:
            checkpoint.fill(self.belief.load_state_dict, tensors.under("belief."), origin)
        restore_rng(tensors.state)
        self.step, self.best, self._score, self._leader = info.step, info.best_score, info.score, info.network

    def look_at_control(self) -> None:
        """Raise Interrupt when ``control`` or a signal asks for it."""
        what = self.run_dir.asked()
        if what == "pause":
            raise Interrupt("paused")
        if what == "stop" or self._asked.is_set():
            raise Interrupt("stopped")

    def _part(self, doing: str, done: int, total: int) -> None:
        """Progress inside a long piece of work, which may be interrupted too."""
        self.heartbeat.part(doing, done, total)
        self.look_at_control()

    def _log(self, message: str) -> None:
        self.events.write(Log(level="warning", message=message))
