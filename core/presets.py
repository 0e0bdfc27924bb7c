"""Named RunConfigs: the method and its baselines, each a point in the space of the five axes.

Flow: the form and ``python -m core presets`` start from here. Adding a published system means adding a function
and, at most, one objective.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from core.config import ConfigError, RunConfig

Size = Literal["tiny", "demo", "base"]
SIZES: tuple[Size, ...] = get_args(Size)


@dataclass(frozen=True)
class Preset:
    """A named system: what it is, where it was published, and how it departs from the defaults."""

    name: str
    title: str
    description: str
    paper: str
    settings: Callable[[Size], dict[str, Any]]


def _clip(size: Size) -> dict[str, Any]:
    return {"objectives": {"contrastive": {"weight": 1.0}}}


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


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "clip",
            "CLIP",
            "Two towers trained by symmetric InfoNCE over the batch. The baseline of everything here.",
            "Radford et al. 2021, Learning transferable visual models from natural language supervision",
            _clip,
        ),
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
    )
}


def _size_settings(size: Size) -> dict[str, Any]:
    """What a size fixes for every preset: architecture, batch and length of training."""
    if size == "tiny":
        return {
            "towers": {"architecture": "sd-tiny"},
            "optim": {"epochs": 2, "batch_size": 16, "learning_rate": 2e-3, "warmup": 0.1},
            "runtime": {"device": "cpu", "precision": "fp32"},
        }
    if size == "demo":
        return {
            "towers": {"architecture": "sd-demo"},
            "optim": {"epochs": 6, "batch_size": 64, "learning_rate": 1e-3, "warmup": 0.1, "weight_decay": 0.1},
            "checkpoint": {"every_steps": 100},
        }
    return {
        "towers": {"architecture": "ViT-B-32"},
        "optim": {"epochs": 32, "batch_size": 256, "learning_rate": 5e-4, "warmup": 0.05, "weight_decay": 0.2},
        "data": {"workers": 4},
    }


def preset_names() -> list[str]:
    """Every preset, in the order it is listed."""
    return list(PRESETS)


def preset_config(name: str, size: Size = "base") -> RunConfig:
    """The definition of preset ``name``; ConfigError with the nearest names when there is none."""
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(PRESETS)}."
        raise ConfigError(f"there is no preset {name!r}; {hint}")
    if size not in SIZES:
        raise ConfigError(f"there is no size {size!r}; choose {', '.join(SIZES)}.")
    settings = _size_settings(size) | PRESETS[name].settings(size)
    return RunConfig.model_validate({"name": name, "preset": name, **settings})
