"""Presets that compute nothing which another one does not: what holds of that step for step holds of them.

Checks that compute a whole step of each preset leave these to ``-m slow``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.model.towers.towers import build_towers, resolve_architecture
from core.spec.config import RunConfig
from core.spec.presets import preset_config, preset_names

WHOLE = "sd-coca-every-step"
CONTAINED = {  # preset -> the one that has all of its objectives, its fusion, its teacher and its views
    **dict.fromkeys(("clip", "align", "coca", "sd-clip", "sd-clip-every-step", "sd-clip-lean", "sd-coca"), WHOLE),
    "uniter": "vlmo",
    "mixup": "mixmatch",
}


def each_preset(*without: str) -> list[object]:
    """For ``parametrize``: every preset but those ``without``; the contained ones are slow checks."""
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in CONTAINED else name
        for name in preset_names()
        if name not in without
    ]


def is_contained(preset: str) -> bool:
    """Whether the step of ``preset`` is a part of that of the one that is named."""
    part, whole = (preset_config(name, "tiny") for name in (preset, CONTAINED[preset]))
    ours, theirs = ({name for name, one in config.objectives if one.weight > 0} for config in (part, whole))
    return (
        ours <= theirs
        and part.fusion.kind in ("none", whole.fusion.kind)
        and part.teacher.kind in ("none", whole.teacher.kind)
        and part.views.student.count <= max(1, whole.views.student.count)
        and part.views.local.count <= whole.views.local.count
        and (part.belief.action == "none" or whole.belief.action != "none")
    )


def weights_to_start_from(config: RunConfig, folder: Path) -> str:
    """A file of weights of the architecture of ``config``, for presets whose teacher is what training starts from."""
    path = folder / f"{config.towers.architecture}.safetensors"
    if not path.exists():
        torch.manual_seed(1)
        towers = build_towers(resolve_architecture(config.towers.architecture))
        save_file({name: value.contiguous() for name, value in towers.clip.state_dict().items()}, path)
    return str(path)
