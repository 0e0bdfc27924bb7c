"""Classification of labelled rows by a linear head on the image's features.

Flow: the loader gives each row its class, ``NONE`` without one; ``Classification`` keeps the logits of each view in
``extra["classification"]``, where consistency and the distillation of classes find them too.

Legend: B batch, C classes, Wi width of the image tower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data.batch import Batch, Mix
from core.data.labelling import NONE
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require_head
from core.ranks.collectives import divisor, divisor_of
from core.spec.config import ClassificationConfig

NAME = "classification"


@dataclass(frozen=True)
class ClassLogits:
    """One network's logits of the classes."""

    views: tuple[Tensor, ...]  # (B, C) of the clean view, then of the further ones
    labels: Tensor  # (B,) int64, NONE for rows without

    @property
    def distilled(self) -> tuple[Tensor, ...]:
        """Of the further views; of the clean one where there are none."""
        return self.views[1:] or self.views


@dataclass(frozen=True)
class Interpolated:
    """Labelled rows that another objective has interpolated: they are classified in place of the clean ones."""

    logits: Tensor  # (B', C)
    targets: Tensor  # (B', C) distributions


@dataclass(frozen=True)
class LabelledElsewhere:
    """Outputs of an objective that interpolates the labelled rows itself; Classification learns from these instead."""

    labelled: Interpolated


class Classification(Objective):
    """Cross-entropy of the labelled rows.

    Where a view is interpolated with share a and partner r, the label is too (mixup, Zhang et al. 2018, equation 1):

        loss_i = a CE(y_i) + (1 - a) CE(y_r(i))

    A label that is missing leaves its part out; the sum is divided by the shares that are there.
    """

    name = NAME
    config_class = ClassificationConfig

    def __init__(self, config: ClassificationConfig) -> None:
        super().__init__(config)
        self.view = config.view

    def build_head(self, network: Network) -> nn.Module:
        if not network.classes:
            raise ModelError("objectives.classification needs classes; name their column in data.label.")
        return nn.Linear(network.towers.image_width, len(network.classes))

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> ClassLogits:
        if batch.labels is None:
            raise ValueError("classification needs labels, and the batch has none")
        head = network.heads[NAME]
        return ClassLogits(tuple(head(one.before_projection) for one in output.image_features), batch.labels)

    def teacher_head_outputs(self, network: Network, batch: Batch, output: Output) -> ClassLogits | None:
        """None of a trained teacher without classes; objectives that need them check for a teacher that has them."""
        return self.head_outputs(network, batch, output) if NAME in network.heads else None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        answer: ClassLogits = student.extra[NAME]
        labels = answer.labels
        labelled = labels != NONE
        given = [one.labelled for one in student.extra.values() if isinstance(one, LabelledElsewhere)]
        with torch.autocast(labels.device.type, enabled=False):
            if given:
                loss = soft_cross_entropy(given[0].logits.float(), given[0].targets)
            else:
                views = self._views(student, answer)
                loss = torch.stack([label_loss(logits.float(), labels, mix) for logits, mix in views]).mean()
            right = (answer.views[0].argmax(dim=-1) == labels) & labelled
        return loss, {"diag/labelled_right": right.sum() / divisor(labelled.sum())}

    def _views(self, student: Output, answer: ClassLogits) -> list[tuple[Tensor, Mix | None]]:
        if self.view == "clean":
            return [(answer.views[0], student.clean.mix)]
        return list(zip(answer.distilled, (view.mix for view in student.distilled), strict=True))


def class_answers(output: Output) -> ClassLogits:
    """The logits that ``Classification`` kept in ``output``."""
    answers: ClassLogits = output.extra[NAME]
    return answers


def check_classes(student: Network, teacher: Network) -> None:
    """Raise ModelError when the trained ``teacher`` does not classify, or has other classes."""
    require_head(NAME, student, teacher)
    if student.classes != teacher.classes:
        raise ModelError(
            f"the teacher has other classes ({_some(teacher.classes)}) than data.label "
            f"({_some(student.classes)}); choose a teacher that was trained on these."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def label_loss(logits: Tensor, labels: Tensor, mix: Mix | None) -> Tensor:
    """Mean cross-entropy of ``logits`` (B, C) where ``labels`` (B,) are known, interpolated by ``mix``."""
    parts = [(labels, 1.0)] if mix is None else [(labels, mix.share), (mix.partners(labels), 1.0 - mix.share)]
    total = logits.sum() * 0.0
    weight = logits.new_zeros(())
    for wanted, share in parts:
        total = total + share * F.cross_entropy(logits, wanted, ignore_index=NONE, reduction="sum")
        weight = weight + share * (wanted != NONE).sum()
    return total / divisor(weight, 1e-6)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the rows of ``logits`` (n, C) under ``targets`` (n, C); 0 without rows."""
    return -(targets * logits.log_softmax(dim=-1)).sum() / divisor_of(len(logits), logits.device)


def class_logits(network: Network, images: Tensor) -> Tensor:
    """uint8 images (B, 3, S, S) to logits over ``network.classes``, (B, C) float32.

    Raises ModelError when the network was not trained to classify.
    """
    if NAME not in network.heads:
        raise ModelError("this network was not trained to classify; give objectives.classification a weight.")
    features = network.towers.encode_image(network.towers.normalise(images)).before_projection
    logits: Tensor = network.heads[NAME](features).float()
    return logits
