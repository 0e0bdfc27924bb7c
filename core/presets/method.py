"""The method itself and its ablations."""

from __future__ import annotations

from typing import Any

from core.presets.pairs import coca_towers
from core.presets.preset import Preset, Size


def _sd_clip(size: Size) -> dict[str, Any]:
    small = size != "base"
    return {
        "views": {
            "clean": {"count": 1, "crop_min": 0.8},
            "student": {"count": 1, "crop_min": 0.4, "randaugment_ops": 2, "mix": "mixup"},
            "teacher": {"count": 1, "crop_min": 0.8},
        },
        "fusion": {
            "kind": "cross-attention",
            "layers": 1 if small else 3,
            "heads": {"tiny": 2, "demo": 4, "base": 8}[size],
            "width": {"tiny": 32, "demo": 128, "base": 512}[size],
        },
        # A short run averages over fewer steps: the window 1 / (1 - momentum) is a small part of all steps.
        "teacher": {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.98, "base": 0.999}[size]},
        "objectives": {
            "contrastive": {"weight": 1.0},
            "distill_similarity": {"weight": 0.5, "ramp": 0.2},
            "distill_prototypes": {
                "weight": 0.1,
                "ramp": 0.2,
                "on": "fused",
                "prototypes": {"tiny": 64, "demo": 1024, "base": 16384}[size],
            },
        },
    }


def _sd_coca(size: Size) -> dict[str, Any]:
    settings = _sd_clip(size)
    objectives = settings["objectives"] | {
        "captioning": {"weight": 2.0},
        "distill_captions": {"weight": 1.0, "ramp": 0.2},
    }
    return settings | {"towers": coca_towers(size), "objectives": objectives}


METHOD = (
    Preset(
        "sd-clip",
        "Self-distilling CLIP",
        "CLIP with a moving-average teacher. The student sees a strongly augmented, interpolated second view, and "
        "matches the teacher's similarities and its softmax over prototypes of the image-text representation that "
        "cross-attention makes. The contrastive loss stays on the clean view.",
        "Tiwawongrut and Silpasuwanchai, Self-Distillation using image-language representation for image "
        "classification",
        _sd_clip,
    ),
    Preset(
        "sd-coca",
        "Self-distilling CoCa",
        "CoCa with a moving-average teacher. As in sd-clip the student matches the teacher's similarities and "
        "prototypes on a strong, interpolated view; and its choice of each next word is drawn to the teacher's, whose "
        "soft words are steadier than the caption's single ones. Captions and contrast stay on the clean view.",
        "Tiwawongrut and Silpasuwanchai, Self-Distillation using image-language representation for image "
        "classification",
        _sd_coca,
    ),
)
