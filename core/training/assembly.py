"""Builds the parts of a run from its config: data sets, networks, objectives and loader."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from core.checkpoint.opening import open_teachers
from core.checkpoint.starting import carry_over, load_towers
from core.custom.loading import NO_CODE, CustomCode
from core.data.batch import Batch
from core.data.custom import open_custom
from core.data.dataset import Log, PairDataset, Progress, open_dataset
from core.data.labelling import label_rows
from core.data.loader import Loader, RankPosition
from core.data.pairs import Pairs
from core.data.shard_pairs import ShardPairs, open_shards
from core.inference.encoder import Features, encode_dataset
from core.model.block_passes import checkpoint_activations, compile_blocks
from core.model.network import Network, build_backbone
from core.model.runtime import Runtime, set_up
from core.model.towers.downloading import fetch_architecture
from core.model.towers.towers import Towers
from core.objectives.build import Objectives, add_heads, build_objectives
from core.objectives.weighting.caption_filter import mismatched_rows
from core.objectives.weighting.model_fit import ModelFit
from core.ranks.batch_norm import synchronise_batch_norms
from core.spec.config import RunConfig, read_config, retained_sets, validate
from core.spec.errors import UserError
from core.spec.run.model_names import RunNetwork, locate_run
from core.spec.shards import is_shards
from core.teacher.build import build_teacher
from core.teacher.stored import StoredFeatures, StoredTeacher
from core.teacher.teacher import Teacher
from core.training.step.prefetch import prefetch
from core.training.step.student_step import StudentStep
from core.training.team.team import ALONE, Team

MAX_FLOAT32_PAIRS = 16384  # stored targets of more pairs are kept in half precision
COMPILED_LENGTH_MULTIPLE = 16  # with compiled blocks, caption lengths are multiples of this


@dataclass(frozen=True)
class Assembly:
    """The parts of a run."""

    runtime: Runtime
    model_cfg: dict[str, Any]  # the open_clip model configuration, saved with each checkpoint
    network: Network  # the student
    student: StudentStep  # the student's part of a step
    teacher: Teacher | None
    objectives: Objectives
    train: Pairs
    val: PairDataset | None
    test: PairDataset | None
    retain: Mapping[str, PairDataset]  # retained data sets by name
    loader: Loader
    mismatched: Tensor | None = None  # rows that the caption filter dropped, (N,) bool
    text_length_multiple: int = 1  # captions are padded to a multiple of this length

    def to_device(self, batch: Batch) -> Batch:
        """The batch on the networks' device; copies to a GPU are asynchronous."""
        return self._pad_captions(batch).to(self.runtime.device)

    def batches(self, first: int, end: int) -> Generator[Batch, None, None]:
        """The loader's batches ``first`` to ``end - 1`` on the device, each prefetched during the previous step."""
        return prefetch(self.loader.batches(first, end), self.to_device, self.runtime.device)

    def _pad_captions(self, batch: Batch) -> Batch:
        """Pad captions to one of a few lengths, since blocks are compiled per length; results do not change."""
        towers, length = self.network.towers, batch.texts.shape[1]
        rounded_up = math.ceil(length / self.text_length_multiple) * self.text_length_multiple
        padded_length = min(rounded_up, towers.context_length)
        if padded_length <= length:
            return batch
        return replace(batch, texts=pad(batch.texts, (0, padded_length - length), value=towers.pad_id))


def assemble(
    config: RunConfig, progress: Progress, log: Log, team: Team = ALONE, code: CustomCode = NO_CODE
) -> Assembly:
    """The parts of the run ``config`` on its device; seeds torch's generator.

    ``progress`` is called while images are read, and may raise to cancel. ``code``: the custom code that the config
    may refer to. Raises UserError for contradictions, and for invalid data, architectures, weights or code.
    """
    config = validate(config.model_dump(mode="json"), "the config")
    if not config.data.train:
        raise UserError("data.train is empty; set it to the training data: a CSV, a JSON, or a folder of images.")
    runtime = set_up(config.runtime, team.launch.local_rank)
    torch.manual_seed(config.seed)
    model_cfg = fetch_architecture(config.towers.architecture, config.towers.pretrained)
    network, initial_weights = _build_and_load(config, model_cfg, code)

    open_data = _dataset_opener(config, network, progress, log, team, code)
    train: Pairs = (
        open_data(config.data.train)
        if config.data.dataset or not is_shards(config.data.train)
        else _open_shards(config, network, progress, log)
    )
    labels = label_rows(train, config.data, config.seed)
    add_heads(network, config, labels.classes if labels else (), code)
    if initial_weights is not None:
        carry_over(network, initial_weights)
    if team.size > 1 and (unsynchronised := synchronise_batch_norms(network)):
        log(
            f"{len(unsynchronised)} batch norms ({unsynchronised[0]}, ...) compute statistics per process, not over "
            "the whole batch."
        )
    network.to(runtime.device)
    objectives = build_objectives(config, network, code).to(runtime.device)
    teacher = _build_teacher(config, network, objectives, train, runtime, progress, code)
    mismatched = _filter_captions(config, network, train, runtime, progress, log)
    for objective in objectives:
        objective.prepare(network, config, progress)
    if config.towers.lora_rank:
        _add_lora(network, config, team)
    _set_up_blocks(network, teacher, config)
    position = _rank_position(team, runtime)
    patch = network.towers.patch_side
    return Assembly(
        runtime=runtime,
        model_cfg=model_cfg,
        network=network,
        student=StudentStep(network, runtime),
        teacher=teacher,
        objectives=objectives,
        train=train,
        val=open_data(config.data.val) if config.data.val else None,
        test=open_data(config.data.test) if config.data.test else None,
        retain={name: open_data(path) for name, path in retained_sets(config.data.retain).items()},
        loader=Loader(
            train, config, network.image_size, log, labels, patch, position, team.synchronise_batch, mismatched
        ),
        mismatched=mismatched,
        text_length_multiple=COMPILED_LENGTH_MULTIPLE if config.runtime.compile else 1,
    )


def _add_lora(network: Network, config: RunConfig, team: Team) -> None:
    if team.size > 1:
        raise UserError(f"LoRA trains in one process, not in {team.size}; start one, or set towers.lora_rank to 0.")
    network.add_lora(config.towers.lora_rank, config.towers.lora_alpha)


def _set_up_blocks(network: Network, teacher: Teacher | None, config: RunConfig) -> None:
    checkpoint_activations(network.blocks(), config.runtime.recompute)
    if config.runtime.compile:
        for student_or_teacher in (network, *(teacher.networks if teacher else ())):
            compile_blocks(student_or_teacher.blocks())


def _dataset_opener(
    config: RunConfig, network: Network, progress: Progress, log: Log, team: Team, code: CustomCode
) -> Callable[[str], PairDataset]:
    """A function that opens pairs by path, or by the name of a split of the user's data set."""
    towers, size, custom_dataset = network.towers, network.image_size, config.data.dataset
    if custom_dataset:
        function = code.load(custom_dataset)
        return lambda name: open_custom(
            function,
            custom_dataset,
            name,
            config.data,
            size,
            towers.tokenize,
            pad_id=towers.pad_id,
            progress=progress,
            log=log,
        )
    shared = team.secret if team.launch.local_size > 1 else ""  # so that one process per host reads the data
    return lambda path: open_dataset(
        path, config.data, size, towers.tokenize, pad_id=towers.pad_id, progress=progress, log=log, shared=shared
    )


def _build_and_load(
    config: RunConfig, model_cfg: dict[str, Any], code: CustomCode
) -> tuple[Network, RunNetwork | None]:
    """Towers and fusion with the weights that training starts from; and the run's network that they come from, if any.

    Pretrained weights are loaded before ``towers.build`` changes the model, but after it if they come from a run whose
    model was changed in the same way.
    """
    settings = config.towers
    if not settings.pretrained:
        return build_backbone(config, model_cfg, code), None
    source = locate_run(settings.pretrained, settings.weights)
    loaded: list[RunNetwork | None] = []

    def load(towers: Towers) -> None:
        loaded.append(load_towers(towers, settings.architecture, settings.pretrained, settings.weights))

    if source is not None and read_config(source.run.config).towers.build:
        network = build_backbone(config, model_cfg, code)
        load(network.towers)
    else:
        network = build_backbone(config, model_cfg, code, load)
    return network, loaded[0]


def _rank_position(team: Team, runtime: Runtime) -> RankPosition:
    """The position of this process among the processes that load batches."""
    return RankPosition(
        rank=team.launch.rank,
        world=team.size,
        local_world=team.launch.local_size,
        on_gpu=runtime.device.type == "cuda",
        device_distorts=runtime.device.type != "cpu",
    )


def _open_shards(config: RunConfig, network: Network, progress: Progress, log: Log) -> ShardPairs:
    data, towers, size = config.data, network.towers, network.image_size
    return open_shards(data.train, data, size, towers.tokenize, pad_id=towers.pad_id, progress=progress, log=log)


def _build_teacher(
    config: RunConfig,
    network: Network,
    objectives: Objectives,
    train: Pairs,
    runtime: Runtime,
    progress: Progress,
    code: CustomCode,
) -> Teacher | None:
    settings = config.teacher
    trained = open_teachers(settings.checkpoint, settings.weights, runtime.device) if settings.traits.trained else []
    teacher = build_teacher(settings, network, trained, objectives, code)
    if teacher is not None and settings.targets == "stored":
        return _store_targets(config, teacher.networks, train, runtime, progress)
    return teacher


def _filter_captions(
    config: RunConfig, network: Network, train: Pairs, runtime: Runtime, progress: Progress, log: Log
) -> Tensor | None:
    """`mismatched_rows` of the training data; ``network`` has its initial weights."""

    def encode() -> ModelFit:
        features = _encode(config, network, train, runtime, progress, "filtering captions")
        return ModelFit(features.images[features.text_to_image], features.texts, float(network.logit_scale.detach()))

    return mismatched_rows(config, train, progress, log, encode if config.towers.pretrained else None)


def _encode(
    config: RunConfig, network: Network, train: Pairs, runtime: Runtime, progress: Progress, activity: str
) -> Features:
    """Features of the training data, which must not be shards."""
    assert isinstance(train, PairDataset)
    batch_size = config.validation.batch_size
    return encode_dataset(
        network, train, runtime, batch_size, lambda _, encoded, total: progress(activity, encoded, total)
    )


def _store_targets(
    config: RunConfig, networks: Sequence[Network], train: Pairs, runtime: Runtime, progress: Progress
) -> StoredTeacher:
    """A teacher with precomputed features of the training data."""
    if len(networks) > 1:
        raise UserError(
            f"teacher.checkpoint lists {len(networks)} teachers, but targets can be stored for only one; keep one of "
            "them, or set teacher.targets to pass."
        )
    assert isinstance(train, PairDataset)  # config validation excludes shards
    (network,) = networks
    encoded = _encode(config, network, train, runtime, progress, "storing targets")
    width, dtype = encoded.images.shape[1], torch.float32 if len(train) <= MAX_FLOAT32_PAIRS else torch.float16
    images = torch.zeros(len(train), width, dtype=dtype)
    images[encoded.rows] = encoded.images.to(dtype)
    texts = torch.zeros(len(train.captions), width, dtype=dtype)
    readable = torch.zeros(len(train), dtype=torch.bool)
    readable[encoded.rows] = True
    texts[readable[train.caption_rows]] = encoded.texts.to(dtype)
    spans = [train.caption_span(row) for row in range(len(train))]
    features = StoredFeatures(
        images,
        texts,
        tokens=train.tokens.long(),
        first_caption=torch.tensor([span.start for span in spans]),
        max_captions=max(map(len, spans)),
        pad_id=train.pad_id,
    )
    return StoredTeacher(config.teacher, features.to(runtime.device), network)
