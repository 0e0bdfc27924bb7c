"""A model with labelled data as features, kept in memory between two requests.

Flow: ``session`` -> **opened** -> zero-shot, probes. Features come from the disk cache of `core.inference.extraction`,
so that they are encoded once, even when the worker is restarted.

Legend: N images, D width of the features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from core.checkpoint.opening import Model
from core.evaluation.work import Splits
from core.inference.encoder import PROJECTED, check_layer, encode_texts
from core.inference.extraction import class_embedder
from core.inference.fusing import TEXTS, FusedEncoder, build_fused_encoder, can_caption, can_fuse, fused_features
from core.inference.labelled import LabelledFeatures, open_labelled, size_notes, unreadable
from core.metrics.classification.linear_probe import HELD_OUT, stratified_split
from core.metrics.classification.logistic import ProbeData
from core.metrics.classification.prompts import load_templates
from core.metrics.classification.zero_shot import CachedTextEncoder, ClassEmbedder
from core.model.towers.block_states import blocks_of
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.reporter import Progress
from core.worker.classify.keys import Wanted
from core.worker.classify.trying import Tried

SPLIT = "split"  # in place of training data: a part of the data themselves
SHOWN = 100  # rows that cannot be used, told with their reasons


@dataclass
class LoadedModel:
    """A model in use, the class names and images that it has embedded; shared by all data that are open with it."""

    model: Model
    embedders: dict[tuple[str, ...], ClassEmbedder] = field(default_factory=dict)
    tried: Tried = field(init=False)
    texts: CachedTextEncoder = field(init=False)  # prompts, while they are edited

    def __post_init__(self) -> None:
        self.tried = Tried(self.model)
        self.texts = CachedTextEncoder(lambda texts: encode_texts(self.model.network, texts, self.model.runtime))

    def embedder(self, templates: tuple[str, ...]) -> ClassEmbedder:
        """The one embedder for ``templates``."""
        if templates not in self.embedders:
            self.embedders[templates] = class_embedder(self.model, templates)
        return self.embedders[templates]

    def edited(self, templates: tuple[str, ...]) -> ClassEmbedder:
        """An embedder for templates as they are edited: what it encodes is remembered by the prompt, not on disk."""
        return ClassEmbedder(self.texts, templates, self.model.digest, batch=self.model.batch)

    def about(self) -> dict[str, Any]:
        """What a panel shows of it, and what it can do."""
        model, network = self.model, self.model.network
        layers = ["before the projection", PROJECTED]
        layers += [f"block {number + 1}" for number in range(len(blocks_of(network.towers.clip.visual)))]
        texts = [text for text in TEXTS if text != "caption" or can_caption(model)] if can_fuse(network) else []
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
class Opened:
    """Labelled data as features of one model."""

    key: str  # names it, see ``keys``
    loaded: LoadedModel
    layer: str
    splits: Splits | None  # None: there is nothing to train on
    test: LabelledFeatures
    notes: tuple[str, ...]
    _joined: dict[tuple[str, tuple[str, ...]], list[Tensor]] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The model in use."""
        return self.loaded.model

    @property
    def title(self) -> str:
        """The model's, and the precision it computes in, for headings."""
        return f"{self.model.subject.title}, {self.model.runtime.precision}"

    def trainable(self) -> Splits:
        """What a probe is trained and tested on; UserError where there is nothing to train on."""
        if self.splits is None:
            raise UserError(self.notes[-1] if self.notes else "there are no training data; name labelled ones.")
        return self.splits

    def image(self) -> tuple[ProbeData, ProbeData, ProbeData | None]:
        """Training, test and validation data of the image alone."""
        splits = self.trainable()
        val = splits.val.data(self.layer) if splits.val else None
        return splits.train.data(self.layer), splits.test.data(self.layer), val

    def build_fused_encoder(self, text: str, templates: str) -> FusedEncoder:
        """How images are joined with text here; UserError when the model cannot."""
        prompts = load_templates(templates)
        embed = self.loaded.embedder(prompts).embed
        return build_fused_encoder(self.model, text, self.test.labels.classes, prompts, embed)

    def fused(self, how: FusedEncoder, progress: Progress) -> tuple[ProbeData, ProbeData, ProbeData | None]:
        """The same, of images joined with text."""
        splits = self.trainable()
        key = (how.text, how.templates)
        if key not in self._joined:
            by_dataset: dict[int, Tensor] = {}
            for split in splits.all():
                if id(split.dataset) not in by_dataset:  # a split of one data set is joined once
                    by_dataset[id(split.dataset)] = fused_features(how, split.dataset, progress).values[how.layer]
            self._joined[key] = [by_dataset[id(split.dataset)] for split in splits.all()]
        data = [
            ProbeData(features, split.labels) for features, split in zip(self._joined[key], splits.all(), strict=True)
        ]
        return data[0], data[1], data[2] if len(data) > 2 else None

    def answer(self) -> dict[str, Any]:
        """As plain data."""
        splits = self.splits
        return {
            "opened": self.key,
            "model": self.loaded.about(),
            "layer": self.layer,
            "classes": list(self.test.labels.classes),
            "data": about_split(self.test),
            "train": about_split(splits.train) if splits else None,
            "val": about_split(splits.val) if splits and splits.val else None,
            "notes": list(self.notes),
        }


def about_split(split: LabelledFeatures) -> dict[str, Any]:
    """A split's figures and what was skipped, as plain data."""
    bad = split.dataset.all_bad()
    return {
        "source": split.dataset.origin,
        "label": split.label,
        "labels": list(split.dataset.label_names),
        "images": len(split.rows),
        "labelled": len(split.labels.rows),
        "counts": split.labels.counts().tolist(),
        "skipped": [{"where": row.location, "reason": row.reason} for row in bad[:SHOWN]],
        "skipped_count": len(bad),
        "notes": [*unreadable(split.dataset), *split.labels.notes],
    }


def open_data(loaded: LoadedModel, request: Wanted, progress: Progress) -> Opened:
    """Extract what is wanted. Without training data named, the run's own are taken where they have such labels, else
    a fifth of the data is kept for testing and the rest trained on.

    Raises UserError for data, labels and layers that cannot be used.
    """
    # Unreadable images are listed and the others used.
    model = replace(loaded.model, data=loaded.model.data.model_copy(update={"max_bad_share": 1.0}))
    layer = check_layer(model.network, request.layer)
    layers = list(dict.fromkeys([layer, PROJECTED]))

    def labelled(source: str, label: str, classes: tuple[str, ...] | None = None) -> LabelledFeatures:
        return open_labelled(model, source, label, layers, progress, _unheard, classes)

    splits, why = _given(request, model, labelled)
    notes = list(why)
    if splits is None:
        test = labelled(request.data, request.label)
        splits, more = _split(test)
        notes += more
        test = splits.test if splits else test
    else:
        test = splits.test
        train = splits.train
        notes += [f"training data: {note}" for note in (*unreadable(train.dataset), *train.labels.notes)]
        if train.dataset.origin == test.dataset.origin:
            notes.append(
                "the training data are the test data, so the results do not tell how well it does on unseen images."
            )
    if splits and request.val:
        splits = replace(splits, val=labelled(request.val, request.label, test.labels.classes))
    sized = size_notes(test.dataset, model.network.image_size)
    return Opened(
        request.key, loaded, layer, splits, test, (*sized, *unreadable(test.dataset), *test.labels.notes, *notes)
    )


def _unheard(message: str) -> None:
    """Rows that are skipped are listed in the answer."""


def _given(request: Wanted, model: Model, labelled: Callable[..., LabelledFeatures]) -> tuple[Splits | None, list[str]]:
    """Training and test data; None, and why, where the data themselves are to be split."""
    run_train = model.data.train
    if request.train == SPLIT or (not request.train and not (run_train and expand_user(run_train).exists())):
        return None, []
    if request.train:
        train = labelled(request.train, request.train_label or request.label)
        return Splits(train, labelled(request.data, request.label, train.labels.classes)), []
    if expand_user(run_train).resolve() == expand_user(request.data).resolve():
        return None, []
    try:
        train = labelled(run_train, request.train_label or request.label)
        return Splits(train, labelled(request.data, request.label, train.labels.classes)), []
    except UserError as error:
        return None, [f"the model's own training data cannot be used for a probe: {error}"]


def _split(test: LabelledFeatures) -> tuple[Splits | None, list[str]]:
    """A fifth of each class for testing, the rest for training."""
    labels = test.labels
    single = [name for name, count in Counter(labels.targets.tolist()).items() if count == 1]
    if len(single) == int((labels.counts() > 0).sum()):
        return None, [
            "every class has one image only, so none is left to test a probe on; "
            "give training data, or more images per class."
        ]
    train_rows, test_rows = stratified_split(labels.targets.numpy(), HELD_OUT, 0)
    shares = f"{len(train_rows)} are used to train and {len(test_rows)} to test."
    notes = [f"no training data: of {len(labels.rows)} images {shares}"]
    if single:
        notes.append(
            f"{len(single)} classes have one image only, such as {labels.classes[single[0]]!r}; it is "
            "used for training only."
        )
    return Splits(test.split(torch.from_numpy(train_rows)), test.split(torch.from_numpy(test_rows))), notes
