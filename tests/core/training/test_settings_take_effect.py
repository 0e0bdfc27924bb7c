"""What a config says of a run is what the run does: seeds, test data, batches, intervals."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.opening import open_model
from core.data.batch import Batch
from core.inference import encoder
from core.model.network import Network
from core.spec.config import RunConfig
from core.spec.run.events import Evaluated, Metrics, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.training.errors import TrainingError
from core.training.loop import Loop
from core.training.train import train
from tests.core.labelled import write_labelled
from tests.core.training.test_train import config_for, data, read
from tests.core.training.test_train_failures import failure
from tests.core.training.test_train_step import opened

__all__ = ["data"]  # the fixture


def start(config: RunConfig, folder: Path) -> tuple[dict[str, torch.Tensor], Batch]:
    """The network before the first step, and the first batch."""
    with opened(config, folder) as loop:
        batch = next(loop.parts.loader.batches(0, 1))
        return {name: value.clone() for name, value in loop.network.state_dict().items()}, batch


def test_the_seed_initialises_the_weights(data: tuple[Path, Path], tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)  # what was drawn before does not matter
        found.append(start(config_for(data, "clip", f"seed={seed}"), tmp_path / str(number))[0])
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    name = "towers.clip.text_projection"
    assert not torch.equal(found[0][name], found[2][name])


def test_the_seed_draws_the_kept_labels(data: tuple[Path, Path], tmp_path: Path) -> None:
    lines = data[0].read_text().splitlines()
    labelled = data[0].with_name("labelled.csv")
    labelled.write_text("\n".join([f"{lines[0]},group", *(f"{line},{line.split()[2]}" for line in lines[1:])]) + "\n")
    settings = [f"data.train={labelled}", "data.label=group", "data.labels_per_class=2"]
    settings += ["objectives.classification.weight=1", "optim.batch_size=36"]
    kept = []
    for seed in (0, 1):
        _, batch = start(config_for(data, "clip", *settings, f"seed={seed}"), tmp_path / str(seed))
        assert batch.labels is not None
        kept.append(set(batch.rows[batch.labels >= 0].tolist()))
    assert len(kept[0]) == len(kept[1]) == 2 * 3
    assert kept[0] != kept[1]


def test_test_data_are_evaluated_once_at_the_end_with_the_configured_batch(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    plain = encoder.evaluation_batches

    def watched(dataset: Any, size: int, batch: int, first: int = 0) -> Any:
        sizes.append(batch)
        return plain(dataset, size, batch, first)

    monkeypatch.setattr(encoder, "evaluation_batches", watched)
    run, other = RunDir(tmp_path / "run"), RunDir(tmp_path / "other")
    settings = ["optim.epochs=1", "validation.batch_size=7"]
    assert train(config_for(data, "clip", *settings, f"data.test={data[0]}"), run, quiet=True) == "done"
    assert set(sizes) == {7}
    validated, tested = [dict(event.values) for event in read(run) if isinstance(event, Evaluated)]
    assert {name.partition("/")[0] for name in validated} == {"val"}
    assert {name.partition("/")[0] for name in tested} == {"test"}
    assert train(config_for(data, "clip", *settings, f"data.val={data[0]}"), other, quiet=True) == "done"
    (same,) = [event.values for event in read(other) if isinstance(event, Evaluated)]
    assert tested == {name.replace("val/", "test/"): value for name, value in same.items()}


def test_validation_and_save_intervals_follow_the_config(data: tuple[Path, Path], tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    settings = ("validation.every_steps=5", "checkpoint.every_steps=7", "runtime.log_every=4", "optim.epochs=4")
    assert train(config_for(data, "clip", *settings, "checkpoint.keep=9"), run, quiet=True) == "done"
    assert [event.step for event in read(run) if isinstance(event, Evaluated)] == [5, 10, 12]
    assert [event.step for event in read(run) if isinstance(event, Metrics)] == [4, 8, 12]
    assert {"step-00000007", "step-00000012"} <= {path.name for path in run.checkpoints.glob("step-*")}
    started = read(run)[0]
    assert isinstance(started, RunStarted)
    assert started.config_digest == config_for(data, "clip", *settings, "checkpoint.keep=9").digest()


def test_old_steps_are_kept_as_networks_only(data: tuple[Path, Path], tmp_path: Path) -> None:
    """The newest is whole, so that training can be resumed; the kept ones open, and nothing resumes from them."""
    run = RunDir(tmp_path / "run")
    settings = ("checkpoint.every_steps=3", "checkpoint.keep_every=2", "validation.every_steps=99", "optim.epochs=2")
    assert train(config_for(data, "sd-clip-every-step", *settings), run, quiet=True) == "done"
    assert checkpoint.checkpoint_names(run) == ["step-00000002", "step-00000004", "step-00000006"]
    whole = [
        name for name in checkpoint.checkpoint_names(run) if (run.checkpoints / name / checkpoint.STATE_FILE).exists()
    ]
    assert whole == ["step-00000006"]
    assert open_model(f"{run.path}@2", "teacher").subject.model.endswith("@step-00000002")
    shutil.rmtree(run.checkpoints / "step-00000006")
    with pytest.raises(checkpoint.CheckpointError, match=r"cannot be resumed: .* contain only networks, no state"):
        checkpoint.newest_complete(run, torch.device("cpu"))


def hungry(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> None:
    plain = Network.forward_student

    def forward(network: Network, batch: Batch, *options: bool) -> Any:
        if len(batch.rows) > most:
            raise error
        return plain(network, batch, *options)

    monkeypatch.setattr(Network, "forward_student", forward)


@pytest.mark.parametrize(
    ("most", "micro", "said"),
    [
        (
            4,
            0,
            "3 fits: set optim.batch_size to 3, or set optim.micro_batch to 3 and leave optim.batch_size unchanged, or",
        ),
        (4, 6, "3 fits: set optim.batch_size to 3, or choose a smaller"),
        (0, 0, "not even one pair fits, or choose a smaller"),
    ],
)
def test_remedies_for_out_of_memory(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, micro: int, said: str
) -> None:
    hungry(monkeypatch, most, torch.OutOfMemoryError("CUDA out of memory"))
    event = failure(config_for(data, "clip", f"optim.micro_batch={micro}"), RunDir(tmp_path / "run"), TrainingError)
    assert said in event.message
    assert event.step == 1


def test_out_of_memory_with_unlabelled_rows_names_the_batch_size_of_labelled_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry(monkeypatch, 8, torch.OutOfMemoryError("CUDA out of memory"))
    data, batches = write_labelled(tmp_path / "pairs"), ("optim.batch_size=4", "data.unlabelled_ratio=2")
    config = config_for(data, "fixmatch", *batches, "data.label=colour", "data.labels_per_class=2")
    event = failure(config, RunDir(tmp_path / "run"), TrainingError)
    assert "with optim.batch_size 4; 2 fits: set optim.batch_size to 2, or set optim.micro_batch to 6" in event.message


def test_a_bug_in_a_step_is_not_out_of_memory(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry(monkeypatch, 0, RuntimeError("shapes do not fit"))
    run = RunDir(tmp_path / "run")
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(config_for(data, "clip"), run, quiet=True)
    event = read(run)[-1]
    assert isinstance(event, RunFailed)
    assert (event.error, event.message, event.step) == ("RuntimeError", "RuntimeError: shapes do not fit", 1)
    assert "Traceback" in event.traceback


def test_the_first_signal_stops_the_second_kills_and_handlers_are_restored(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    during: list[Any] = []
    original = Loop.train_step

    def step(loop: Loop, batch: Batch) -> Any:
        if loop.step == 1:
            during.append(signal.getsignal(signal.SIGTERM))
            signal.raise_signal(signal.SIGTERM)
            during.append(signal.getsignal(signal.SIGTERM))
        return original(loop, batch)

    monkeypatch.setattr(Loop, "train_step", step)
    run = RunDir(tmp_path / "run")
    run.create()
    assert train(config_for(data, "clip"), run, quiet=True) == "stopped"
    ended = read(run)[-1]
    assert isinstance(ended, RunFinished)
    assert (ended.step, ended.outcome) == (2, "stopped")
    assert checkpoint.read_info(run, resolve(run, "last")).step == 2
    assert during[0] not in before
    assert during[1] == signal.SIG_DFL
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert not run.control.exists()
