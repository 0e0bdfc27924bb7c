"""What a run left, as tests compare it with another run's."""

from __future__ import annotations

import torch

from core.checkpoint import files as checkpoint
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.model_names import networks_in, resolve

_TIMED = ("train/pairs_per_s", "runtime/", "system/")


def losses(run: RunDir) -> dict[int, dict[str, float]]:
    """The deterministic values of each step, the last report of a step counting."""
    return {
        event.step: {name: value for name, value in event.values.items() if not name.startswith(_TIMED)}
        for event in EventReader(run.events).read_all()
        if isinstance(event, Metrics)
    }


def weights(run: RunDir, which: str = "last") -> dict[str, torch.Tensor]:
    """Tensors of all parts of a checkpoint, by part and name."""
    name = resolve(run, which)
    return {
        f"{part}.{key}": value
        for part in networks_in(run, name)
        for key, value in checkpoint.load_weights(run, name, part, torch.device("cpu")).items()
    }
