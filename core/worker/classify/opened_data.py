"""A model with features of labelled data, kept in memory between requests.

Flow: ``session`` -> ``open_data`` -> zero-shot, probes. Features come from the disk cache of
`core.inference.extraction`, so that they are encoded only once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from core.checkpoint.opening import Model
from core.evaluation.request import Splits
from core.inference.encoder import PROJECTED, check_layer, encode_texts
from core.inference.extraction import class_embedder
from core.inference.fusing import TEXT_KINDS, FusedEncoder, build_fused_encoder, can_caption, can_fuse, fused_features
from core.inference.labelled import LabelledFeatures, open_labelled, size_notes, unreadable
from core.metrics.classification.linear_probe import HELD_OUT_SHARE, stratified_split
from core.metrics.classification.logistic import ProbeData
from core.metrics.classification.prompts import load_templates
from core.metrics.classification.zero_shot import CachedTextEncoder, ClassEmbedder
from core.model.towers.block_states import blocks_of
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.paths import is_folder
from core.spec.reporter import Progress
from core.worker.classify.keys import DataRequest
from core.worker.classify.trying import TriedImages
from core.worker.session import modified_at, write_key

SPLIT_OF_DATA = "split"  # named as training data: split the data into training and test images
MAX_LISTED = 100  # skipped rows listed with their reasons


@dataclass
class LoadedModel:
    """A model with its embedded class names and images, shared by all data that is opened with the model."""

    model: Model
    embedders: dict[tuple[str, ...], ClassEmbedder] = field(default_factory=dict)
    tried: TriedImages = field(init=False)
    texts: CachedTextEncoder = field(init=False)  # prompts that are being edited

    def __post_init__(self) -> None:
        self.tried = TriedImages(self.model)
        self.texts = CachedTextEncoder(lambda texts: encode_texts(self.model.network, texts, self.model.runtime))

    def embedder(self, templates: tuple[str, ...]) -> ClassEmbedder:
        """The embedder for ``templates``."""
        if templates not in self.embedders:
            self.embedders[templates] = class_embedder(self.model, templates)
        return self.embedders[templates]

    def embedder_for_editing(self, templates: tuple[str, ...]) -> ClassEmbedder:
        """An embedder for templates that are being edited, with a cache per prompt in memory, not on disk."""
        return ClassEmbedder(self.texts, templates, self.model.digest, batch=self.model.batch)

    def describe(self) -> dict[str, Any]:
        """The model's details and capabilities for the panel."""
        model, network = self.model, self.model.network
        layers = ["before the projection", PROJECTED]
        layers += [f"block {number + 1}" for number in range(len(blocks_of(network.towers.clip.visual)))]
        texts = [text for text in TEXT_KINDS if text != "caption" or can_caption(model)] if can_fuse(network) else []
        return {
            "name": model.subject.model,
            "title": model.subject.title,
            "weights": model.subject.weights,
            "pretrained": model.subject.pretrained,
            "digest": model.digest,
            "image_size": network.image_size,
            "layers": layers,
            "texts": texts,
            "notes": list(model.notes),
        }


@dataclass
class OpenedData:
    """Features of labelled data from one model."""

    key: str  # see ``keys``
    loaded: LoadedModel
    layer: str
    splits: Splits | None  # None if there is no training data
    test: LabelledFeatures
    notes: tuple[str, ...]
    _fused: dict[tuple[str, tuple[str, ...]], list[Tensor]] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model in use."""
        return self.loaded.model

    @property
    def title(self) -> str:
        """The model's title and precision, for headings."""
        return f"{self.model.subject.title}, {self.model.runtime.precision}"

    def trainable(self) -> Splits:
        """The splits for training. Raises UserError without training data."""
        if self.splits is None:
            raise UserError(self.notes[-1] if self.notes else "there is no training data; choose labelled data.")
        return self.splits

    def image(self) -> tuple[ProbeData, ProbeData, ProbeData | None]:
        """Training, test and validation data with image features."""
        return self.trainable().data(self.layer)

    def build_fused_encoder(self, text: str, templates: str) -> FusedEncoder:
        """The encoder that fuses images with ``text``. Raises UserError if the model has no fusion."""
        prompts = load_templates(templates)
        embed = self.loaded.embedder(prompts).embed
        return build_fused_encoder(self.model, text, self.test.labels.classes, prompts, embed)

    def fused_data(self, encoder: FusedEncoder, progress: Progress) -> tuple[ProbeData, ProbeData, ProbeData | None]:
        """Training, test and validation data with fused features."""
        splits = self.trainable()
        key = (encoder.text, encoder.templates)
        if key not in self._fused:
            by_dataset: dict[int, Tensor] = {}
            for split in splits.all():
                if id(split.dataset) not in by_dataset:  # splits of the same data set are encoded once
                    by_dataset[id(split.dataset)] = fused_features(encoder, split.dataset, progress).values[
                        encoder.layer
                    ]
            self._fused[key] = [by_dataset[id(split.dataset)] for split in splits.all()]
        data = [
            ProbeData(features, split.labels) for features, split in zip(self._fused[key], splits.all(), strict=True)
        ]
        return data[0], data[1], data[2] if len(data) > 2 else None

    def answer(self) -> dict[str, Any]:
        """The opened data as plain data."""
        splits = self.splits
        return {
            "opened": self.key,
            "model": self.loaded.describe(),
            "layer": self.layer,
            "classes": list(self.test.labels.classes),
            "data": describe_split(self.test),
            "train": describe_split(splits.train) if splits else None,
            "val": describe_split(splits.val) if splits and splits.val else None,
            "notes": list(self.notes),
        }


def describe_split(split: LabelledFeatures) -> dict[str, Any]:
    """Statistics of a split and skipped rows, as plain data."""
    bad_rows = split.dataset.all_bad()
    return {
        "source": split.dataset.origin,
        "label": split.label,
        "labels": list(split.dataset.label_names),
        "images": len(split.rows),
        "labelled": len(split.labels.rows),
        "counts": split.labels.counts().tolist(),
        "skipped": [{"where": row.location, "reason": row.reason} for row in bad_rows[:MAX_LISTED]],
        "skipped_count": len(bad_rows),
        "notes": [*unreadable(split.dataset), *split.labels.notes],
    }


def open_data(loaded: LoadedModel, request: DataRequest, progress: Progress) -> OpenedData:
    """Extract the features of ``request``. If it names no training data, the run's training data is used if it has such
    labels; otherwise a fifth of the data is held out for testing.

    Raises UserError for invalid data, labels and layers.
    """
    # Unreadable images are listed; the others are used.
    model = replace(loaded.model, data=loaded.model.data.model_copy(update={"max_bad_share": 1.0}))
    layer = check_layer(model.network, request.layer)
    layers = list(dict.fromkeys([layer, PROJECTED]))

    def labelled_features(source: str, label: str, classes: tuple[str, ...] | None = None) -> LabelledFeatures:
        return open_labelled(model, source, label, layers, progress, _ignore, classes)

    splits, reasons = _open_training_data(request, model, labelled_features)
    notes = list(reasons)
    if splits is None:
        test = labelled_features(request.data, request.label)
        splits, split_notes = _split(test)
        notes += split_notes
        test = splits.test if splits else test
    else:
        test = splits.test
        train = splits.train
        notes += [f"training data: {note}" for note in (*unreadable(train.dataset), *train.labels.notes)]
        if train.dataset.origin == test.dataset.origin:
            notes.append(
                "the training data are the test data, so the results do not measure performance on unseen images."
            )
    if splits and request.val:
        splits = replace(splits, val=labelled_features(request.val, request.label, test.labels.classes))
    notes = [*size_notes(test.dataset, model.network.image_size), *unreadable(test.dataset), *test.labels.notes, *notes]
    return OpenedData(write_key(request), loaded, layer, splits, test, tuple(notes))


def modification_times(source: str) -> tuple[int, ...]:
    """When a table was modified, or a folder and its class folders; (0,) otherwise, as for ``SPLIT_OF_DATA``."""
    path = expand_user(source)
    class_folders = sorted(folder for folder in path.iterdir() if folder.is_dir()) if source and is_folder(path) else []
    return tuple(map(modified_at, (path, *class_folders)))


def _ignore(message: str) -> None:
    """Discards messages; skipped rows are listed in the answer."""


def _open_training_data(
    request: DataRequest, model: Model, labelled_features: Callable[..., LabelledFeatures]
) -> tuple[Splits | None, list[str]]:
    """The training and test data; None with reasons if the data must be split."""
    run_train = model.data.train
    if request.train == SPLIT_OF_DATA or (not request.train and not (run_train and expand_user(run_train).exists())):
        return None, []
    if request.train:
        train = labelled_features(request.train, request.train_label or request.label)
        return Splits(train, labelled_features(request.data, request.label, train.labels.classes)), []
    if expand_user(run_train).resolve() == expand_user(request.data).resolve():
        return None, []
    try:
        train = labelled_features(run_train, request.train_label or request.label)
        return Splits(train, labelled_features(request.data, request.label, train.labels.classes)), []
    except UserError as error:
        return None, [f"the model's training data cannot be used for a probe: {error}"]


def _split(test: LabelledFeatures) -> tuple[Splits | None, list[str]]:
    """Split the data: a fifth of each class for testing, the remainder for training."""
    labels = test.labels
    single = [name for name, count in Counter(labels.targets.tolist()).items() if count == 1]
    if len(single) == int((labels.counts() > 0).sum()):
        return None, [
            "every class has only one image, so none remains to test a probe; choose training data, or add images."
        ]
    train_rows, test_rows = stratified_split(labels.targets.numpy(), HELD_OUT_SHARE, 0)
    shares = f"{len(train_rows)} are used to train and {len(test_rows)} to test."
    notes = [f"no training data: of {len(labels.rows)} images {shares}"]
    if single:
        notes.append(
            f"{len(single)} classes have only one image, such as {labels.classes[single[0]]!r}; it is "
            "used for training only."
        )
    return Splits(test.split(torch.from_numpy(train_rows)), test.split(torch.from_numpy(test_rows))), notes
