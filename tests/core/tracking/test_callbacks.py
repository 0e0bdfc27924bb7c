"""Callbacks of other libraries log through the real library, where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import core
from core.callbacks import LightningCallback, TransformersCallback, log_open_clip
from core.cli.run_tables import read_row
from core.spec.errors import UserError
from core.spec.run.folder import RunDir

torch = pytest.importorskip("torch")


@pytest.mark.filterwarnings("ignore")
def test_lightning_metrics_are_logged(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Model(lightning.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.save_hyperparameters({"width": 2})

        def training_step(self, batch: Any, _index: int) -> Any:
            loss = self.layer(batch).square().mean()
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch: Any, _index: int) -> None:
            self.log("val/loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    loader = torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=2)
    callback = LightningCallback("lit", folder=tmp_path / "run", system_seconds=0)
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=[callback], logger=False, enable_checkpointing=False, log_every_n_steps=1,
        default_root_dir=tmp_path, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Model(), loader, loader)
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.step) == ("done", 8)
    assert (row.metrics["train/loss"].last_step, row.metrics["val/loss"].last_step) == (8, 8)


def _transformers_events(callback: Any) -> None:
    """The calls that `transformers.Trainer` makes, in its order (its documented protocol)."""
    arguments = SimpleNamespace(to_dict=lambda: {"learning_rate": 1e-4})
    state, control = SimpleNamespace(is_world_process_zero=True, max_steps=4, global_step=0), SimpleNamespace()
    callback.on_train_begin(arguments, state, control, model=None)
    for state.global_step in (2, 4):
        callback.on_log(arguments, state, control, logs={"loss": 1.0 / state.global_step, "epoch": 0.5}, model=None)
    callback.on_log(arguments, state, control, logs={"eval_loss": 0.7, "note": "text"})
    callback.on_train_end(arguments, state, control)


@pytest.mark.filterwarnings("ignore")
def test_metrics_of_a_transformers_trainer_are_logged(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    _transformers_events(TransformersCallback("hf", folder=tmp_path / "run", system_seconds=0))
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.step, row.total_steps) == ("done", 4, 4)
    assert {name: one.last for name, one in row.metrics.items()} == {
        "train/loss": 0.25, "train/epoch": 0.5, "eval/loss": 0.7
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_transformers_training_is_logged(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")

    class Model(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            return {"loss": (self.layer(x) - labels).square().mean()}

    arguments = transformers.TrainingArguments(
        str(tmp_path / "out"), max_steps=4, logging_steps=2, report_to="none", use_cpu=True, save_strategy="no"
    )
    callback = TransformersCallback("hf", folder=tmp_path / "run", system_seconds=0)
    rows = [{"x": torch.ones(2), "labels": torch.ones(1)} for _ in range(16)]
    transformers.Trainer(model=Model(), args=arguments, train_dataset=rows, callbacks=[callback]).train()
    row = read_row(RunDir(tmp_path / "run"))
    assert (row.state, row.step) == ("done", 4)
    assert row.metrics["train/loss"].last_step == 4


@pytest.mark.filterwarnings("ignore")
def test_open_clip_logs_into_a_run(tmp_path: Path) -> None:
    pytest.importorskip("braceexpand")
    train = pytest.importorskip("open_clip_train.train")
    before = train.wandb
    with log_open_clip("clip", folder=tmp_path / "run", system_seconds=0):
        train.wandb.init(project="x", config={})
        train.wandb.watch(None, log="all")
        train.wandb.save("params.txt")
        train.wandb.log({"train/loss": torch.tensor(2.0), "step": 3}, step=3)
        train.wandb.finish()
    assert train.wandb is before
    row = read_row(RunDir(tmp_path / "run"))
    assert row.state == "done"
    assert {name: (one.last, one.last_step) for name, one in row.metrics.items()} == {"train/loss": (2.0, 3)}


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(UserError, match="lightning is not installed; run pip install lightning"):
        LightningCallback("x")
    assert core.callbacks is not None
