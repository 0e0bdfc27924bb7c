"""Validation during training: student and teacher on validation data, and the samples that the window shows.

Flow: the loop calls ``validate`` if a validation is due -> ``core.training.validation`` and
``core.training.caption_validation`` compute metrics -> ``evaluated`` and ``sample`` events; the returned score decides
which checkpoint is the best.
"""

from __future__ import annotations

from contextlib import nullcontext

from core.data.dataset import PairDataset
from core.inference.encoder import Features
from core.metrics.inputs import full_precision
from core.model.network import Network
from core.model.runtime import Runtime
from core.spec.config import RunConfig
from core.spec.reporter import Progress
from core.spec.run.events import Evaluated, EventWriter, Sample
from core.training.assembly import Assembly
from core.training.caption_validation import caption_losses, caption_sample
from core.training.validation import best_score, retrieval_sample, validate


class Validator:
    """Evaluates the networks of a run on its validation and test data."""

    def __init__(self, config: RunConfig, parts: Assembly, events: EventWriter, progress: Progress) -> None:
        self._config, self._parts, self._events, self._progress = config, parts, events, progress
        # Validation computes in fp32, like the command `evaluate`; but sharded blocks compute in the run's precision.
        self._is_sharded = config.runtime.shard > 1
        self._runtime = parts.runtime if self._is_sharded else Runtime(parts.runtime.device, "fp32")
        self._every = config.validation.every_steps or parts.loader.steps_per_epoch
        self.values: dict[str, float] = {}  # the metrics of the last validation
        self._initial: dict[str, float] = {}  # metrics of the initial network on validation and retained data

    def is_due(self, step: int) -> bool:
        """Whether the networks are validated after ``step``."""
        is_final = step == self._parts.loader.total_steps
        has_data = self._parts.val is not None or bool(self._parts.retain)
        return has_data and (is_final or step % self._every == 0)

    def measure_initial(self) -> dict[str, float]:
        """Evaluate the student before the first step, as the reference for retention."""
        self._initial = self._retention_metrics(0) | (
            self.evaluate(self._parts.val, "val", 0)[0] if self._parts.val else {}
        )
        return self._initial

    def write_initial(self) -> None:
        """Write the metrics of ``measure_initial`` as an event of step 0."""
        if self._initial:
            self._events.write(Evaluated(step=0, values=self._initial))

    def _retention_metrics(self, step: int) -> dict[str, float]:
        """Metrics named ``retain/<name>/<student|teacher>/...`` of each retained data set."""
        values: dict[str, float] = {}
        for name, dataset in self._parts.retain.items():
            values |= self.evaluate(dataset, f"retain/{name}", step)[0]
        return values

    def validate(self, step: int, share_done: float) -> tuple[float, str]:
        """Evaluate validation and retained data, and write the events; returns the best score and its network.

        ``share_done`` (0 to 1) is the completed share of training, which is the score if no metric can decide.
        """
        dataset = self._parts.val
        values: dict[str, float] = {}
        features: dict[str, Features] = {}
        if dataset is not None:
            values, features = self.evaluate(dataset, "val", step)
        values |= self._retention_metrics(step)
        self.values = values
        self._events.write(Evaluated(step=step, values=values))
        if dataset is not None:
            self._events.write(Sample(step=step, what="retrieval", content=retrieval_sample(dataset, features)))
        if dataset is not None and self._config.objectives.captioning.weight > 0:
            captions = caption_sample(self._networks(), dataset, self._runtime)
            self._events.write(Sample(step=step, what="captions", content=captions))
        keep = self._config.checkpoint.keep_retained
        return best_score(values, self._config.objectives, share_done, keep, self._initial)

    def test(self, step: int) -> None:
        """Evaluate on the test data and write the event; does nothing if the run has no test data."""
        if self._parts.test is not None:
            values, _ = self.evaluate(self._parts.test, "test", step)
            self._events.write(Evaluated(step=step, values=values))

    def evaluate(self, dataset: PairDataset, split: str, step: int) -> tuple[dict[str, float], dict[str, Features]]:
        """The metrics of student and teacher on ``dataset``, named after ``split``; and the features of both."""
        networks, runtime, batch = self._networks(), self._runtime, self._config.validation.batch_size
        with nullcontext() if self._is_sharded else full_precision(runtime.device):  # without TF32
            values, features = validate(
                networks, dataset, runtime, split, batch, self._progress, self._config.data.label
            )
            captioning = self._config.objectives.captioning
            if captioning.weight > 0:
                through = captioning.through
                values |= caption_losses(networks, dataset, runtime, split, batch, self._progress, through)
            return values, features

    def _networks(self) -> dict[str, Network]:
        """The student, and a teacher that follows it. A frozen teacher was evaluated when it was trained."""
        student, teacher = self._parts.network, self._parts.teacher
        return {"student": student} | ({"teacher": teacher.network} if teacher is not None and teacher.moves else {})
