"""Self-distillation of prototypes: the student matches the teacher's softmax over learnt prototypes.

Legend: B batch, K prototypes, D width of a representation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from core.config import DistillPrototypesConfig
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.centring import Sharpener
from core.objectives.objective import Objective, Report, require
from core.objectives.probabilities import cross_entropy, entropy

_TINY = 1e-8


class DistillPrototypes(Objective):
    """Match the teacher's softmax over learnt prototypes (DINO, Caron et al. 2021, section 3.1).

    With the teacher's logits t, the student's s, temperatures u and v and the centre c,

        q = softmax((t - c) / u),  p = softmax(s / v),  loss = H(q, p) = - sum_k q_k log p_k

    averaged over all pairs of a teacher's view and a student's other view: a view is not distilled from itself, unless
    there is no other. Where the student's view is interpolated, so is q. Centring and sharpening hold each other back:
    the centre alone would drive q to uniform, a small u alone to one prototype. Or q comes from Sinkhorn's algorithm.

    KoLeo (Sablayrolles et al. 2019) adds ``- mean_i log min_j |x_i - x_j|`` over the unit vectors x of the student's
    whole views that the head reads.
    """

    name = "distill_prototypes"

    def __init__(self, config: DistillPrototypesConfig) -> None:
        super().__init__(config)
        self.on, self.koleo, self.freeze_last = config.on, config.koleo, config.freeze_last
        self.student_temperature = config.student_temperature
        self.targets = Sharpener(config, config.prototypes)

    @property
    def centre(self) -> Tensor:
        """(K,) the moving mean of the teacher's logits."""
        return self.targets.centre

    def begin_step(self, network: Network, progress: float) -> None:
        super().begin_step(network, progress)
        if network.head is not None:
            network.head.frozen = progress <= self.freeze_last and self.freeze_last > 0

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        teacher = require(teacher, self.name)
        taught = [_prototypes(teacher, index) for index in range(len(teacher.distilled))]
        logits = torch.cat(taught)  # (views B, K)
        with torch.autocast(logits.device.type, enabled=False):
            targets = self.targets(logits, self.progress).chunk(len(taught))
            losses, entropies = [], []
            for ours, theirs in view_pairs(student, teacher):
                mix = student.distilled[ours].mix
                wanted = targets[theirs] if mix is None else mix.blend(targets[theirs])
                losses.append(cross_entropy(wanted, _prototypes(student, ours) / self.student_temperature))
                entropies.append(entropy(wanted))
            loss = torch.stack(losses).mean()
            whole = torch.cat(list(targets))
            report = {
                "diag/teacher_entropy_over_ln_prototypes": entropy(whole) / math.log(whole.shape[1]),
                "diag/batch_entropy_over_ln_prototypes": entropy(whole.mean(dim=0)[None]) / math.log(whole.shape[1]),
                "diag/prototype_kl": loss.detach() - torch.stack(entropies).mean(),
                "diag/centre_norm": torch.linalg.vector_norm(self.targets.centre),
                "diag/teacher_temperature": torch.tensor(self.targets.temperature(self.progress)),
            }
            if self.koleo > 0:
                spread = self._koleo(student)
                loss = loss + self.koleo * spread
                report["diag/koleo"] = spread.detach()
            if self.training:
                self.targets.follow(logits)
        return loss, report

    def _koleo(self, student: Output) -> Tensor:
        """The mean of KoLeo over the student's whole views, or of its captions."""
        if self.on == "text":
            assert student.text_features is not None
            return koleo(student.text_features.before_projection)
        views = zip(student.distilled, student.distilled_features, strict=True)
        whole = [view.fused if self.on == "fused" else features.before_projection for view, features in views
                 if not view.local]  # fmt: skip
        read = [one for one in whole if one is not None]
        return torch.stack([koleo(one) for one in read]).mean() if read else student.text.sum() * 0.0


def koleo(x: Tensor) -> Tensor:
    """How unevenly the rows of ``x`` (B, D) lie on the sphere: ``- mean_i log min_j |x_i - x_j|``."""
    x = F.normalize(x.float(), dim=-1)
    with torch.no_grad():
        products = x @ x.T
        nearest = products.fill_diagonal_(-torch.inf).argmax(dim=1)
    distance = torch.linalg.vector_norm(x - x[nearest], dim=-1)
    spread: Tensor = (distance + _TINY).log().mean()
    return -spread


def view_pairs(student: Output, teacher: Output) -> list[tuple[int, int]]:
    """Positions of each student's view and each teacher's view of another crop; of all where there is no other crop."""
    every = [(i, j) for i in range(len(student.distilled)) for j in range(len(teacher.distilled))]
    other = [(i, j) for i, j in every if student.distilled[i].number != teacher.distilled[j].number]
    return other or every


def _prototypes(output: Output, view: int) -> Tensor:
    """A distilled view's logits over prototypes, (B, K) float32."""
    prototypes = output.distilled[view].prototypes
    if prototypes is None:
        raise ValueError("distill_prototypes compares prototypes, and the network was built without them")
    return prototypes.float()
