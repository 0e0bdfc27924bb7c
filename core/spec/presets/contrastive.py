"""Other contrastive systems, with and without a teacher."""

from __future__ import annotations

from typing import Any

from core.spec.presets.preset import Preset, Size


def _siglip(size: Size) -> dict[str, Any]:
    return {
        "objectives": {"contrastive": {"weight": 1.0, "kind": "sigmoid"}},
        "optim": {"beta2": 0.95, "weight_decay": 1e-4, **({"learning_rate": 1e-3} if size == "base" else {})},
    }


def _flip(size: Size) -> dict[str, Any]:
    return {"views": {"clean": {"crop_min": 0.5, "keep": 0.5}}, "objectives": {"contrastive": {"weight": 1.0}}}


def _slip(size: Size) -> dict[str, Any]:
    return {
        "views": {
            "clean": {"crop_min": 0.5},
            "student": {
                "count": 2,
                "crop_min": 0.08,
                "flip": True,
                "jitter": 0.8,
                "saturation": 0.4,
                "greyscale": 0.2,
                "blur": 0.5,
            },
        },
        "objectives": {
            "contrastive": {"weight": 1.0},
            "image_contrastive": {
                "weight": 1.0,
                "temperature": 0.1,
                "width": {"tiny": 32, "demo": 128, "base": 256}[size],
                "hidden": {"tiny": 64, "demo": 512, "base": 4096}[size],
            },
        },
        "optim": {"weight_decay": 0.1, "eps": 1e-8, **({"learning_rate": 3e-3} if size == "base" else {})},
    }


def _cosmos(size: Size) -> dict[str, Any]:
    return {
        "views": {
            "clean": {"crop_min": 0.4},
            "student": {"count": {"tiny": 2, "demo": 2, "base": 6}[size], "crop_min": 0.05, "crop_max": 0.4},
            "teacher": {"count": 1, "crop_min": 0.4},
        },
        "fusion": {
            "kind": "cross-attention",
            "layers": 1,
            "heads": {"tiny": 2, "demo": 4, "base": 8}[size],
            "width": {"tiny": 32, "demo": 128, "base": 512}[size],
        },
        # Published: 0.99 with batches of 4096, 0.999 with 1024; never scheduled.
        "teacher": {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.98, "base": 0.999}[size]},
        "objectives": {
            "contrastive": {"weight": 1.0},
            "distill_features": {"weight": 1.0, "on": "fused", "cross": True, "temperature": 0.07},
        },
        "optim": {"weight_decay": 0.5 if size == "base" else 0.1},
    }


CONTRASTIVE = (
    Preset(
        "siglip",
        "SigLIP",
        "Classifies each combination of image and text as a pair or not, by a sigmoid with a learnt bias that starts "
        "at -10. Since there is no softmax over the batch, SigLIP also works with small batches.",
        "Zhai et al. 2023, Sigmoid loss for language image pre-training",
        _siglip,
    ),
    Preset(
        "flip",
        "FLIP",
        "CLIP's loss on half of the patches, drawn at random for each image. A step takes two thirds of the time, so "
        "more pairs are seen in the same time. The published system ends with a few steps on whole images.",
        "Li et al. 2023, Scaling language-image pre-training via masking",
        _flip,
    ),
    Preset(
        "slip",
        "SLIP",
        "CLIP's loss on one view, plus SimCLR's loss between two strongly augmented views of the same image, through a "
        "projection that is discarded after training. No teacher.",
        "Mu et al. 2022, SLIP: Self-supervision meets language-image pre-training",
        _slip,
    ),
    Preset(
        "cosmos",
        "COSMOS",
        "Small crops of the image, fused with the text by cross-attention, are matched with the teacher's image and "
        "text features within the batch. The teacher, a moving average, sees a large crop. The two losses "
        "have the same weight.",
        "Kim et al. 2025, COSMOS: Cross-modality self-distillation for vision language pre-training",
        _cosmos,
    ),
)
