"""Self-distillation of prototypes: the student matches the teacher's softmax over learnt prototypes.

Legend: B batch, K prototypes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.data.batch import Batch
from core.model.errors import ModelError
from core.model.heads import PROTOTYPES, PrototypeHead
from core.model.network import Network, PrototypesOn
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require, require_head
from core.objectives.parts.centring import Centring
from core.objectives.parts.probabilities import cross_entropy, entropy
from core.objectives.parts.schedule import ObjectiveValues
from core.ranks.collectives import mean_over_ranks
from core.spec.config import DistillPrototypesConfig


class DistillPrototypes(Objective):
    """Match the teacher's softmax over learnt prototypes (DINO, Caron et al. 2021, section 3.1).

    With the teacher's logits t, the student's logits s, temperatures u and v, and the centre c,

        q = softmax((t - c) / u),  p = softmax(s / v),  loss = H(q, p) = - sum_k q_k log p_k

    averaged over all pairs of a teacher view and a student view of different crops (of the same crop if there is only
    one). If the student's view is interpolated, q is interpolated too. Centring and sharpening balance each other:
    centring alone would make q uniform, and a small u alone would put q on one prototype. Alternatively, Sinkhorn's
    algorithm computes q.

    On fused+image the loss is the sum of both losses, each with a separate head, prototypes and centre.
    """

    name = "distill_prototypes"
    config_class = DistillPrototypesConfig
    needs_prototypes = True

    def __init__(self, config: DistillPrototypesConfig) -> None:
        super().__init__(config)
        self.on = config.on
        self.student_temperature = config.student_temperature
        self.prototypes = config.prototypes
        self.targets = Centring(config.prototypes, config.centering)
        self.image_targets = Centring(config.prototypes, config.centering) if config.on == "fused+image" else None

    def build_shared_head(self, network: Network) -> None:
        """The network's prototypes; masked patches may share them."""
        on: PrototypesOn = "fused" if self.on == "fused+image" else self.on
        if on == "fused" and network.fusion is None:
            raise ModelError(
                f"objectives.distill_prototypes.on is {self.on}, but the network has no fusion; set fusion.kind."
            )
        widths = {"image": network.towers.image_width, "text": network.towers.text_width}
        width = network.fused_width if on == "fused" else widths[on]
        network.heads[PROTOTYPES] = PrototypeHead(width, self.prototypes)
        network.prototypes_on = on

    def build_head(self, network: Network) -> nn.Module | None:
        """The image head on fused+image; the shared prototypes are then applied to the fused representation."""
        return None if self.image_targets is None else PrototypeHead(network.towers.image_width, self.prototypes)

    def begin_step(self, network: Network, values: ObjectiveValues) -> None:
        super().begin_step(network, values)
        for name in (PROTOTYPES, self.name):
            head = network.head(name)
            if isinstance(head, PrototypeHead):
                head.frozen = values.frozen

    def check_teacher(self, student: Network, teacher: Network) -> None:
        ours, theirs = student.prototypes, teacher.prototypes
        if ours is None or theirs is None or len(theirs.prototypes) != len(ours.prototypes):
            raise ModelError(
                "the teacher does not have the student's prototypes; set objectives.distill_prototypes.weight to 0, or "
                "choose a run with the same number of prototypes as teacher."
            )
        require_head(self.name, student, teacher)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> tuple[Tensor, ...] | None:
        """On fused+image, the image head's prototype logits, (B, K) per distilled view; otherwise None."""
        if self.image_targets is None:
            return None
        images = torch.cat([features.before_projection for features in output.distilled_features])
        return tuple(network.heads[self.name](images).chunk(len(output.distilled)))

    teacher_head_outputs = head_outputs

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        with torch.autocast(student.text.device.type, enabled=False):
            loss, report = self._compare(student, teacher, _prototypes(student), _prototypes(teacher), self.targets)
            if self.image_targets is not None:
                ours, theirs = student.extra[self.name], teacher.extra[self.name]
                image_loss, image_report = self._compare(student, teacher, ours, theirs, self.image_targets)
                loss = loss + image_loss
                report |= {name.replace("diag/", "diag/image_"): value for name, value in image_report.items()}
        return loss, report

    def _compare(
        self,
        student: Output,
        teacher: Output,
        student_logits: Sequence[Tensor],
        teacher_logits: Sequence[Tensor],
        centring: Centring,
    ) -> tuple[Tensor, Report]:
        """The loss between the student's and the teacher's logits (B, K) of each view."""
        logits = torch.cat(list(teacher_logits))  # (views B, K)
        targets = centring(logits, self.step_values.teacher_temperature).chunk(len(teacher_logits))
        losses, entropies = [], []
        for student_view, teacher_view in view_pairs(student, teacher):
            mix = None if self.on == "text" else student.distilled[student_view].mix  # captions are never interpolated
            target = targets[teacher_view] if mix is None else mix.blend(targets[teacher_view])
            losses.append(cross_entropy(target, student_logits[student_view] / self.student_temperature))
            entropies.append(entropy(target))
        loss = torch.stack(losses).mean()
        all_targets = torch.cat(list(targets))
        report = {
            "diag/teacher_entropy_over_ln_prototypes": entropy(all_targets) / math.log(all_targets.shape[1]),
            "diag/batch_entropy_over_ln_prototypes": entropy(mean_over_ranks(all_targets.mean(dim=0))[None])
            / math.log(all_targets.shape[1]),
            "diag/prototype_kl": loss.detach() - torch.stack(entropies).mean(),
            "diag/centre_norm": torch.linalg.vector_norm(centring.centre),
            "diag/teacher_temperature": torch.tensor(self.step_values.teacher_temperature),
        }
        if self.training:
            centring.update(logits)
        return loss, report


def view_pairs(student: Output, teacher: Output) -> list[tuple[int, int]]:
    """Indices of the student and teacher views to compare: views of different crops, or all if there is one crop."""
    pairs = [(i, j) for i in range(len(student.distilled)) for j in range(len(teacher.distilled))]
    across_crops = [(i, j) for i, j in pairs if student.distilled[i].number != teacher.distilled[j].number]
    return across_crops or pairs


def _prototypes(output: Output) -> list[Tensor]:
    """The prototype logits of each distilled view, (B, K) float32."""
    logits = [view.prototypes.float() for view in output.distilled if view.prototypes is not None]
    if len(logits) < len(output.distilled):
        raise ValueError("distill_prototypes needs prototypes, but the network was built without them")
    return logits
