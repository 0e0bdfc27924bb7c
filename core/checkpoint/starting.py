"""Weights to start from: of a run, a file, a folder or an open_clip tag.

Flow: ``core.training.assembly`` loads the towers before the data are read, and what fits of a run's fusion and heads
once the network has its own.
"""

from __future__ import annotations

import torch

from core.checkpoint import files as checkpoint
from core.model.network import Network
from core.model.towers.towers import Towers, load_pretrained
from core.spec.reporter import Progress
from core.spec.run.model_names import RunNetwork, locate_run


def load_towers(
    towers: Towers, architecture: str, pretrained: str, weights: str = "auto", progress: Progress | None = None
) -> RunNetwork | None:
    """Load the weights ``pretrained`` into ``towers``; returns the run's network that they are, if they are one's.

    ``pretrained`` is a run as ``core.spec.run.model_names.locate`` takes it (and ``weights`` its "student" or
    "teacher"), a file or folder of weights, or a tag of ``architecture``. ``progress`` hears of a download, in
    megabytes. Raises UserError when there is none, or it does not fit.
    """
    found = locate_run(pretrained, weights)
    load_pretrained(towers, architecture, str(found.path) if found else pretrained, progress)
    return found


def carry_over(network: Network, source: RunNetwork) -> list[str]:
    """Load fusion and heads of ``source`` into ``network``, where they fit; returns the names of what was loaded.

    What has another name or shape there, or tells other classes apart, keeps its random start.
    """
    info = checkpoint.read_info(source.run, source.checkpoint)
    tensors = checkpoint.load_weights(source.run, source.checkpoint, source.network, torch.device("cpu"))
    own = network.state_dict()
    other_classes = tuple(info.classes) != tuple(network.classes)
    fitting = {
        name: value
        for name, value in tensors.items()
        if not name.startswith("towers.clip.")
        and name in own
        and own[name].shape == value.shape
        and not (other_classes and name.startswith("heads.classification."))
    }
    network.load_state_dict(fitting, strict=False)
    return sorted(fitting)
