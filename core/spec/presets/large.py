"""The size ``large``: a preset's settings at ``base``, with ViT-L/14 towers.

Published settings stay the same; settings that depend on the towers are adjusted.
"""

from __future__ import annotations

from typing import Any

# Towers at ``base`` -> towers at ``large``; other towers stay the same (EMAN and MixMatch use a ResNet-50).
TOWERS = {"ViT-B-32": "ViT-L-14", "ViT-B-16": "ViT-L-14", "coca_ViT-B-32": "coca_ViT-L-14"}
WIDTH, HEADS = 768, 12  # minimum for a fusion: the width of the text tower


def large(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a preset at ``large``, from all its ``settings`` at ``base``."""
    towers, fusion = settings["towers"], settings.get("fusion", {})
    changed = {**settings, "towers": towers | _towers(towers["architecture"])}
    if fusion.get("width", WIDTH) < WIDTH:
        changed["fusion"] = fusion | {"width": WIDTH, "heads": HEADS}
    return changed


def _towers(architecture: str) -> dict[str, Any]:
    if architecture == "ViT-L-14-quickgelu":  # BLIP-2 was published with this tower and with EVA-CLIP's ViT-g/14
        return {"architecture": "EVA01-g-14", "pretrained": "laion400m_s11b_b41k"}
    return {"architecture": TOWERS.get(architecture, architecture)}
