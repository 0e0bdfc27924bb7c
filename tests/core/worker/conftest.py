"""A small run, trained once for all tests of the worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.config import override
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.variants import variant_config


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Path]:
    """A run of six steps, and its held-out data; neither is to be changed."""
    folder = tmp_path_factory.mktemp("worker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        pairs, held_out = write_pairs(folder / "pairs")
        data = [f"data.train={pairs}", f"data.val={held_out}"]
        config = override(variant_config("sd-clip-every-step"), [*data, "optim.batch_size=12", "optim.epochs=2"])
        run = RunDir(folder / "run")
        train(config, run, quiet=True)
    return run, held_out
