"""Labels: classes, hidden ones, and batches with labelled and unlabelled rows in a ratio, repeatable and resumable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.batch import Batch
from core.data.dataset import PairDataset, open_dataset
from core.data.errors import DataError
from core.data.labelling import NO_CLASS, Cycle, label_numbers, label_rows
from core.data.loader import Loader
from core.spec.config import DataConfig, RunConfig
from tests.core.data.samples import tokenize, write_pairs

SIZE = 16


def opened(folder: Path, count: int = 24, **settings: Any) -> PairDataset:
    """``count`` rows whose label ``kind`` is c0 to c3 in turn."""
    return open_dataset(write_pairs(folder, count), DataConfig(**settings), SIZE, tokenize)


def run_config(batch_size: int = 2, workers: int = 0, seed: int = 3, **data: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "seed": seed,
            "data": {"workers": workers, "label": "kind", **data},
            "views": {"student": {"count": 1, "randaugment_ops": 1}},
            "objectives": {"classification": {"weight": 1.0}},
            "optim": {"batch_size": batch_size, "epochs": 2},
        }
    )


def loader(dataset: PairDataset, config: RunConfig) -> Loader:
    return Loader(dataset, config, SIZE, labels=label_rows(dataset, config.data, config.seed))


def tensors(batch: Batch) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    batch.map(lambda tensor: found.append(tensor) or tensor)  # type: ignore[func-returns-value]
    return found


def test_classes_are_the_sorted_values(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    labels = label_rows(dataset, DataConfig(label="kind"), 0)
    assert labels is not None
    assert labels.classes == ("c0", "c1", "c2", "c3")
    assert [labels.classes[i] for i in labels.of_rows.tolist()] == [dataset.labels(row)["kind"] for row in range(24)]
    assert label_rows(dataset, DataConfig(), 0) is None
    assert label_numbers(dataset, "kind", ("c3", "c1")).tolist()[:4] == [NO_CLASS, 1, NO_CLASS, 0]
    path = tmp_path / "pairs.csv"
    path.write_text(path.read_text().replace(",c0\n", ",\n"))
    labels = label_rows(open_dataset(path, DataConfig(), SIZE, tokenize), DataConfig(label="kind"), 0)
    assert labels is not None
    assert labels.classes == ("c1", "c2", "c3"), "an empty cell is no class"
    assert labels.of_rows.tolist()[:5] == [NO_CLASS, 0, 1, 2, NO_CLASS]


@pytest.mark.parametrize("kept", [1, 100])
def test_labels_per_class_are_drawn_with_the_seed(tmp_path: Path, kept: int) -> None:
    dataset = opened(tmp_path)
    config = DataConfig(label="kind", labels_per_class=kept)
    every = label_rows(dataset, DataConfig(label="kind"), 0)
    one, again, other = (label_rows(dataset, config, seed) for seed in (5, 5, 6))
    assert every is not None
    assert one is not None
    assert again is not None
    assert other is not None
    shown = one.of_rows != NO_CLASS
    assert Counter(one.of_rows[shown].tolist()) == dict.fromkeys(range(4), min(kept, 6))
    assert torch.equal(one.of_rows[shown], every.of_rows[shown])
    assert torch.equal(one.of_rows, again.of_rows)
    assert torch.equal(one.of_rows, other.of_rows) == (kept == 100)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"label": "colour"}, r"no label 'colour'; set data.label to another column .*'kind'"),
        ({"label": "kind", "unlabelled_ratio": 2}, r"Every row of .* set data.labels_per_class"),
    ],
)
def test_unusable_labels_are_reported(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        label_rows(opened(tmp_path), DataConfig(**data), 0)
    with pytest.raises(DataError, match=r"has only 1 distinct value.*needs at least two"):
        label_rows(opened(tmp_path / "single", 1), DataConfig(label="kind"), 0)


@pytest.mark.parametrize(("batch_size", "ratio"), [(2, 3), (8, 1)])
def test_batches_hold_labelled_then_unlabelled_rows(tmp_path: Path, ratio: int, batch_size: int) -> None:
    dataset = opened(tmp_path)
    config = run_config(batch_size, labels_per_class=1, unlabelled_ratio=ratio)
    ours = loader(dataset, config)
    assert ours.steps_per_epoch == max(1, 20 // (batch_size * ratio))
    seen: Counter[int] = Counter()
    for batch in ours.batches(0, 12):
        rows = batch.rows.tolist()
        for again in (i for i, row in enumerate(rows) if rows.index(row) < i):
            first = rows.index(rows[again])
            assert not torch.equal(batch.clean.images[first], batch.clean.images[again]), "repeated in one batch"
        assert batch.labels is not None
        assert batch.labels.shape == (batch_size * (1 + ratio),)
        assert (batch.labels[:batch_size] != NO_CLASS).all()
        assert (batch.labels[batch_size:] == NO_CLASS).all()
        kinds = [dataset.labels(row)["kind"] for row in batch.rows[:batch_size].tolist()]
        assert kinds == [f"c{number}" for number in batch.labels[:batch_size].tolist()]
        seen.update(rows)
    labels = label_rows(dataset, config.data, config.seed)
    assert labels is not None
    labelled = [seen[row] for row in (labels.of_rows != NO_CLASS).nonzero()[:, 0].tolist()]
    assert sum(labelled) == 12 * batch_size
    assert max(labelled) - min(labelled) <= 1  # each is seen as often as any other


def test_a_resumed_loader_continues_where_it_stopped(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    settings: dict[str, Any] = {"labels_per_class": 2, "unlabelled_ratio": 2}
    whole = list(loader(dataset, run_config(**settings)).batches(0, 6))
    resumed = list(loader(dataset, run_config(workers=2, **settings)).batches(3, 6))
    for one, other in zip(whole[3:], resumed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


def test_without_a_ratio_rows_keep_order_and_labels(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    plain = run_config(6).model_copy(update={"data": DataConfig()})
    for with_labels, without in zip(
        loader(dataset, run_config(6)).batches(0, 4), loader(dataset, plain).batches(0, 4), strict=True
    ):
        assert torch.equal(with_labels.rows, without.rows)
        assert torch.equal(with_labels.clean.images, without.clean.images)
        assert without.labels is None
        assert with_labels.labels is not None
        assert [f"c{i}" for i in with_labels.labels.tolist()] == [
            dataset.labels(row)["kind"] for row in with_labels.rows.tolist()
        ]


@given(st.integers(1, 9), st.integers(0, 40), st.integers(1, 12), st.integers(0, 5))
def test_a_cycle_is_the_same_from_any_start(length: int, first: int, count: int, seed: int) -> None:
    cycle = Cycle(torch.arange(100, 100 + length), seed, 1)
    rows, passes = cycle.take(first, count)
    singly = [Cycle(torch.arange(100, 100 + length), seed, 1).take(k, 1)[0][0] for k in range(first, first + count)]
    assert rows.tolist() == singly
    assert passes.tolist() == [k // length for k in range(first, first + count)]
    whole, _ = cycle.take(0, length)
    assert np.array_equal(np.sort(whole), np.arange(100, 100 + length))
