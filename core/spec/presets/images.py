"""Presets that train the image tower self-supervised, alone or with captions: DINO, MaskCLIP, SILC."""

from __future__ import annotations

from typing import Any

from core.spec.presets.preset import Preset, Size

_COLOUR_CHANGES = {"flip": True, "jitter": 0.8, "greyscale": 0.2}
# DINO always blurs the first large crop, blurs a tenth of the second crops and solarises a fifth of them. Here, both
# crops have the mean of these probabilities.
_GLOBAL_CROPS = {"crop_min": 0.4, **_COLOUR_CHANGES, "blur": 0.55, "solarize": 0.1}
_LOCAL_CROPS = {"crop_min": 0.05, "crop_max": 0.4, "size": 0.43, **_COLOUR_CHANGES, "blur": 0.5}


def _prototypes(size: Size) -> int:
    return {"tiny": 64, "demo": 1024, "base": 65536}[size]


def _local(size: Size) -> dict[str, Any]:
    return {**_LOCAL_CROPS, "count": {"tiny": 2, "demo": 4, "base": 8}[size]}


def _ema_teacher(size: Size) -> dict[str, Any]:
    """DINO's moving-average teacher; a short run averages over fewer steps."""
    momentum = {"tiny": 0.9, "demo": 0.98, "base": 0.996}[size]
    return {"kind": "ema", "momentum": momentum, "momentum_schedule": "cosine", "momentum_warmup": size != "base"}


def _towers(size: Size) -> dict[str, str]:
    """Architectures with patches that are small enough for local crops and masks."""
    return {"architecture": {"tiny": "sd-tiny", "demo": "sd-demo", "base": "ViT-B-16"}[size]}


def _dino(size: Size) -> dict[str, Any]:
    optim = {
        "tiny": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "warmup": 0.1},
        "demo": {"epochs": 6, "batch_size": 64, "learning_rate": 5e-4, "warmup": 0.1},
        "base": {"epochs": 100, "batch_size": 1024, "learning_rate": 2e-3, "warmup": 0.1},
    }[size]
    return {
        "towers": _towers(size),
        "views": {
            "student": {**_GLOBAL_CROPS, "count": 2},
            "local": _local(size),
            "teacher": {"count": 0},
            "shared": True,
        },
        "teacher": _ema_teacher(size),
        "objectives": {
            "contrastive": {"weight": 0.0},
            "distill_prototypes": {
                "weight": 1.0,
                "on": "image",
                "prototypes": _prototypes(size),
                "teacher_temperature": 0.07 if size == "base" else 0.04,
                "teacher_temperature_ramp": 0.3 if size == "base" else 0.0,
                "freeze_last": {"tiny": 0.1, "demo": 0.1, "base": 0.01}[size],
            },
        },
        "optim": {**optim, "weight_decay": 0.04, "beta2": 0.999, "clip_norm": 3.0},
    }


def _maskclip(size: Size) -> dict[str, Any]:
    momentum = {"tiny": 0.9, "demo": 0.98, "base": 0.999}[size]
    return {
        "towers": _towers(size),
        "views": {
            "clean": {"crop_min": 0.6},
            "student": {"count": 1, "crop_min": 0.6, "mask": 1.0,
                        "mask_share": 0.75, "mask_kind": "random"},
            "teacher": {"count": 0},
            "shared": True,
        },
        "teacher": {
            "kind": "ema", "momentum": momentum, "momentum_schedule": "linear",
            "momentum_end": {"tiny": 0.95, "demo": 0.99, "base": 0.9999}[size],
        },
        "objectives": {
            "contrastive": {"weight": 1.0},
            "masked_patches": {"weight": 0.05, "prototypes": {"tiny": 64, "demo": 1024, "base": 16384}[size]},
        },
    }  # fmt: skip


def _silc(size: Size) -> dict[str, Any]:
    return {
        "towers": _towers(size),
        "views": {
            "clean": {"crop_min": 0.4},
            "student": {"count": 0},
            "local": _local(size),
            "teacher": {"count": 0},
        },
        "teacher": _ema_teacher(size),
        "objectives": {
            "contrastive": {"weight": 1.0},
            "distill_prototypes": {"weight": 1.0, "on": "image", "prototypes": _prototypes(size)},
        },
    }


IMAGES = (
    Preset(
        "dino",
        "DINO",
        "Trains on images only. The student sees two large crops and several small crops; the teacher, a moving "
        "average of the student, sees the large crops. Each crop of the student matches the teacher's softmax over "
        "prototypes for every other crop. Centring and a low temperature prevent collapse, and the prototypes are "
        "frozen at first.",
        "Caron et al. 2021, Emerging properties in self-supervised vision transformers",
        _dino,
    ),
    Preset(
        "maskclip",
        "MaskCLIP",
        "CLIP with an additional view, of which the student sees a quarter of the patches. For each masked patch, it "
        "predicts the moving-average teacher's softmax over prototypes. The contrastive loss is on the whole image. "
        "The masked objective has a small weight; with a weight of 1, the gain is lost. Only the image part of the "
        "published system is included, and masked patches are replaced by a learnt token instead of being dropped.",
        "Dong et al. 2023, MaskCLIP: Masked self-distillation advances contrastive language-image pretraining",
        _maskclip,
    ),
    Preset(
        "silc",
        "SILC",
        "CLIP with additional small crops. From each crop, the student matches the prototypes that the moving-average "
        "teacher assigns to the whole image, which improves local features. The contrastive loss is on the whole "
        "image. The two losses have the same weight.",
        "Naeem et al. 2024, SILC: Improving vision language pretraining with self-distillation",
        _silc,
    ),
)
