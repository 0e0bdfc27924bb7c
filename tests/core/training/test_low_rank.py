"""LoRA in a run: the updates are low-rank, as autograd through the factors computes them, and survive a pause."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from core.checkpoint.opening import open_network
from core.spec.config import RunConfig, override, validate
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate
from core.training.loop import Loop
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.training.base_runs import train_base
from tests.core.training.test_train import StopAt, equal, losses, weights
from tests.core.training.test_train_step import opened

RANK, ALPHA = 2, 6.0
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))[0]


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return train_base(data, tmp_path_factory.mktemp("base") / "run", epochs=2)


def lora_config(data: Path, base: RunDir, *settings: str, preset: str = "sd-clip-adapt") -> RunConfig:
    common = [f"data.train={data}", f"towers.pretrained={base.path}", "optim.batch_size=12", "runtime.threads=1"]
    lora = [f"towers.lora_rank={RANK}", f"towers.lora_alpha={ALPHA}", "optim.learning_rate=0.01"]
    return override(preset_config(preset, "tiny"), [*common, *lora, *settings])


class Update(nn.Module):
    """W_0 + scale * up @ down, as a parametrization of torch."""

    def __init__(self, up: Tensor, down: Tensor) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(up.detach().clone()), nn.Parameter(down.detach().clone())

    def forward(self, initial: Tensor) -> Tensor:
        return initial + ALPHA / RANK * self.up @ self.down


def parametrized(plain: Loop, reference: Loop) -> list[Update]:
    """Give the blocks of ``plain`` the factors of ``reference``; returns them in the same order."""
    assert reference.network.lora is not None
    lora = reference.network.lora
    names = {id(value): name for name, value in reference.network.named_parameters()}
    updates = []
    for matrix, up, down in zip(lora.matrices, lora.up, lora.down, strict=True):
        module_name, _, name = names[id(matrix)].rpartition(".")
        update = Update(up, down)
        parametrize.register_parametrization(plain.network.get_submodule(module_name), name, update)
        updates.append(update)
    return updates


@pytest.mark.parametrize("micro_batch", [0, 4])
def test_steps_equal_autograd_through_the_factors(data: Path, base: RunDir, tmp_path: Path, micro_batch: int) -> None:
    """Gradient, clipping, AdamW and decay of the factors, with torch's own parametrization as the reference."""
    settings = (f"optim.micro_batch={micro_batch}", "optim.clip_norm=0.5", "optim.weight_decay=0.3")
    with (
        opened(lora_config(data, base, *settings, preset="clip"), tmp_path / "lora") as loop,
        opened(lora_config(data, base, *settings, "towers.lora_rank=0", preset="clip"), tmp_path / "plain") as plain,
    ):
        updates = parametrized(plain, loop)
        factors = [*(update.up for update in updates), *(update.down for update in updates)]
        scale = plain.network.towers.clip.logit_scale
        groups = [{"params": factors}, {"params": [scale], "weight_decay": 0.0}]
        optim = plain.config.optim
        optimizer = torch.optim.AdamW(groups, betas=(optim.beta1, optim.beta2), eps=optim.eps, weight_decay=0.3)
        for step, batch in enumerate(loop.parts.loader.batches(0, 3), 1):
            loop.train_step(batch)
            torch.stack(list(plain.step_losses(batch, step)[0].values())).sum().backward()
            nn.utils.clip_grad_norm_([*factors, scale], 0.5)
            for group in optimizer.param_groups:
                group["lr"] = float(plain.schedules.learning_rate[step])
            optimizer.step()
            plain.network.clamp_logit_scale()
            optimizer.zero_grad()
        assert loop.network.lora is not None
        for matrix, update, initial in zip(
            loop.network.lora.matrices, updates, loop.network.lora.buffers(), strict=True
        ):
            assert torch.allclose(matrix, update(initial), atol=1e-5)
            assert torch.linalg.matrix_rank(matrix - initial, rtol=1e-3) <= RANK
        assert any(not torch.equal(up, torch.zeros_like(up)) for up in loop.network.lora.up)


def test_only_matrices_of_blocks_and_the_logit_scale_change(data: Path, base: RunDir, tmp_path: Path) -> None:
    with opened(lora_config(data, base), tmp_path / "run") as loop:
        before = {name: value.clone() for name, value in loop.network.towers.clip.named_parameters()}
        for batch in loop.parts.loader.batches(0, 2):
            loop.train_step(batch)
        changed = {
            name for name, value in loop.network.towers.clip.named_parameters() if not torch.equal(value, before[name])
        }
    matrices = {name for name, value in before.items() if "resblocks" in name and value.ndim == 2}
    assert changed == matrices | {"logit_scale"}


def test_paused_and_resumed_equals_uninterrupted(
    data: Path, base: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lora_config(data, base, "optim.epochs=2", "teacher.kind=ema", "teacher.targets=pass")
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    assert train(config, whole, quiet=True) == "done"
    with monkeypatch.context() as patch:
        StopAt(patch, 3, "pause")
        assert train(config, run, quiet=True) == "paused"
    torch.manual_seed(987)
    assert train(config, run, quiet=True) == "done"
    assert losses(run) == losses(whole)
    assert equal(weights(run), weights(whole))


def test_a_trained_model_is_opened_with_plain_weights(data: Path, base: RunDir, tmp_path: Path) -> None:
    """And is a start for another run, whose factors begin anew."""
    run = RunDir(tmp_path / "run")
    assert train(lora_config(data, base, "optim.epochs=1"), run, quiet=True) == "done"
    network, initial = open_network(locate(f"{run.path}@last"), CPU), open_network(locate(f"{base.path}"), CPU)
    assert network.state_dict().keys() == initial.state_dict().keys()
    name = "towers.clip.visual.transformer.resblocks.0.mlp.c_fc.weight"
    assert 1 <= torch.linalg.matrix_rank(network.state_dict()[name] - initial.state_dict()[name], rtol=1e-3) <= RANK
    again = lora_config(data, base, f"towers.pretrained={run.path}@last")
    with opened(again, tmp_path / "again") as loop:
        assert torch.equal(loop.network.state_dict()[name], network.state_dict()[name])
        assert loop.network.lora is not None
        assert all(float(up.detach().abs().max()) == 0.0 for up in loop.network.lora.up)


@pytest.mark.parametrize("parent_has_lora", [False, True])
def test_a_run_is_continued_with_lora(data: Path, base: RunDir, tmp_path: Path, parent_has_lora: bool) -> None:
    """From a plain run, W_0 are its weights; from a run with LoRA, the factors are continued."""
    parent = base
    if parent_has_lora:
        parent = RunDir(tmp_path / "parent")
        assert train(lora_config(data, base, "optim.epochs=1", preset="clip"), parent, quiet=True) == "done"
    settings = (f"towers.pretrained={parent.path}@last", "towers.start=state", "optim.epochs=4")
    with opened(lora_config(data, base, *settings, preset="clip"), tmp_path / "run") as loop:
        lora = loop.network.lora
        assert lora is not None
        before = [matrix.detach().clone() for matrix in lora.matrices]
        lora.update_matrices()
        for matrix, previous in zip(lora.matrices, before, strict=True):
            assert torch.allclose(matrix, previous, atol=1e-6)
        assert any(float(up.detach().abs().max()) > 0 for up in lora.up) == parent_has_lora


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["optim.layer_decay=0.8"], "all blocks have the same rate"),
        (["towers.freeze=both"], "blocks that are not frozen"),
    ],
)
def test_settings_that_contradict_lora_are_refused(
    data: Path, base: RunDir, tmp_path: Path, settings: list[str], message: str
) -> None:
    config = lora_config(data, base).model_dump(mode="json")
    with (
        pytest.raises(UserError, match=message),
        opened(override(validate(config, "config"), settings), tmp_path / "run"),
    ):
        pass
