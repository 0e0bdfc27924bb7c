"""The size ``large``: a system's settings at ``base``, with the towers of ViT-L/14.

Published settings stay the same; those that depend on the towers are adjusted.
"""

from __future__ import annotations

from typing import Any

# Towers of ``base`` -> of ``large``; others stay (a ResNet-50 is EMAN's and MixMatch's at full size).
TOWERS = {"ViT-B-32": "ViT-L-14", "ViT-B-16": "ViT-L-14", "coca_ViT-B-32": "coca_ViT-L-14"}
WIDTH, HEADS = 768, 12  # of a fusion, at least: the width of the text tower


def large(settings: dict[str, Any]) -> dict[str, Any]:
    """The whole ``settings`` of a preset at ``base``, at ``large``."""
    towers, fusion = settings["towers"], settings.get("fusion", {})
    changed = {**settings, "towers": towers | _towers(towers["architecture"])}
    if fusion.get("width", WIDTH) < WIDTH:
        changed["fusion"] = fusion | {"width": WIDTH, "heads": HEADS}
    return changed


def _towers(architecture: str) -> dict[str, Any]:
    if architecture == "ViT-L-14-quickgelu":  # BLIP-2 was published with this one and with EVA-CLIP's ViT-g/14
        return {"architecture": "EVA01-g-14", "pretrained": "laion400m_s11b_b41k"}
    return {"architecture": TOWERS.get(architecture, architecture)}
