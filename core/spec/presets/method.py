"""The presets of the method, sd-clip and sd-coca. Ablations are arms of studies (``resources/studies``)."""

from __future__ import annotations

from typing import Any

from core.spec.presets.pairs import coca_towers
from core.spec.presets.preset import Preset, Size

PAPER = "Tiwawongrut and Silpasuwanchai, Self-Distillation using image-language representation for image classification"


def _sd_clip(size: Size) -> dict[str, Any]:
    return {
        "views": {
            "clean": {"crop_min": 0.8},
            "student": {"count": 1, "crop_min": 0.4, "randaugment_ops": 2, "mix": "either"},
            "teacher": {"count": 0},
        },
        "fusion": {
            "kind": "cross-attention",
            "layers": 3 if size == "base" else 1,
            "heads": {"tiny": 2, "demo": 4, "base": 8}[size],
            "width": {"tiny": 32, "demo": 128, "base": 512}[size],
        },
        # A short run averages over fewer steps: the window 1 / (1 - momentum) is a small part of all steps.
        "teacher": {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.95, "base": 0.999}[size], "every": 3},
        "noise": {"self_confidence": 0.5},  # web captions are often mismatched
        "objectives": {
            "contrastive": {"weight": 1.0},
            "distill_similarity": {"weight": 0.5, "ramp": 0.2},
            "distill_prototypes": {
                "weight": 0.3,
                "ramp": 0.2,
                "on": "fused+image",
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
        "CLIP with a moving-average teacher. In every third step, the student also sees a strongly augmented, "
        "interpolated view. It matches the teacher's similarities and the teacher's softmax over prototypes, for the "
        "fused image-text representation (cross-attention) and for the image alone. The contrastive loss is on the "
        "clean view in every step, and each pair is weighted by the student's self-confidence. On average, a step "
        "takes 1.5 times as long as with clip.",
        PAPER,
        _sd_clip,
    ),
    Preset(
        "sd-coca",
        "Self-distilling CoCa",
        "CoCa with a moving-average teacher. As in sd-clip, the student matches the teacher's similarities and "
        "prototypes on strongly augmented, interpolated views in every third step. It also matches the teacher's "
        "distribution over each next word, which has less variance than the caption's words. Captioning and "
        "contrastive loss are on the clean view in every step. On average, a step takes 1.45 times as long as with "
        "coca.",
        PAPER,
        _sd_coca,
    ),
)
