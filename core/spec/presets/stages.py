"""Systems that are trained in stages: what each stage changes of the preset. The trainer runs them as a chain.

Flow: ``STAGES[preset]`` -> a run for each stage, in order, whose towers start from the run before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from core.spec.presets.preset import Size

Before = Literal["", "caption-filter"]


@dataclass(frozen=True)
class Stage:
    """One run of a chain: its name, what it is, and the settings that it changes of the preset."""

    name: str
    description: str
    settings: Callable[[Size], dict[str, Any]]
    before: Before = ""  # what is done with the run before it and the data


def _whole(size: Size) -> dict[str, Any]:
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
        Stage("image", "Images alone: hidden patches are restored (BEiT).", _vlmo_image),
        Stage(
            "text",
            "Words: hidden ones are restored while the image tower keeps its weights. Published on text alone; here "
            "the captions' images are shown.",
            _vlmo_text,
        ),
        Stage("pairs", "Contrast, matching and masked words, every weight free.", _whole),
    ),
    "blip": (
        Stage("first", "On the captions as they are.", _whole),
        Stage(
            "again",
            "On the captions that are left after the first model has captioned every image and filtered both its own "
            "and the given captions by its matching head.",
            _whole,
            before="caption-filter",
        ),
    ),
}
