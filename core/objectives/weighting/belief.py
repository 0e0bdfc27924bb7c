"""Belief: evidence, gathered over training, that each pair matches, and a weight for each pair.

Flow: in every step the loop gives ``weigh`` the outputs of student and teacher, whose features are kept, one row per
pair. Once per epoch ``refresh`` computes ``core.objectives.weighting.evidence`` of all pairs, averages it over time,
fits two components and sets the weights, which objectives find in ``output.belief``.

A network first learns what pairs have in common; it memorises wrong pairs late, one by one (Arpit et al. 2017). So
early evidence is averaged over time (self-adaptive training, Huang et al. 2020; ELR, Liu et al. 2020), a mixture of two
components separates right from wrong pairs (DivideMix, Li et al. 2020), and likely mislabelled pairs are no longer
learnt, though they are still evaluated.

Everything is a buffer, so that a resumed run goes on bit for bit. Memory: 8 bytes per pair and embedding channel; 16 of
up to `REFERENCE` pairs. Weights are a continuous function of the features, so that a rounding error (another number of
ranks, another order of summation) stays one; all but those of ``drop``, which are 0 or 1.

Legend: N training pairs, B batch, D embed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.outputs import Output, ViewOutput
from core.objectives.weighting.evidence import REFERENCE, evidence, in_double
from core.ranks.collectives import divisor, gathered, overall_mean
from core.spec.config.belief import BeliefConfig

_ROUNDS = 200  # of the mixture's fit, at most
_BELOW_HALF = 0.5 - 1e-6


class Belief(nn.Module):
    """Features, evidence and weight of each training pair."""

    student_image: Tensor  # (N, D) float16 or float32, as last seen
    student_text: Tensor
    teacher_image: Tensor
    teacher_text: Tensor
    seen: Tensor  # (N,) bool
    memory: Tensor  # (N,) float32, remembered evidence, 0 to 1
    weight: Tensor  # (N,) float32, how much each pair counts
    judged: Tensor  # scalar int64, how often all pairs were evaluated

    _read: Tensor | None  # rows (R,) that training reads, where it leaves some out

    def __init__(
        self, config: BeliefConfig, pairs: int, embed_dim: int, taught: bool, left_out: Tensor | None = None
    ) -> None:
        """``left_out`` (N,) bool: pairs that training never reads, which are not judged."""
        super().__init__()
        self.config, self.taught = config, taught
        self.register_buffer("_read", None if left_out is None else (~left_out).nonzero().squeeze(1), persistent=False)
        for name in ("student_image", "student_text", *(("teacher_image", "teacher_text") if taught else ())):
            self.register_buffer(name, torch.zeros(pairs, embed_dim, dtype=precision(pairs)))
        self.register_buffer("seen", torch.zeros(pairs, dtype=torch.bool))
        self.register_buffer("memory", torch.full((pairs,), 0.5))
        self.register_buffer("weight", torch.ones(pairs))
        self.register_buffer("judged", torch.zeros((), dtype=torch.int64))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        if not self.taught:  # checkpoints from before they were left out have them
            for name in ("teacher_image", "teacher_text"):
                state.pop(prefix + name, None)
        super()._load_from_state_dict(state, prefix, *others)

    @torch.no_grad()
    def weigh(self, rows: Tensor, student: Output, teacher: Output | None) -> Output:
        """Keep the features of the pairs ``rows`` (B,); returns the student's output with their weights (B,)."""
        every = gathered(rows)
        self.student_image[every] = gathered(kept(student.clean.image, self.student_image))
        self.student_text[every] = gathered(kept(student.text, self.student_text))
        if self.taught:  # where no teacher taught, and where its features are of another width, the student stands in
            fits = teacher is not None and teacher.text.shape == student.text.shape
            judge = teacher if teacher is not None and fits else student
            self.teacher_image[every] = gathered(kept(judge.clean.image, self.teacher_image))
            self.teacher_text[every] = gathered(kept(judge.text, self.teacher_text))
        self.seen[every] = True
        return replace(student, belief=self.weight[rows])

    @torch.no_grad()
    def remembered(self, rows: Tensor, student: Output) -> Output:
        """Features of the pairs ``rows`` (B,) from when they were last seen, as a teacher's output; of a pair that was
        not yet, the ``student``'s own (temporal ensembling, Laine and Aila 2017). Call it before ``weigh``.
        """
        seen = self.seen[rows, None]

        def features(kept: Tensor, now: Tensor) -> Tensor:
            return torch.where(seen, F.normalize(kept[rows].float(), dim=-1), now.detach().float())  # (B, D)

        clean = ViewOutput(features(self.student_image, student.clean.image))
        text = features(self.student_text, student.text)
        return Output(text=text, logit_scale=student.logit_scale.detach(), clean=clean, distilled=(clean,))

    @torch.no_grad()
    def refresh(self, scale: Tensor | float, progress: float) -> dict[str, Tensor]:
        """Evaluate every pair that is read again and set the weights; returns diagnostics.

        ``scale`` is the logit scale, ``progress`` (0 to 1) the share of training done. One that is left out counts in
        full, is compared with none and keeps a memory of 0.5; one that was not yet seen counts in full.
        """
        rows: Tensor | slice = slice(None) if self._read is None else self._read
        found = evidence(self.student_image[rows], self.student_text[rows], scale)
        if self.taught:
            found = (found + evidence(self.teacher_image[rows], self.teacher_text[rows], scale)) / 2
        self.judged += 1
        # Later evidence counts more (as 1, 2, 3, ...), and none is forgotten.
        remembered = self.memory[rows].lerp(found, 2.0 / (1.0 + self.judged))
        self.memory[rows] = remembered
        right = torch.ones_like(self.memory)
        right[rows] = probability_right(remembered, self.config.share, self.config.most)
        right = torch.where(self.seen, right, 1.0)
        if progress >= self.config.begin and self.config.action in ("drop", "weigh"):
            self.weight.copy_((right >= 0.5).float() if self.config.action == "drop" else right)
        return {"diag/doubted": (right < 0.5).float().mean(), "diag/belief": self.weight.mean()}


def precision(pairs: int) -> torch.dtype:
    """In which features of so many pairs are kept: in half where there are many, and the place of one says little."""
    return torch.float32 if pairs <= REFERENCE else torch.float16


def kept(features: Tensor, among: Tensor) -> Tensor:
    """Features (B, D) as they are kept ``among`` others; those of a skipped step, which are not finite, become 0."""
    return features.detach().to(among.dtype).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def probability_right(values: Tensor, share: float, most: float) -> Tensor:
    """The probability (N,) that each pair is right, from its evidence ``values`` (N,).

    Two normal components are fitted by expectation-maximisation; the probability is the posterior of the upper one,
    made monotonic in ``values``. With ``share`` above 0, that share of the pairs gets less than one half; never does
    more than the share ``most``: the odds of the components are then shifted so that just as many do.
    """
    x = in_double(values)
    order = x.argsort(stable=True)
    rising = _log_odds(x)[order].cummax(dim=0).values  # a wide lower component would otherwise claim the highest too
    bound = math.floor(most * len(x))
    if share == 0:
        count = (rising < 0).sum().clamp(max=bound)
        even = rising.new_zeros(()) if bound == len(x) else _between(rising, bound).clamp(max=0.0)
    else:
        known = min(round(share * len(x)), bound)
        count, even = torch.full((), known, device=x.device), _between(rising, known)
    chance = (rising - even).sigmoid()
    doubted = torch.arange(len(x), device=x.device) < count
    right = torch.empty_like(chance)
    right[order] = torch.where(doubted, chance.clamp(max=_BELOW_HALF), chance.clamp(min=0.5))
    return right.to(values)


def _between(rising: Tensor, count: int) -> Tensor:
    """What parts the first ``count`` of ``rising`` from the others."""
    return (rising[max(count - 1, 0)] + rising[min(count, len(rising) - 1)]) / 2


def _log_odds(x: Tensor) -> Tensor:
    """Log odds (N,) of the upper of two normal components that are fitted to ``x`` (N,) float64."""
    low, high = x.quantile(0.25), x.quantile(0.75)
    mean = torch.stack([low, high])
    spread = x.std().clamp_min(1e-6).repeat(2)
    part = torch.full_like(mean, 0.5)
    odds = torch.zeros_like(x)
    done = torch.zeros((), dtype=torch.bool, device=x.device)
    for _ in range(_ROUNDS):
        density = part.log() - spread.log() - 0.5 * ((x[:, None] - mean) / spread) ** 2  # (N, 2)
        member = density.softmax(dim=1)
        total = member.sum(dim=0).clamp_min(1e-9)
        moved = (member * x[:, None]).sum(dim=0) / total
        wide = ((member * (x[:, None] - moved) ** 2).sum(dim=0) / total).sqrt().clamp_min(1e-3)
        settled = (moved - mean).abs().max() < 1e-8  # so little that one round more or less is not seen
        # A fit that has settled stays as it is, since asking whether it has would make the host wait for a GPU.
        fitted = (moved, wide, total / len(x), density[:, 1] - density[:, 0])
        mean, spread, part, odds = (
            torch.where(done, old, new) for old, new in zip((mean, spread, part, odds), fitted, strict=True)
        )
        done = done | settled
        if x.device.type == "cpu" and done:
            break
    return odds


def weighted_mean(losses: Tensor, belief: Tensor | None, alike: bool = True) -> Tensor:
    """Mean of ``losses`` (B,), weighted by ``belief`` (B,) where it is not None: sum(w * l) / sum(w).

    Of several ranks, such that the mean over ranks is that of all their losses; ``alike``: each has as many of them.
    """
    if belief is None:
        return losses.mean() if alike else overall_mean(losses)
    return (losses * belief).sum() / divisor(belief.sum(), 1e-6)
