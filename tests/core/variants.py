"""Presets that compute nothing which another one does not: what holds of that step for step holds of them.

Checks that compute a whole step of each preset leave these to ``-m slow``.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.model.towers.towers import build_towers, resolve_architecture
from core.spec.config import RunConfig, override
from core.spec.presets import Size, preset_config, preset_names

CONTAINED = {  # preset -> the one that has all of its objectives, its fusion, its teacher and its views
    **dict.fromkeys(("clip", "clip-filtered", "coca", "sd-clip"), "sd-coca"),
    "uniter": "vlmo",
    "mixup": "mixmatch",
}
EVERY_STEP = ("teacher.every=1", "views.student.count=2", "views.teacher.count=1")


def variant_config(name: str, size: Size = "tiny") -> RunConfig:
    """A preset, or with the suffix ``-every-step`` one whose teacher teaches in every step, by views of its own."""
    preset = name.removesuffix("-every-step")
    return override(preset_config(preset, size), list(EVERY_STEP) if preset != name else [])


def each_preset(*without: str, quick: Collection[str] = ()) -> list[object]:
    """For ``parametrize``: every preset but those ``without``; the contained ones are slow checks.

    If presets are ``quick``, only CI runs the others.
    """
    marks = {name: pytest.mark.ci for name in preset_names() if quick and name not in quick}
    marks |= dict.fromkeys(CONTAINED, pytest.mark.slow)
    return [
        pytest.param(name, marks=marks[name]) if name in marks else name
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
        and (part.noise.self_confidence == 0 or whole.noise.self_confidence > 0)
    )


def weights_to_start_from(config: RunConfig, folder: Path) -> str:
    """A file of weights of the architecture of ``config``, for presets whose teacher is what training starts from."""
    path = folder / f"{config.towers.architecture}.safetensors"
    if not path.exists():
        torch.manual_seed(1)
        towers = build_towers(resolve_architecture(config.towers.architecture))
        save_file({name: value.contiguous() for name, value in towers.clip.state_dict().items()}, path)
    return str(path)
