"""Loads initial weights from a run, a file, a folder or an open_clip tag.

Flow: ``core.training.assembly`` calls ``load_towers`` before it reads the data, and then ``carry_over`` for a run's
fusion and heads.
"""

from __future__ import annotations

import torch

from core.checkpoint import files as checkpoint
from core.model.network import Network
from core.model.towers.towers import Towers, load_pretrained
from core.spec.reporter import Progress
from core.spec.run.model_names import RunNetwork, locate_run


def load_towers(
    towers: Towers, architecture: str, pretrained: str, network: str = "auto", progress: Progress | None = None
) -> RunNetwork | None:
    """Load the weights ``pretrained`` into ``towers``; returns the run's network if they come from a run.

    ``pretrained``: a run (see ``core.spec.run.model_names.locate``), a file or folder of weights, or a tag of
    ``architecture``. ``network``: of a run, "student", "teacher" or "auto". ``progress`` counts the megabytes of a
    download. Raises UserError if the weights do not exist or do not fit.
    """
    run_network = locate_run(pretrained, network)
    load_pretrained(towers, architecture, str(run_network.path) if run_network else pretrained, progress)
    return run_network


def carry_over(network: Network, source: RunNetwork) -> list[str]:
    """Load fusion and heads of ``source`` into ``network``; returns the names of the loaded tensors.

    Tensors that differ in name or shape, and a classification head for different classes, remain randomly initialised.
    """
    info = checkpoint.read_info(source.run, source.checkpoint)
    tensors = checkpoint.load_weights(source.run, source.checkpoint, source.network, torch.device("cpu"))
    state = network.state_dict()
    other_classes = tuple(info.classes) != tuple(network.classes)
    fitting = {
        name: value
        for name, value in tensors.items()
        if not name.startswith("towers.clip.")
        and name in state
        and state[name].shape == value.shape
        and not (other_classes and name.startswith("heads.classification."))
    }
    network.load_state_dict(fitting, strict=False)
    return sorted(fitting)
