"""Named configs: the method, its baselines and related systems. No torch.

Flow: the form's list of presets, or ``python -m core presets NAME`` -> a ``RunConfig`` -> changed by the user -> run.
"""

from __future__ import annotations

from typing import Any

from core.spec.config import ConfigError, RunConfig
from core.spec.errors import nearest
from core.spec.presets.adapting import ADAPTING
from core.spec.presets.baselines import BASELINES
from core.spec.presets.contrastive import CONTRASTIVE
from core.spec.presets.images import IMAGES
from core.spec.presets.labels import LABELS
from core.spec.presets.method import METHOD
from core.spec.presets.pairs import PAIRS
from core.spec.presets.preset import SIZES, Preset, Size, merge, settings_size
from core.spec.reading import MAX_EXCERPT_LENGTH

__all__ = ["PRESETS", "SIZES", "Preset", "Size", "preset_config", "preset_names"]

PRESETS: dict[str, Preset] = {
    preset.name: preset for preset in (*BASELINES, *PAIRS, *LABELS, *IMAGES, *METHOD, *ADAPTING, *CONTRASTIVE)
}
# Towers at ``base`` -> towers at ``large``; other towers stay the same (EMAN and MixMatch use a ResNet-50).
_LARGE_TOWERS = {"ViT-B-32": "ViT-L-14", "ViT-B-16": "ViT-L-14", "coca_ViT-B-32": "coca_ViT-L-14"}
_LARGE_WIDTH, _LARGE_HEADS = 768, 12  # minimum for a fusion: the width of the text tower


def _size_settings(size: Size) -> dict[str, Any]:
    """The settings that a size determines for every preset: architecture, batch and length of training."""
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
        "towers": {"architecture": "ViT-B-32"},  # large: ViT-L/14; learning rates of Radford et al. 2021, table 20
        "optim": {
            "epochs": 32,
            "batch_size": 256,
            "learning_rate": 4e-4 if size == "large" else 5e-4,
            "warmup": 0.05,
            "weight_decay": 0.2,
        },
    }


def preset_names() -> list[str]:
    """The names of all presets, in the order of lists."""
    return list(PRESETS)


def preset_config(name: str, size: Size = "base") -> RunConfig:
    """The config of the preset ``name``. Raises ConfigError, with similar names, for an unknown preset."""
    if name not in PRESETS:
        close = nearest(name[:MAX_EXCERPT_LENGTH], PRESETS, cutoff=0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"available: {', '.join(PRESETS)}."
        raise ConfigError(f"there is no preset '{name}'; {hint}")
    if size not in SIZES:
        raise ConfigError(f"there is no size '{size}'; choose {', '.join(SIZES)}.")
    below = {"data": {"decoding": "fast"}, **_size_settings(size)}
    settings = merge(below, PRESETS[name].settings(settings_size(size)))
    settings = _enlarge(settings) if size == "large" else settings
    return RunConfig.model_validate({"name": name, "preset": name, **settings})


def _enlarge(settings: dict[str, Any]) -> dict[str, Any]:
    """``settings`` at ``base`` with ViT-L/14 towers, and a fusion that is wide enough for them."""
    architecture, fusion = settings["towers"]["architecture"], settings.get("fusion", {})
    towers = {"architecture": _LARGE_TOWERS.get(architecture, architecture)}
    if architecture == "ViT-L-14-quickgelu":  # BLIP-2 was published with this tower and with EVA-CLIP's ViT-g/14
        towers = {"architecture": "EVA01-g-14", "pretrained": "laion400m_s11b_b41k"}
    wider = fusion.get("width", _LARGE_WIDTH) < _LARGE_WIDTH
    changes = {"towers": towers, **({"fusion": {"width": _LARGE_WIDTH, "heads": _LARGE_HEADS}} if wider else {})}
    return merge(settings, changes)
