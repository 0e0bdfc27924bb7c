"""Named configs: the method, its baselines and related systems. No torch.

Flow: the form's list of presets, or ``python -m core presets NAME`` -> a ``RunConfig`` -> changed by the user -> run.
"""

from __future__ import annotations

from typing import Any

from core.spec.config import ConfigError, RunConfig
from core.spec.errors import nearest
from core.spec.presets.adapting import ADAPTING
from core.spec.presets.baselines import BASELINES
from core.spec.presets.beyond import BEYOND
from core.spec.presets.images import IMAGES
from core.spec.presets.labels import LABELS
from core.spec.presets.large import large
from core.spec.presets.method import METHOD
from core.spec.presets.pairs import PAIRS
from core.spec.presets.preset import SIZES, Preset, Size, settings_size
from core.spec.reading import MAX_EXCERPT_LENGTH

__all__ = ["PRESETS", "SIZES", "Preset", "Size", "preset_config", "preset_names"]

PRESETS: dict[str, Preset] = {
    preset.name: preset for preset in (*BASELINES, *PAIRS, *LABELS, *IMAGES, *METHOD, *ADAPTING, *BEYOND)
}


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
    settings = _merged(below, PRESETS[name].settings(settings_size(size)))
    settings = large(settings) if size == "large" else settings
    return RunConfig.model_validate({"name": name, "preset": name, **settings})


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge ``above`` into ``below``, section by section; ``above`` takes precedence."""
    common = {
        key: _merged(below[key], above[key]) for key in below.keys() & above.keys() if isinstance(above[key], dict)
    }
    return below | above | common
