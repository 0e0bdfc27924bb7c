"""No preset's training step waits for the device, or leaves tensors on another device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.benchmarks.syncs import META, STEPS, SyncCounter, former_run, on_meta, run_config, write_pairs
from tests.core.variants import each_preset


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("syncs") / "pairs")


@pytest.fixture(scope="module")
def former(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return former_run(source, tmp_path_factory.mktemp("former") / "run")


@pytest.mark.parametrize("name", each_preset(quick=("sd-coca", "mixmatch", "silc", "dino", "albef", "slip")))
def test_a_training_step_never_synchronises(name: str, source: Path, former: Path, tmp_path: Path) -> None:
    """Views on the device, networks, losses, backward pass, clipping, optimiser and average, on the meta device."""
    counter = SyncCounter()
    with on_meta(run_config(name, source, former), tmp_path / "run") as loop:
        parts = loop.parts
        held = {
            **dict(parts.network.state_dict()),
            **{f"teacher {i}.{key}": value for i, one in enumerate(parts.teacher.networks if parts.teacher else ())
               for key, value in one.state_dict().items()},
            **{f"objectives.{key}": value for key, value in parts.objectives.state_dict().items()},
        }  # fmt: skip
        assert {key for key, value in held.items() if value.device != META} == set()
        with counter:
            reports = [loop.train_step(batch) for batch in parts.loader.batches(0, STEPS)]
    assert dict(+counter.found) == {}
    losses = [report["train/loss"] for report in reports]
    assert [loss.device for loss in losses] == [META] * STEPS
    moments = [state["exp_avg"].device for state in loop.optimizer.state.values()]
    assert set(moments) == {META}


def waits(x: Tensor) -> list[object]:
    return [
        float(x.sum()),
        bool(x.sum() > 0),
        x[x > 0],
        (x > 0).nonzero(),
        x.cpu(),
        x.unique(),
        x.masked_select(x > 0),
        x[:, 0].tolist(),
    ]


def test_each_kind_of_synchronisation_is_counted() -> None:
    counter = SyncCounter()
    with counter:
        waits(torch.ones(2, 3))
        assert not +counter.found  # values on the host are at hand
        torch.ones(2).to(META, non_blocking=True)
        torch.empty(2, device=META).copy_(torch.ones(2), non_blocking=True)
        assert not +counter.found
        torch.ones(2).to(META)
        torch.empty(2, device=META).copy_(torch.ones(2))
        assert counter.found["copy to the device"] == 2
        waits(torch.ones(2, 3, device=META))
    assert sum(counter.found.values()) >= 8
    assert {"_local_scalar_dense", "nonzero", "index by a mask", "copy to the host", "masked_select"} <= set(
        counter.found
    )
