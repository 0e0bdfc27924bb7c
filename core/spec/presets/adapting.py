"""Presets that fine-tune a pretrained model (``towers.pretrained``) without forgetting."""

from __future__ import annotations

from typing import Any

from core.spec.presets.pairs import coca_towers
from core.spec.presets.preset import Preset, Size


def _sd_clip_adapt(size: Size) -> dict[str, Any]:
    return {
        "views": {"clean": {"crop_min": 0.8}, "student": {"count": 0}, "teacher": {"count": 0}},
        "teacher": {"kind": "initial"},
        "objectives": {
            # The same smoothing as the pretrained model: the included model was trained with it, open_clip's without.
            "contrastive": {"weight": 1.0, "label_smoothing": 0.0 if size == "base" else 0.1},
            "distill_features": {"weight": 3.0, "on": "both", "distance": "squared"},
        },
        "optim": {"learning_rate": 1e-5, "epochs": 10, "batch_size": 128} if size == "base" else {},
    }


def _sd_coca_adapt(size: Size) -> dict[str, Any]:
    settings = _sd_clip_adapt(size)
    return settings | {
        "towers": coca_towers(size),
        "objectives": settings["objectives"] | {"captioning": {"weight": 2.0}},
    }


ADAPTING = (
    Preset(
        "sd-clip-adapt",
        "Self-distilled CLIP, adapted",
        "Fine-tunes a pretrained model on your pairs. To prevent forgetting, features of the initial model, which sees "
        "the same crops, are distilled. Interpolate the result with the initial weights afterwards.",
        "after Mukhoti et al. 2024, Fine-tuning can cripple your foundation model (LDIFS), and Wortsman et al. 2022, "
        "Robust fine-tuning of zero-shot models (WiSE-FT)",
        _sd_clip_adapt,
    ),
    Preset(
        "sd-coca-adapt",
        "Self-distilled CoCa, adapted",
        "Fine-tunes a pretrained CoCa model in the same way. The model learns to write captions like your captions "
        "while its features are preserved.",
        "after Mukhoti et al. 2024 and Wortsman et al. 2022",
        _sd_coca_adapt,
    ),
)
