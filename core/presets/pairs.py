"""Systems that join image and text: they write captions, match pairs or restore hidden words."""

from __future__ import annotations

from typing import Any

from core.presets.preset import Preset, Size


def coca_towers(size: Size) -> dict[str, Any]:
    """The CoCa architecture of a size."""
    return {"architecture": {"tiny": "sd-coca-tiny", "demo": "sd-coca-demo", "base": "coca_ViT-B-32"}[size]}


def _coca(size: Size) -> dict[str, Any]:
    return {
        "towers": coca_towers(size),
        "objectives": {"contrastive": {"weight": 1.0}, "captioning": {"weight": 2.0}},
    }


PAIRS = (
    Preset(
        "coca",
        "CoCa",
        "Two towers and a decoder that writes the caption word by word, looking at the picture through attentional "
        "pooling. It is trained by the contrastive loss and, with twice its weight, by next-word cross-entropy, in one "
        "pass. The baseline of everything that captions here.",
        "Yu et al. 2022, CoCa: Contrastive captioners are image-text foundation models",
        _coca,
    ),
)
