"""The digits bench: its parts, what its arms share, its arithmetic, and a run of a few steps."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from core.bench import digits
from core.bench.digits import RECIPES, SEEDS, accuracy, definition, results, spreading, write_digits
from core.spec.config import RunConfig


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("digits")
    write_digits(folder)
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_parts_are_disjoint_and_whole(written: Path) -> None:
    parts = {part: _rows(written / f"{part}.csv") for part in digits.PARTS}
    assert {part: len(rows) for part, rows in parts.items()} == digits.PARTS
    names = [row["filepath"] for rows in parts.values() for row in rows]
    assert len(set(names)) == len(names) == len(load_digits().target)
    for rows in parts.values():
        counts = np.bincount([int(row["digit"]) for row in rows])
        assert counts.max() - counts.min() <= 0.1 * counts.mean()


def test_a_picture_is_its_digit_within_a_border(written: Path) -> None:
    data = load_digits()
    for row in _rows(written / "val.csv")[:20]:
        number = int(Path(row["filepath"]).stem)
        assert int(row["digit"]) == data.target[number]
        picture = np.asarray(Image.open(written / row["filepath"]).convert("L"), dtype=float)
        cells = picture.reshape(10, 4, 10, 4).mean(axis=(1, 3))  # back to the 10 x 10 pixels
        assert np.abs(cells[1:-1, 1:-1] - data.images[number] * 255 / 16).mean() < 20
        # Only what bicubic interpolation spreads over the edge, not the digit, is in the border.
        assert cells[[0, -1]].mean() < 0.3 * cells[1:-1, 1:-1].mean()


def _without(config: RunConfig) -> dict[str, object]:
    """What no arm may change: all but the views of unlabelled rows, their loss and their number."""
    values = config.model_dump(mode="json")
    del values["name"], values["preset"]
    values["objectives"].pop("consistency")
    values["views"].pop("student")
    values["data"].pop("unlabelled_ratio")
    values["optim"].pop("epochs")
    return values


def test_arms_differ_in_nothing_but_unlabelled_rows(written: Path) -> None:
    arms = [definition(written, arm, 1) for arm in RECIPES]
    assert all(_without(arm) == _without(arms[0]) for arm in arms[1:])
    weights = {name: arm.objectives.consistency.weight for name, arm in zip(RECIPES, arms, strict=True)}
    assert weights["labels alone"] == 0 < min(weights["fixmatch"], weights["mixmatch"])


@pytest.mark.parametrize("arm", RECIPES)
def test_every_arm_takes_the_same_number_of_steps(written: Path, arm: str) -> None:
    config = definition(written, arm, 0, steps=600)
    unlabelled = digits.PARTS["train"] - 100
    per_epoch = unlabelled // (config.optim.batch_size * config.data.unlabelled_ratio)
    assert round(config.optim.epochs * per_epoch) == 600


def test_gain_is_paired_and_needs_its_interval_above_zero() -> None:
    alone = {("labels alone", seed): 90.0 + seed for seed in SEEDS}
    steady = {("fixmatch", seed): 96.0 + seed + gain for seed, gain in zip(SEEDS, (-0.5, 0.0, 0.5), strict=True)}
    unsteady = {("mixmatch", seed): 90.0 + seed + gain for seed, gain in zip(SEEDS, (18.0, 0.0, 0.0), strict=True)}
    rows = {row.name.split(",")[0]: row for row in results({**alone, **steady, **unsteady}) if "gained" in row.name}
    assert rows["fixmatch"].ratio == pytest.approx(6.0)
    assert rows["fixmatch"].name.endswith(f"{4.303 * 0.5 / 3**0.5:.1f}")  # t of 2 degrees of freedom
    assert rows["fixmatch"].holds
    assert rows["mixmatch"].ratio == pytest.approx(6.0)
    assert not rows["mixmatch"].holds
    assert rows["mixmatch"].peer == statistics.mean(alone.values())


def test_label_spreading_learns_from_the_runs_own_labels(written: Path) -> None:
    first, second = (spreading(definition(written, "labels alone", seed), "val") for seed in (0, 1))
    assert min(first, second) > 85
    assert first != second


def test_few_steps_are_judged_on_the_part_that_is_asked_for(written: Path, tmp_path: Path) -> None:
    config = definition(written, "fixmatch", 0, steps=2, judged="val")
    assert not config.data.test
    assert 0.0 <= accuracy(config, tmp_path / "run") <= 100.0
