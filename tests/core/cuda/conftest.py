"""What the tests on a GPU share: little pairs, and a former run for presets whose teacher is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.benchmarks.syncs import former_run, write_pairs


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images with captions and labels."""
    return write_pairs(tmp_path_factory.mktemp("cuda") / "pairs")


@pytest.fixture(scope="session")
def former(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return former_run(source, tmp_path_factory.mktemp("cuda-former") / "run")


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Float32 products in float32: TF32 keeps ten bits of a factor."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cuda-cache"))
