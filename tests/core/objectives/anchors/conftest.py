"""Pairs, and a model trained on them, to fine-tune with anchors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.images import write_pairs
from tests.core.training.base_runs import train_base


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))[0]


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_base(data, tmp_path_factory.mktemp("base") / "run", epochs=1).path
