"""Classification of labelled rows with a linear head on image features.

Flow: the loader provides the class of each row, or ``NO_CLASS``; ``Classification`` stores the logits of each view in
``extra["classification"]``, which consistency and class distillation also read.

Legend: B batch, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.batch import Batch, Mix
from core.data.labelling import NO_CLASS
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require_head
from core.ranks.collectives import global_count_per_rank, global_count_per_rank_of
from core.spec.config import ClassificationConfig

HEAD_NAME = "classification"


@dataclass(frozen=True)
class ClassLogits:
    """The class logits of one network."""

    views: tuple[Tensor, ...]  # (B, C) for the clean view, then for additional views
    labels: Tensor  # (B,) int64, NO_CLASS if unlabelled

    @property
    def distilled(self) -> tuple[Tensor, ...]:
        """The logits of the additional views, or of the clean view if there are none."""
        return self.views[1:] or self.views


@dataclass(frozen=True)
class InterpolatedRows:
    """Logits and soft targets of interpolated rows."""

    logits: Tensor  # (B', C)
    targets: Tensor  # (B', C) distributions


@dataclass(frozen=True)
class InterpolatedLabels:
    """Outputs of an objective that interpolates labelled rows, for which ``Classification`` then computes its loss."""

    labelled: InterpolatedRows


class Classification(Objective):
    """Cross-entropy of the labelled rows.

    If a view is interpolated with share a and partner r, the label is interpolated too (mixup, Zhang et al. 2018,
    equation 1):

        loss_i = a CE(y_i) + (1 - a) CE(y_r(i))

    Terms without a label are skipped; the sum is divided by the sum of the remaining shares.
    """

    name = HEAD_NAME
    config_class = ClassificationConfig

    def __init__(self, config: ClassificationConfig) -> None:
        super().__init__(config)
        self.view = config.view

    def build_head(self, network: Network) -> nn.Module:
        if not network.classes:
            raise ModelError("objectives.classification needs labels; set data.label to the column of the labels.")
        return nn.Linear(network.towers.image_width, len(network.classes))

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> ClassLogits:
        if batch.labels is None:
            raise ValueError("classification needs labels, but the batch has none")
        head = network.heads[HEAD_NAME]
        return ClassLogits(tuple(head(features.before_projection) for features in output.image_features), batch.labels)

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> ClassLogits | None:
        """The teacher's class logits; None if it has no classification head, which objectives check if they need it."""
        return self.head_outputs(network, batch, output) if HEAD_NAME in network.heads else None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        predicted: ClassLogits = student.extra[HEAD_NAME]
        labels = predicted.labels
        is_labelled = labels != NO_CLASS
        interpolated = [extra.labelled for extra in student.extra.values() if isinstance(extra, InterpolatedLabels)]
        with torch.autocast(labels.device.type, enabled=False):
            if interpolated:
                loss = soft_cross_entropy(interpolated[0].logits.float(), interpolated[0].targets)
            else:
                losses = [label_loss(logits.float(), labels, mix) for logits, mix in self._views(student, predicted)]
                loss = torch.stack(losses).mean()
            is_correct = (predicted.views[0].argmax(dim=-1) == labels) & is_labelled
        return loss, {"diag/labelled_accuracy": is_correct.sum() / global_count_per_rank(is_labelled.sum())}

    def _views(self, student: Output, predicted: ClassLogits) -> list[tuple[Tensor, Mix | None]]:
        """The logits and the interpolation of each view that contributes to the loss."""
        if self.view == "clean":
            return [(predicted.views[0], student.clean.mix)]
        return list(zip(predicted.distilled, (view.mix for view in student.distilled), strict=True))


def stored_logits(output: Output) -> ClassLogits:
    """The logits that ``Classification`` stored in ``output``."""
    logits: ClassLogits = output.extra[HEAD_NAME]
    return logits


def check_classes(student: Network, teacher: Network) -> None:
    """Raise ModelError if the trained ``teacher`` does not classify, or has different classes."""
    require_head(HEAD_NAME, student, teacher)
    if student.classes != teacher.classes:
        raise ModelError(
            f"the classes of the teacher ({_excerpt_names(teacher.classes)}) differ from data.label "
            f"({_excerpt_names(student.classes)}); choose a teacher that was trained on the same classes."
        )


def _excerpt_names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def label_loss(logits: Tensor, labels: Tensor, mix: Mix | None) -> Tensor:
    """Mean cross-entropy of the labelled rows of ``logits`` (B, C) with ``labels`` (B,), interpolated by ``mix``."""
    parts = [(labels, 1.0)] if mix is None else [(labels, mix.share), (mix.partners(labels), 1.0 - mix.share)]
    total = logits.sum() * 0.0  # has a gradient even if no row has a label
    weight = logits.new_zeros(())
    for part_labels, share in parts:
        total = total + share * F.cross_entropy(logits, part_labels, ignore_index=NO_CLASS, reduction="sum")
        weight = weight + share * (part_labels != NO_CLASS).sum()
    return total / global_count_per_rank(weight, minimum=1e-6)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of ``logits`` (n, C) and the distributions ``targets`` (n, C); 0 if n is 0."""
    return -(targets * logits.log_softmax(dim=-1)).sum() / global_count_per_rank_of(len(logits), logits.device)


def class_logits(network: Network, images: Tensor) -> Tensor:
    """Logits (B, C) float32 over ``network.classes`` for uint8 ``images`` (B, 3, S, S).

    Raises ModelError if the network was not trained to classify.
    """
    if HEAD_NAME not in network.heads:
        raise ModelError(
            "this network was not trained to classify; train it with objectives.classification.weight above 0."
        )
    features = network.towers.encode_image(network.towers.normalise(images)).before_projection
    logits: Tensor = network.heads[HEAD_NAME](features).float()
    return logits
