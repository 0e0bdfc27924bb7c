"""The baselines that the method is compared with."""

from __future__ import annotations

from typing import Any

from core.spec.presets.preset import Preset, Size


def _clip(size: Size) -> dict[str, Any]:
    return {"objectives": {"contrastive": {"weight": 1.0}}}


BASELINES = (
    Preset(
        "clip",
        "CLIP",
        "Two towers trained by symmetric InfoNCE over the batch. The baseline of everything here.",
        "Radford et al. 2021, Learning transferable visual models from natural language supervision",
        _clip,
    ),
)
