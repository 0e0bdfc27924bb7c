"""A definition turned into live parts: data opened, networks built, ready for the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from core.checkpoint.former import carry_over, open_teachers
from core.checkpoint.loading import start_weights
from core.data.batch import Batch
from core.data.dataset import Log, PairDataset, Progress, open_dataset
from core.data.labelling import label_rows
from core.data.loader import Loader
from core.model.network import Network, build_backbone
from core.model.runtime import Runtime, set_up
from core.model.towers.towers import load_pretrained, resolve_architecture
from core.objectives.build import Objectives, add_heads, build_objectives
from core.spec.config import RunConfig, validate
from core.spec.errors import UserError
from core.teacher.build import build_teacher
from core.teacher.teacher import Teacher


@dataclass(frozen=True)
class Assembly:
    """What a run is made of."""

    runtime: Runtime
    model_cfg: dict[str, Any]  # the open_clip model configuration, kept with each checkpoint
    network: Network  # the student
    teacher: Teacher | None
    objectives: Objectives
    train: PairDataset
    val: PairDataset | None
    test: PairDataset | None
    loader: Loader

    def to_device(self, batch: Batch) -> Batch:
        """The batch where the networks are; the copy overlaps with computing on a GPU."""
        if self.runtime.device.type == "cpu":
            return batch
        return batch.map(lambda tensor: tensor.to(self.runtime.device, non_blocking=True))


def assemble(config: RunConfig, progress: Progress, log: Log) -> Assembly:
    """Everything that ``config`` names, built with its seed.

    Raises UserError for contradictions, data, architectures or weights that cannot be used; whatever ``progress``
    raises, to end a long reading of pictures.
    """
    config = validate(config.model_dump(mode="json"), "the experiment")
    if not config.data.train:
        raise UserError("data.train is empty; name the training data: a CSV, a JSON, or a folder of pictures.")
    runtime = set_up(config.runtime)
    torch.manual_seed(config.seed)
    model_cfg = resolve_architecture(config.towers.architecture)
    network = build_backbone(config, model_cfg)
    weights = ""
    if config.towers.pretrained:
        weights = start_weights(config.towers.pretrained, config.towers.weights)
        load_pretrained(network.towers, config.towers.architecture, weights)

    def opened(path: str) -> PairDataset:
        towers = network.towers
        return open_dataset(
            path, config.data, network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=progress, log=log
        )

    train = opened(config.data.train)
    labels = label_rows(train, config.data, config.seed)
    add_heads(network, config, labels.classes if labels else ())
    carry_over(network, weights)
    network.to(runtime.device)
    objectives = build_objectives(config, network).to(runtime.device)
    return Assembly(
        runtime=runtime,
        model_cfg=model_cfg,
        network=network,
        teacher=build_teacher(config.teacher, network, _trained_teachers(config, runtime.device), objectives),
        objectives=objectives,
        train=train,
        val=opened(config.data.val) if config.data.val else None,
        test=opened(config.data.test) if config.data.test else None,
        loader=Loader(train, config, network.image_size, log, labels, network.towers.patch_side),
    )


def _trained_teachers(config: RunConfig, device: torch.device) -> list[Network]:
    """The networks that ``teacher.checkpoint`` names, where the teacher is not made of the student."""
    teacher = config.teacher
    if teacher.kind not in ("frozen", "previous"):
        return []
    return open_teachers(teacher.checkpoint, teacher.weights, device)
