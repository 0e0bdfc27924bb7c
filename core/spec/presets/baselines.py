"""The baseline of the method, and the recommended preset for noisy captions."""

from __future__ import annotations

from typing import Any

from core.spec.presets.preset import Preset, Size


def _clip(size: Size) -> dict[str, Any]:
    return {"objectives": {"contrastive": {"weight": 1.0}}}


def _clip_filtered(size: Size) -> dict[str, Any]:
    return {
        "noise": {"caption_filter": True, "self_confidence": 0.5},
        "objectives": {"contrastive": {"weight": 1.0, "label_smoothing": 0.3}},
        "optim": {"learning_rate": 5e-4} if size == "demo" else {},  # tuned only at this size
    }


BASELINES = (
    Preset(
        "clip",
        "CLIP",
        "Two towers trained by symmetric InfoNCE over the batch. The baseline of all other presets.",
        "Radford et al. 2021, Learning transferable visual models from natural language supervision",
        _clip,
    ),
    Preset(
        "clip-filtered",
        "CLIP for noisy captions",
        "CLIP with three measures against mismatched captions and no teacher: pairs whose caption fits other images "
        "better are dropped before training, the other pairs are weighted by the student's self-confidence, and labels "
        "are smoothed. The best recipe with 30 % mismatched captions. Not available for shards.",
        "docs/results.md; Zhang and Sabuncu 2018, Generalized cross entropy loss for training deep neural networks "
        "with noisy labels",
        _clip_filtered,
    ),
)
