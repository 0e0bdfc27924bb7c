"""The method itself and its ablations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.spec.presets.pairs import coca_towers
from core.spec.presets.preset import Preset, Size

PAPER = "Tiwawongrut and Silpasuwanchai, Self-Distillation using image-language representation for image classification"
Settings = Callable[[Size], dict[str, Any]]


def _sd_clip_every_step(size: Size) -> dict[str, Any]:
    small = size != "base"
    return {
        "views": {
            "clean": {"count": 1, "crop_min": 0.8},
            "student": {"count": 2, "crop_min": 0.4, "randaugment_ops": 2, "mix": "either"},
            "teacher": {"count": 1, "crop_min": 0.8},
        },
        "fusion": {
            "kind": "cross-attention",
            "layers": 1 if small else 3,
            "heads": {"tiny": 2, "demo": 4, "base": 8}[size],
            "width": {"tiny": 32, "demo": 128, "base": 512}[size],
        },
        # A short run averages over fewer steps: the window 1 / (1 - momentum) is a small part of all steps.
        "teacher": {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.95, "base": 0.999}[size]},
        # Web captions are often wrong; what the teacher thinks unlikely is hardly learnt. How far each pair was
        # believed before wrong ones were memorised is kept for Clean: 8 bytes a pair and channel.
        "belief": {"trust": 0.5, "action": "watch" if small else "none"},
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


def _sd_coca_every_step(size: Size) -> dict[str, Any]:
    settings = _sd_clip_every_step(size)
    objectives = settings["objectives"] | {
        "captioning": {"weight": 2.0},
        "distill_captions": {"weight": 1.0, "ramp": 0.2},
    }
    return settings | {"towers": coca_towers(size), "objectives": objectives}


def _sd_clip_lean(size: Size) -> dict[str, Any]:
    """The parts of the method that cost no time: one view, matched with what the student made of it before."""
    made = _sd_clip_every_step(size)
    return {
        "views": {"clean": {"count": 1, "crop_min": 0.8}, "student": {"count": 0}, "teacher": {"count": 0}},
        "teacher": {**made["teacher"], "targets": "memory"},
        # Its own trust is of this step, the memory's of an epoch ago. What is watched keeps the memory.
        "belief": {"trust": 0.5, "trust_by": "student", "action": "watch"},
        "objectives": {name: made["objectives"][name] for name in ("contrastive", "distill_similarity")},
    }


def _sd_coca_lean(size: Size) -> dict[str, Any]:
    settings = _sd_clip_lean(size)
    return settings | {
        "towers": coca_towers(size),
        "objectives": settings["objectives"] | {"captioning": {"weight": 2.0}},
    }


def _every_third(whole: Settings) -> Settings:
    """The same at half its price: a teacher that teaches in every third step, by one further view."""

    def settings(size: Size) -> dict[str, Any]:
        made = whole(size)
        views = made["views"]
        return made | {
            "views": views | {"student": views["student"] | {"count": 1}, "teacher": {"count": 0}},
            "teacher": made["teacher"] | {"every": 3},
            # Trust is of every step. What is watched changes nothing in training, and is judged half as often.
            "belief": made["belief"] | {"trust_by": "student"} | ({} if size == "base" else {"refresh": 2.0}),
        }

    return settings


_sd_clip = _every_third(_sd_clip_every_step)
_sd_coca = _every_third(_sd_coca_every_step)


METHOD = (
    Preset(
        "sd-clip",
        "Self-distilling CLIP",
        "CLIP with a moving-average teacher. In every third step the student sees a strongly augmented, interpolated "
        "view besides, and matches the teacher's similarities and its softmax over prototypes, of the image-text "
        "representation from cross-attention and of the image alone. The contrastive loss stays on the clean view "
        "in every step, and each pair is weighted by the student's own trust in it. On average a step takes 1.5 "
        "times as long as clip's.",
        PAPER,
        _sd_clip,
    ),
    Preset(
        "sd-coca",
        "Self-distilling CoCa",
        "CoCa with a moving-average teacher. As in sd-clip the student matches the teacher's similarities and "
        "prototypes on strong, interpolated views in every third step; and it matches the teacher's distribution over "
        "each next word, which varies less than the caption's single words. Captions and contrast stay on the clean "
        "view in every step. On average a step takes 1.45 times as long as coca's.",
        PAPER,
        _sd_coca,
    ),
    Preset(
        "sd-clip-lean",
        "Self-distilling CLIP, lean",
        "The parts of sd-clip that cost little time, for data of which many captions are wrong. The student matches "
        "the similarities of the same pairs as it last saw them, an epoch before, so that no teacher is asked; and "
        "each pair is weighted by the student's own trust in it. A step takes 1.07 times as long as clip's. The moving "
        "average is kept, and is what is used in the end.",
        f"{PAPER}; Laine and Aila 2017, Temporal ensembling for semi-supervised learning",
        _sd_clip_lean,
    ),
    Preset(
        "sd-coca-lean",
        "Self-distilling CoCa, lean",
        "CoCa with the parts of sd-coca that cost little time, for data of which many captions are wrong: as in "
        "sd-clip-lean the student matches the similarities of the same pairs as it last saw them, and its own trust in "
        "each pair weighs contrast and caption alike. A step takes 1.06 times as long as coca's.",
        f"{PAPER}; Laine and Aila 2017, Temporal ensembling for semi-supervised learning",
        _sd_coca_lean,
    ),
    Preset(
        "sd-clip-every-step",
        "Self-distilling CLIP, every step",
        "What sd-clip was in 0.1: the teacher teaches in every step, by two strong, interpolated views of the student "
        "and a second one of its own, and each pair is weighted by the teacher's trust. A step takes three of clip's: "
        "it is for long training on few data, where these are the limit and not the time.",
        PAPER,
        _sd_clip_every_step,
    ),
    Preset(
        "sd-coca-every-step",
        "Self-distilling CoCa, every step",
        "What sd-coca was in 0.1, as sd-clip-every-step is of sd-clip. A step takes 2.6 of coca's.",
        PAPER,
        _sd_coca_every_step,
    ),
)
