"""Presets that are trained in stages, as a chain: the settings that each stage changes.

Flow: ``STAGES[preset]`` -> one run per stage, in order; the towers start from the previous run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from core.spec.presets.preset import Size

Before = Literal["", "caption-filter"]


@dataclass(frozen=True)
class Stage:
    """One run of a chain: a name, a description, and the settings of the preset that the stage changes."""

    name: str
    description: str
    settings: Callable[[Size], dict[str, Any]]
    before: Before = ""  # how the previous run processes the data before this stage


def _unchanged_settings(size: Size) -> dict[str, Any]:
    return {}


def _vlmo_image(size: Size) -> dict[str, Any]:
    return {
        "views": {
            "student": {"count": 1, "crop_min": 0.5, "mask": 1.0, "mask_share": 0.4},
            "shared": True,
        },
        "fusion": {"kind": "none"},
        "teacher": {"kind": "ema", "momentum": {"tiny": 0.9, "demo": 0.98, "base": 0.999}[size]},
        "objectives": {
            "contrastive": {"weight": 0.0},
            "matching": {"weight": 0.0},
            "masked_words": {"weight": 0.0},
            "masked_patches": {"weight": 1.0, "prototypes": {"tiny": 64, "demo": 1024, "base": 8192}[size]},
        },
    }


def _vlmo_text(size: Size) -> dict[str, Any]:
    return {
        "towers": {"freeze": "image"},
        "objectives": {"contrastive": {"weight": 0.0}, "matching": {"weight": 0.0}},
    }


STAGES: dict[str, tuple[Stage, ...]] = {
    "vlmo": (
        Stage("image", "Images only: masked patches are predicted (BEiT).", _vlmo_image),
        Stage(
            "text",
            "Masked words are predicted while the image tower is frozen. The published system uses text only; here, "
            "the images of the captions are used too.",
            _vlmo_text,
        ),
        Stage("pairs", "Contrastive loss, matching and masked words; nothing is frozen.", _unchanged_settings),
    ),
    "blip": (
        Stage("first", "Trained on the original captions.", _unchanged_settings),
        Stage(
            "again",
            "Trained on the captions that remain after the first model has captioned every image and filtered both its "
            "own and the original captions by its matching head.",
            _unchanged_settings,
            before="caption-filter",
        ),
    ),
}
