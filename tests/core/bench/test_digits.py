"""The digits bench: its parts, what its arms share, its arithmetic, and a run of a few steps."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from core.spec.config import RunConfig
from tests.benchmarks import digits
from tests.benchmarks.digits import (
    ALONE,
    ARMS,
    RECIPES,
    SEEDS,
    Right,
    accuracy,
    results,
    run_config,
    spreading,
    write_digits,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_splits_are_disjoint_and_complete(written: Path) -> None:
    parts = {part: _rows(written / f"{part}.csv") for part in digits.PARTS}
    assert {part: len(rows) for part, rows in parts.items()} == digits.PARTS
    names = [row["filepath"] for rows in parts.values() for row in rows]
    assert len(set(names)) == len(names) == len(load_digits().target)
    for rows in parts.values():
        counts = np.bincount([int(row["digit"]) for row in rows])
        assert counts.max() - counts.min() <= 0.1 * counts.mean()


def test_an_image_is_its_digit_with_a_border(written: Path) -> None:
    data = load_digits()
    for row in _rows(written / "val.csv")[:20]:
        number = int(Path(row["filepath"]).stem)
        assert int(row["digit"]) == data.target[number]
        image = np.asarray(Image.open(written / row["filepath"]).convert("L"), dtype=float)
        cells = image.reshape(10, 4, 10, 4).mean(axis=(1, 3))  # back to the 10 x 10 pixels
        assert np.abs(cells[1:-1, 1:-1] - data.images[number] * 255 / 16).mean() < 20
        # Only what bicubic interpolation spreads over the edge, not the digit, is in the border.
        assert cells[[0, -1]].mean() < 0.3 * cells[1:-1, 1:-1].mean()


def _without(config: RunConfig) -> dict[str, object]:
    """What no arm may change: all but the views of unlabelled rows, their loss and their number."""
    values = config.model_dump(mode="json")
    del values["name"], values["preset"]
    values["objectives"].pop("consistency")
    values["views"].pop("student")
    values["views"].pop("teacher")
    values["teacher"].pop("momentum")
    values["data"].pop("unlabelled_ratio")
    values["optim"].pop("epochs")
    return values


def test_arms_differ_only_in_unlabelled_rows(written: Path) -> None:
    arms = [run_config(written, arm, 1, labels=2) for arm in RECIPES]
    assert all(_without(arm) == _without(arms[0]) for arm in arms[1:])
    weights = {name: arm.objectives.consistency.weight for name, arm in zip(RECIPES, arms, strict=True)}
    assert weights[ALONE] == 0 < min(weights[arm] for arm in ARMS)


@pytest.mark.parametrize("arm", RECIPES)
def test_every_arm_takes_the_same_number_of_steps(written: Path, arm: str) -> None:
    config = run_config(written, arm, 0, labels=4, steps=600)
    unlabelled = digits.PARTS["train"] - 40
    per_epoch = unlabelled // (config.optim.batch_size * config.data.unlabelled_ratio)
    assert round(config.optim.epochs * per_epoch) == 600


def test_the_gain_of_the_best_arm_is_paired_and_needs_an_interval_above_zero() -> None:
    right = {(ALONE, seed): Right(50.0, 60.0 + seed) for seed in SEEDS}
    right |= {(arm, seed): Right(55.0, 99.0) for arm in ARMS for seed in SEEDS}  # better where it is not chosen by
    for seed, gain in zip(SEEDS, (-0.5, 0.0, 0.5), strict=True):
        right["fixmatch", seed] = Right(90.0, 76.0 + seed + gain)
    rows = results(1, right)
    assert [row.at_least for row in rows] == [None, None, 15.0, None]
    best = rows[2]
    assert best.ratio == pytest.approx(16.0)
    assert best.name == f"1 a class, fixmatch, best, +- {4.303 * 0.5 / 3**0.5:.1f}"  # t of 2 degrees of freedom
    assert best.holds
    assert best.peer == statistics.mean(right[ALONE, seed].test for seed in SEEDS)
    for seed, gain in zip(SEEDS, (48.0, 0.0, 0.0), strict=True):
        right["fixmatch", seed] = Right(90.0, 60.0 + seed + gain)
    assert results(1, right)[2].ratio == pytest.approx(16.0)
    assert not results(1, right)[2].holds


def test_label_spreading_learns_from_the_runs_own_labels(written: Path) -> None:
    first, second = (spreading(run_config(written, ALONE, seed, labels=4)) for seed in (0, 1))
    assert min(first, second) > 60
    assert first != second


@pytest.mark.slow
def test_few_steps_are_judged_on_validation_and_test(written: Path, tmp_path: Path) -> None:
    right = accuracy(run_config(written, "mean-teacher", 0, labels=1, steps=2), tmp_path / "run")
    assert 0.0 <= min(right.val, right.test) <= max(right.val, right.test) <= 100.0
