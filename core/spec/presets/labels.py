"""Presets that learn classes from few labels or from a trained teacher.

They train the image tower and a linear head on the column ``data.label``, without captions.
"""

from __future__ import annotations

from typing import Any

from core.spec.presets.preset import Preset, Size

LABEL = "group"  # label column of the demo data
NO_PAIRS = {"contrastive": {"weight": 0.0}}


def _few_labels(size: Size, ratio: int) -> dict[str, Any]:
    """Few labels per class, and ``ratio`` unlabelled rows for each labelled row (fewer at small sizes)."""
    return {
        "label": LABEL,
        "labels_per_class": {"tiny": 2, "demo": 10, "base": 25}[size],
        "unlabelled_ratio": min(ratio, 2) if size == "tiny" else ratio,
    }


def _batch(size: Size, base: int) -> dict[str, int]:
    """The number of labelled rows per step: the published number at full size."""
    return {"batch_size": {"tiny": 4, "demo": 16, "base": base}[size]}


def _teacher(size: Size, kind: str = "ema") -> dict[str, Any]:
    """The moving-average teacher: momentum 0.999 as published; a short run averages over fewer steps."""
    return {"kind": kind, "momentum": {"tiny": 0.9, "demo": 0.99, "base": 0.999}[size]}


WEAK = {"crop_min": 0.7, "flip": True}
STRONG = {"count": 1, "crop_min": 0.5, "flip": True, "randaugment_ops": 2, "randaugment_magnitude": 10, "erase": 0.5}


def _mean_teacher(size: Size) -> dict[str, Any]:
    return {
        "data": _few_labels(size, 3),
        "views": {"clean": WEAK, "student": {"count": 0}, "teacher": WEAK},
        "teacher": _teacher(size),
        "objectives": {
            **NO_PAIRS,
            "classification": {"weight": 1.0},
            "consistency": {
                "weight": 100.0, "ramp": 0.27, "kind": "mean-teacher",
            },
        },
        "optim": {**_batch(size, 25), "beta2": 0.999, "weight_decay": 2e-4},
    }  # fmt: skip


def _fixmatch(size: Size) -> dict[str, Any]:
    return {
        "data": _few_labels(size, 7),
        "views": {"clean": WEAK, "student": STRONG, "teacher": {"count": 0}},
        "teacher": _teacher(size),
        "objectives": {
            **NO_PAIRS,
            "classification": {"weight": 1.0},
            "consistency": {"weight": 1.0, "kind": "fixmatch", "threshold": 0.95},
        },
        "optim": {**_batch(size, 64), "beta2": 0.999, "weight_decay": 5e-4},
    }


def _eman(size: Size) -> dict[str, Any]:
    architecture = {"tiny": "sd-tiny-resnet", "demo": "sd-demo-resnet", "base": "RN50"}[size]
    return {
        "towers": {"architecture": architecture},
        "data": _few_labels(size, 5),
        "views": {"clean": WEAK, "student": STRONG, "teacher": {"count": 0}},
        "teacher": _teacher(size, "ema-state"),
        "objectives": {
            **NO_PAIRS,
            "classification": {"weight": 1.0},
            "consistency": {"weight": 10.0, "kind": "fixmatch", "guess": "teacher", "threshold": 0.7},
        },
        "optim": {**_batch(size, 64), "weight_decay": 1e-4},
    }


def _mixmatch(size: Size) -> dict[str, Any]:
    return {
        "data": _few_labels(size, 1),
        "views": {"clean": WEAK, "student": {"count": 1, **WEAK}, "teacher": {"count": 0}},
        "teacher": _teacher(size),
        "objectives": {
            **NO_PAIRS,
            "classification": {"weight": 1.0},
            "consistency": {
                "weight": 75.0, "ramp": 1 / 64 if size == "base" else 0.25, "kind": "mixmatch", "sharpen": 0.5,
            },
        },
        "optim": {**_batch(size, 64), "learning_rate": 2e-3, "beta2": 0.999, "weight_decay": 0.02},
    }  # fmt: skip


def _mixup(size: Size) -> dict[str, Any]:
    return {
        "data": {"label": LABEL},
        "views": {"clean": WEAK, "student": {"count": 1, **WEAK, "crop_min": 0.4, "mix": "mixup", "mix_alpha": 0.2}},
        "objectives": {**NO_PAIRS, "classification": {"weight": 1.0, "view": "additional"}},
        "optim": {"weight_decay": 1e-4},
    }


def _frozen_teacher(labels: float, predictions: float, temperature: float) -> dict[str, Any]:
    """Classification with the weights of the labels, and of a trained classifier's predictions."""
    return {
        "data": {"label": LABEL},
        "views": {"clean": WEAK, "student": {"count": 0}, "teacher": {"count": 0}},
        "teacher": {"kind": "frozen"},
        "objectives": {
            **NO_PAIRS,
            "classification": {"weight": labels},
            "distill_logits": {"weight": predictions, "on": "classes", "temperature": temperature},
        },
    }


LABELS = (
    Preset(
        "mean-teacher",
        "Mean Teacher",
        "For few labelled rows. The student classifies the labelled rows. On all rows, it matches the probabilities of "
        "the moving-average teacher, which sees another crop. The weight of this squared difference rises along a "
        "sigmoid.",
        "Tarvainen and Valpola 2017, Mean teachers are better role models",
        _mean_teacher,
    ),
    Preset(
        "eman",
        "EMAN",
        "FixMatch with pseudo-labels from a teacher, which is a moving average of the whole state including batch norm "
        "statistics, so that its normalisation fits its weights. The pseudo-labels are better, and a threshold of 0.7 "
        "suffices.",
        "Cai et al. 2021, Exponential moving average normalization for self-supervised and semi-supervised learning",
        _eman,
    ),
    Preset(
        "mixmatch",
        "MixMatch",
        "The predictions on two weakly augmented views of an unlabelled image are averaged and sharpened to a "
        "pseudo-label. Labelled and pseudo-labelled images are interpolated, together with their labels. The moving "
        "average provides no targets; it is only validated.",
        "Berthelot et al. 2019, MixMatch: A holistic approach to semi-supervised learning",
        _mixmatch,
    ),
    Preset(
        "mixup",
        "mixup",
        "Supervised classification of images that are blended in pairs, with labels blended in the same shares. "
        "Predictions become linear between examples, which regularises them between classes and for wrong labels.",
        "Zhang et al. 2018, mixup: Beyond empirical risk minimization",
        _mixup,
    ),
    Preset(
        "fixmatch",
        "FixMatch",
        "The student's confident predictions (0.95 or higher) on a weakly augmented view of an unlabelled image become "
        "the label of a strongly augmented view. There are seven unlabelled images per labelled image. The moving "
        "average provides no targets; it is only validated.",
        "Sohn et al. 2020, FixMatch: Simplifying semi-supervised learning with consistency and confidence",
        _fixmatch,
    ),
    Preset(
        "kd",
        "Knowledge distillation",
        "The teacher is a trained classifier. Its softmax, softened by a temperature, is the target, together with the "
        "true labels at a small weight. Set teacher.checkpoint to its run, which must have the same classes.",
        "Hinton et al. 2015, Distilling the knowledge in a neural network",
        lambda size: _frozen_teacher(0.1, 0.9, 4.0),
    ),
    Preset(
        "born-again",
        "Born-Again",
        "The same network is trained in generations. Each generation learns the labels and the predictions of the "
        "previous generation. Set teacher.checkpoint to the previous run; the outputs of several runs are averaged.",
        "Furlanello et al. 2018, Born-again neural networks",
        lambda size: _frozen_teacher(1.0, 1.0, 1.0),
    ),
)
