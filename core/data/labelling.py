"""Labels of rows, and the order in which labelled and unlabelled rows are drawn.

Flow: ``label_rows`` reads the column in ``data.label`` and hides labels beyond ``labels_per_class``; the loader puts
labels into batches, in which ``SplitOrder`` keeps the ratio of unlabelled to labelled rows constant.

Legend: N rows, B labelled rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.data.draws import seed_of
from core.data.errors import DataError
from core.data.pairs import Pairs
from core.spec.config import DataConfig

KEPT, LABELLED, UNLABELLED = 1004, 1005, 1006  # stream ids that keep random draws independent
NO_CLASS = -1  # class of a row without a label

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """The classes of a data set, and the class of each row: ``NO_CLASS`` if its label is missing or hidden."""

    classes: tuple[str, ...]
    of_rows: Tensor  # (N,) int64


def label_rows(dataset: Pairs, config: DataConfig, seed: int) -> Labels | None:
    """The labels of training data, all but ``labels_per_class`` of each class hidden; None if ``data.label`` is empty.

    Raises DataError if the column is missing, has fewer than two classes, or leaves no row unlabelled although
    ``data.unlabelled_ratio`` needs unlabelled rows.
    """
    if not config.label:
        return None
    values = _values(dataset, config.label)
    classes = tuple(sorted({value for value in values if value}))
    if len(classes) < 2:
        raise DataError(
            f"The label {config.label!r} of {dataset.origin} has only {len(classes)} distinct value(s), but "
            "classification needs at least two; set data.label to another column."
        )
    of_rows = _numbers(values, classes)
    if config.labels_per_class > 0:
        of_rows = _hide_labels(of_rows, len(classes), config.labels_per_class, seed)
    unlabelled = int((of_rows == NO_CLASS).sum())
    if config.unlabelled_ratio > 0 and unlabelled == 0:
        raise DataError(
            f"Every row of {dataset.origin} has a {config.label!r}, but data.unlabelled_ratio needs unlabelled rows; "
            "set data.labels_per_class, or set data.unlabelled_ratio to 0."
        )
    return Labels(classes, of_rows)


def label_numbers(dataset: Pairs, label: str, classes: Sequence[str]) -> Tensor:
    """The class of each row of ``dataset``, (N,) int64; ``NO_CLASS`` if its label is missing or not in ``classes``.

    Raises DataError if ``dataset`` has no column ``label``.
    """
    return _numbers(_values(dataset, label), classes)


def _values(dataset: Pairs, label: str) -> list[str]:
    if label not in dataset.label_names:
        names = ", ".join(map(repr, dataset.label_names)) or "none"
        raise DataError(
            f"{dataset.origin} has no label {label!r}; set data.label to another column (available: {names})."
        )
    return [dataset.labels(row).get(label, "") for row in range(len(dataset))]


def _numbers(values: Sequence[str], classes: Sequence[str]) -> Tensor:
    number = {name: i for i, name in enumerate(classes)}
    return torch.tensor([number.get(value, NO_CLASS) for value in values], dtype=torch.int64)


def _hide_labels(of_rows: Tensor, classes: int, per_class: int, seed: int) -> Tensor:
    """``of_rows`` with all but ``per_class`` labels of each class hidden, drawn with ``seed``."""
    visible = torch.full_like(of_rows, NO_CLASS)
    for number in range(classes):
        rows = (of_rows == number).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(seed_of(seed, number, KEPT))
        labelled = rows[torch.randperm(len(rows), generator=generator)[:per_class]]
        visible[labelled] = number
    return visible


class Cycle:
    """Cycles through rows, shuffled in each epoch; item k is a function of (rows, seed, k) alone."""

    def __init__(self, rows: Tensor, seed: int, purpose: int) -> None:
        self._rows, self._seed, self._purpose = rows.numpy(), seed, purpose
        self._orders: dict[int, Integers] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, first: int, count: int) -> tuple[Integers, Integers]:
        """Items ``first`` to ``first + count - 1``: the row of each, and its epoch."""
        epochs, positions = np.divmod(np.arange(first, first + count, dtype=np.int64), len(self))
        orders = {epoch: self._order(epoch) for epoch in sorted(set(epochs.tolist()))}
        self._orders = orders
        rows = [orders[epoch][position] for epoch, position in zip(epochs.tolist(), positions.tolist(), strict=True)]
        return np.array(rows, dtype=np.int64), epochs

    def _order(self, epoch: int) -> Integers:
        if epoch in self._orders:
            return self._orders[epoch]
        generator = torch.Generator().manual_seed(seed_of(self._seed, epoch, self._purpose))
        order: Integers = self._rows[torch.randperm(len(self), generator=generator).numpy()]
        return order


class SplitOrder:
    """Batches of B labelled rows followed by ``ratio`` times B unlabelled rows (FixMatch's mu).

    Labelled and unlabelled rows are cycled separately; an epoch is one pass through the unlabelled rows.
    """

    def __init__(self, labels: Labels, batch_size: int, ratio: int, seed: int) -> None:
        hidden = labels.of_rows == NO_CLASS
        self._labelled = Cycle((~hidden).nonzero()[:, 0], seed, LABELLED)
        self._unlabelled = Cycle(hidden.nonzero()[:, 0], seed, UNLABELLED)
        self._counts = batch_size, batch_size * ratio
        self.batch_size = sum(self._counts)
        self.steps_per_epoch = max(1, len(self._unlabelled) // self._counts[1])

    def take(self, step: int, first: int = 0, end: int | None = None) -> tuple[Integers, Integers]:
        """Rows ``first`` to ``end - 1`` of batch ``step``, and the epoch of each."""
        parts = zip((self._labelled, self._unlabelled), self._counts, strict=True)
        parts_drawn = [cycle.take(step * count, count) for cycle, count in parts]
        rows, epochs = (np.concatenate(columns) for columns in zip(*parts_drawn, strict=True))
        return rows[first:end], epochs[first:end]
