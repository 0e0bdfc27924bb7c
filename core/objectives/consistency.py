"""Consistency of rows without a label: the same answer is wanted whatever the view.

Flow: ``Classification`` keeps the logits of each view; **consistency** guesses labels from weak views and asks for them
on others. MixMatch interpolates pictures anew, which its ``look`` sends through the network.

Legend: B batch, C classes, L labelled rows, U unlabelled rows, K weak views.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Batch
from core.data.draws import seed_of
from core.data.labelling import NONE
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.classification import NAME as CLASSIFICATION
from core.objectives.classification import ClassLogits, Interpolated
from core.objectives.objective import Objective, Report, require
from core.objectives.parts.probabilities import cross_entropy, entropy
from core.spec.config import ConsistencyConfig

MIXMATCH = 1101  # what a draw is for


@dataclass(frozen=True)
class Mixed:
    """What MixMatch's ``look`` made: interpolated rows with the labels that are wanted of them."""

    labelled: Interpolated  # L rows, found by Classification
    unlabelled: Interpolated  # K U rows
    guesses: Tensor  # (U, C) sharpened


class Consistency(Objective):
    """Three ways to learn from rows without a label. With p a softmax of logits:

    mean-teacher (Tarvainen and Valpola 2017): on all rows, since it needs no label,
    ``loss = mean_bc (p_student - p_teacher)^2``, or KL(p_teacher || p_student), averaged over the distilled views.

    fixmatch (Sohn et al. 2020, equation 4): a guess is the likeliest class q of the weak view; on each strong view,
    ``loss = sum_u [max q_u >= threshold] CE(argmax q_u, p_strong) / U``. The weak view is the student's clean one, or
    the teacher's (EMAN, Cai et al. 2021); the strong ones are the student's further views.

    mixmatch (Berthelot et al. 2019, algorithm 1): the guess is the mean answer to the clean and the further views,
    sharpened to ``q^(1/T) / sum q^(1/T)``. Labelled and guessed pictures are then interpolated with partners drawn from
    all of them, in shares from Beta(alpha, alpha) that are folded to at least one half. The labelled part becomes the
    loss of classification; here ``loss = mean_uc (p - q)^2`` over the unlabelled part.
    """

    name = "consistency"
    needs_views = True

    def __init__(self, config: ConsistencyConfig) -> None:
        super().__init__(config)
        self.kind, self.guess, self.distance = config.kind, config.guess, config.distance
        self.threshold, self.sharpen, self.mix_alpha = config.threshold, config.sharpen, config.mix_alpha
        self.asks_teacher = self.kind == "mean-teacher" or (self.kind == "fixmatch" and self.guess == "teacher")

    def look(self, network: Network, batch: Batch, output: Output) -> Mixed | None:
        return self._mix(network, batch, output) if self.kind == "mixmatch" else None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        with torch.autocast(student.text.device.type, enabled=False):
            if self.kind == "mean-teacher":
                return self._mean_teacher(student, require(teacher, self.name))
            if self.kind == "fixmatch":
                guessing = student if self.guess == "student" else require(teacher, self.name)
                return self._fixmatch(_answers(student), _answers(guessing))
            return self._mixmatch(student.extra[self.name])

    def _mean_teacher(self, student: Output, teacher: Output) -> tuple[Tensor, Report]:
        wanted = _answers(teacher).views[0].float().softmax(dim=-1)  # (B, C)
        losses = []
        for logits, view in zip(_answers(student).distilled, student.distilled, strict=True):
            target = wanted if view.mix is None else view.mix.blend(wanted)
            if self.distance == "mse":
                losses.append(F.mse_loss(logits.float().softmax(dim=-1), target))
            else:
                losses.append(cross_entropy(target, logits.float()) - entropy(target))
        return torch.stack(losses).mean(), {"diag/guess_confidence": wanted.amax(dim=-1).mean()}

    def _fixmatch(self, student: ClassLogits, guessing: ClassLogits) -> tuple[Tensor, Report]:
        unlabelled = student.labels == NONE
        confidence, guess = guessing.views[0].detach().float().softmax(dim=-1).max(dim=-1)
        kept = ((confidence >= self.threshold) & unlabelled).float()
        count = unlabelled.sum().clamp(min=1)
        losses = [
            (F.cross_entropy(logits.float(), guess, reduction="none") * kept).sum() / count
            for logits in student.views[1:]
        ]
        return torch.stack(losses).mean(), {
            "diag/mask_rate": kept.sum() / count,
            "diag/guess_confidence": (confidence * unlabelled).sum() / count,
        }

    def _mixmatch(self, mixed: Mixed) -> tuple[Tensor, Report]:
        answers, wanted = mixed.unlabelled.logits.float(), mixed.unlabelled.targets
        loss = ((answers.softmax(dim=-1) - wanted) ** 2).sum() / max(1, wanted.numel())
        confidence = mixed.guesses.amax(dim=-1).sum() / max(1, len(mixed.guesses))
        return loss, {"diag/guess_confidence": confidence}

    def _mix(self, network: Network, batch: Batch, output: Output) -> Mixed:
        """MixMatch's interpolation, a function of the batch's rows alone, and the network's answer to it."""
        assert batch.labels is not None
        head = network.heads[CLASSIFICATION]
        has_label = batch.labels != NONE
        with torch.no_grad():
            answers = [head(features.before_projection).float().softmax(-1) for features in output.image_features]
            guesses = sharpened(torch.stack(answers).mean(dim=0)[~has_label], self.sharpen)  # (U, C)
        views = [network.towers.normalise(view.images) for view in (batch.clean, *batch.student)]
        pictures = torch.cat([views[0][has_label], *(view[~has_label] for view in views)])
        known = F.one_hot(batch.labels[has_label], guesses.shape[1]).to(guesses.dtype)
        targets = torch.cat([known, guesses.repeat(len(views), 1)])
        partner, share = draw_partners(batch.rows, len(pictures), self.mix_alpha)
        partner, share = partner.to(pictures.device), share.to(pictures)
        targets = torch.lerp(targets[partner], targets, share[:, None])
        pictures = torch.lerp(pictures[partner], pictures, share[:, None, None, None])
        logits = head(network.towers.encode_image(pictures).before_projection)
        count = len(known)
        labelled, unlabelled = (Interpolated(logits[s], targets[s]) for s in (slice(0, count), slice(count, None)))
        return Mixed(labelled, unlabelled, guesses)


def sharpened(probabilities: Tensor, temperature: float) -> Tensor:
    """Rows (n, C) raised to 1 / temperature and made distributions again (MixMatch, equation 7)."""
    raised = probabilities ** (1.0 / temperature)
    return raised / raised.sum(dim=-1, keepdim=True)


def draw_partners(rows: Tensor, count: int, alpha: float) -> tuple[Tensor, Tensor]:
    """A permutation of ``count`` pictures and each one's own share (at least one half), by the numbers of ``rows``."""
    generator = np.random.default_rng(seed_of(*rows.tolist(), MIXMATCH))
    share = generator.beta(alpha, alpha, count)
    partner = torch.from_numpy(generator.permutation(count))
    return partner, torch.from_numpy(np.maximum(share, 1.0 - share))


def _answers(output: Output) -> ClassLogits:
    answers: ClassLogits = output.extra[CLASSIFICATION]
    return answers
