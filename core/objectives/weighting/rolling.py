"""Belief for data too large to keep the features of every pair: each pair is judged when it is seen.

Flow: as ``core.objectives.weighting.belief``, of which this is the kind for shards. There the features of all pairs are
kept for an epoch and compared at its end, at 8 bytes a pair and embedding channel: 49 GB for 12 million pairs. Here a
pair is compared, when a step has its features, with the last pairs seen (a ring of `REFERENCE`), and only the outcome
is kept: 7 bytes a pair, whatever the network.

A measure's rank among all pairs becomes its share of the ring that measured less. A ring that is not a quarter full
judges nobody. Everything is a buffer, and equal on all ranks.

Legend: N training pairs, B batch of all ranks, R pairs in the ring, D embed, K networks that judge (2 with a teacher).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from core.model.outputs import Output
from core.objectives.weighting.belief import Belief, kept, precision, probability_right
from core.objectives.weighting.evidence import BLOCK, REFERENCE, below, measures_of, spaced
from core.ranks.collectives import gathered
from core.spec.config.belief import BeliefConfig

FITTED = 1 << 20  # pairs that the mixture is fitted to, at most
MEASURES = 5
READY = 4  # a ring is ready when this part of it is full


class RollingBelief(nn.Module):
    """Evidence and weight of each training pair, and the ring that they are compared with."""

    images: Tensor  # (K, R, D) float16 or float32, of the pairs in the ring
    texts: Tensor  # (K, R, D)
    rows: Tensor  # (R,) int64, which pairs they are; -1 where there is none yet
    measured: Tensor  # (K, 5, R) float32, their measures when they came
    pushed: Tensor  # scalar int64, how many came
    memory: Tensor  # (N,) float32, remembered evidence, 0 to 1
    visits: Tensor  # (N,) uint8, how often each was judged, up to 255
    weight: Tensor  # (N,) float16, how much each pair counts
    judged: Tensor  # scalar int64, how often weights were made

    def __init__(self, config: BeliefConfig, pairs: int, embed_dim: int, taught: bool) -> None:
        super().__init__()
        self.config, self.taught = config, taught
        K, R = 1 + taught, min(REFERENCE, pairs)
        for name in ("images", "texts"):
            self.register_buffer(name, torch.zeros(K, R, embed_dim, dtype=precision(pairs)))
        self.register_buffer("rows", torch.full((R,), -1))
        self.register_buffer("measured", torch.zeros(K, MEASURES, R))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("memory", torch.full((pairs,), 0.5))
        self.register_buffer("visits", torch.zeros(pairs, dtype=torch.uint8))
        self.register_buffer("weight", torch.ones(pairs, dtype=torch.float16))
        self.register_buffer("judged", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def weigh(self, rows: Tensor, student: Output, teacher: Output | None) -> Output:
        """Judge the pairs ``rows`` (b,) and remember it; returns the student's output with their weights (b,)."""
        fits = teacher is not None and teacher.text.shape == student.text.shape
        judges = [student, teacher if teacher is not None and fits else student][: 1 + self.taught]
        every = gathered(rows)  # (B,)
        images = torch.stack([gathered(kept(judge.clean.image, self.images)) for judge in judges])  # (K, B, D)
        texts = torch.stack([gathered(kept(judge.text, self.texts)) for judge in judges])
        scale = student.logit_scale.detach().float()
        measured = torch.stack([self._measure(k, every, images[k], texts[k], scale) for k in range(len(judges))])
        found = torch.stack([self._share_below(k, measured[k]) for k in range(len(judges))]).mean(dim=0)  # (B,)
        self._remember(every, found)
        self._push(every, images, texts, measured)
        return replace(student, belief=self.weight[rows].float())

    def _measure(self, judge: int, rows: Tensor, images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
        """(5, B): what speaks for each pair, against the ring."""
        ring_images, ring_texts = self.images[judge].float(), self.texts[judge].float()
        parts = []
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            left_out = (rows[part, None] == self.rows) | (self.rows < 0)  # (b, R): itself, and what is not there
            measures = measures_of(images[part].float(), texts[part].float(), ring_images, ring_texts, left_out, scale)
            parts.append(torch.stack(measures))
        return torch.cat(parts, dim=1)

    def _share_below(self, judge: int, measured: Tensor) -> Tensor:
        """(B,): the share of the ring that measured less, a mean over four measures."""
        device = measured.device
        measured, ring = spaced(measured), spaced(self.measured[judge])  # (5, B), (5, R)
        there = (self.rows >= 0).to(ring.device)  # (R,)
        count = there.sum().clamp_min(1)
        mean = (ring * there).sum(dim=1, keepdim=True) / count
        spread = (((ring - mean).square() * there).sum(dim=1, keepdim=True) / count).sqrt().clamp_min(1e-6)
        own, others = (_four((values - mean) / spread) for values in (measured, ring))
        return (below(own, others.masked_fill(~there, torch.inf)) / count).mean(dim=0).float().to(device)

    def _remember(self, rows: Tensor, found: Tensor) -> None:
        ready = self.pushed * READY >= len(self.rows)
        before, visits = self.memory[rows], self.visits[rows].float()
        # Later evidence counts more (as 1, 2, 3, ...), and none is forgotten.
        after = before.lerp(found, 2.0 / (2.0 + visits))
        self.memory[rows] = torch.where(ready, after, before)
        self.visits[rows] = torch.where(ready, (visits + 1).clamp(max=255), visits).to(torch.uint8)

    def _push(self, rows: Tensor, images: Tensor, texts: Tensor, measured: Tensor) -> None:
        """Put the batch in the place of the oldest; of one larger than the ring its end."""
        R = len(self.rows)
        rows, images, texts, measured = rows[-R:], images[:, -R:], texts[:, -R:], measured[..., -R:]
        places = (self.pushed + torch.arange(len(rows), device=rows.device)) % R
        self.rows[places] = rows
        self.images[:, places] = images
        self.texts[:, places] = texts
        self.measured[..., places] = measured
        self.pushed += len(rows)

    @torch.no_grad()
    def refresh(self, scale: Tensor | float, progress: float) -> dict[str, Tensor]:
        """Set the weights by what is remembered; returns diagnostics. ``scale`` was taken with each batch.

        ``progress`` (0 to 1) is the share of training done. The mixture is fitted to an even sample of the pairs.
        """
        self.judged += 1
        step = -(-len(self.memory) // FITTED)
        sample = self.memory[::step]
        values, order = sample.sort()
        fitted = probability_right(sample, self.config.share, self.config.most)[order]
        place = torch.searchsorted(values, self.memory).clamp(max=len(values) - 1)
        right = torch.where(self.visits > 0, fitted[place], 1.0)
        if progress >= self.config.begin and self.config.action in ("drop", "weigh"):
            self.weight.copy_((right >= 0.5) if self.config.action == "drop" else right)
        return {"diag/doubted": (right < 0.5).float().mean(), "diag/belief": self.weight.float().mean()}


def _four(measures: Tensor) -> Tensor:
    """(5, n) in standard deviations to the four that are ranked: the two neighbours' count as one."""
    pair, by_image, by_text, overlap, agreement = measures
    return torch.stack([pair, by_image + by_text, overlap, agreement])


AnyBelief: TypeAlias = Belief | RollingBelief
