"""What comes late beside a GPU, pretended on a CPU: reports under way, checkpoints still being written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.files import CheckpointError
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import CheckpointSaved, Evaluated, EventReader, Metrics, RunFailed, RunFinished
from core.spec.run.folder import RunDir
from core.training import loop as loop_module
from core.training.checkpointing import Checkpointing, RunProgress
from core.training.errors import Interrupt
from core.training.loop import Loop
from core.training.step.reports import Report, Reports
from core.training.train import train
from tests.core.images import write_pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def config_for(data: tuple[Path, Path], *settings: str) -> RunConfig:
    """Six steps, three an epoch."""
    paths = [f"data.train={data[0]}", f"data.val={data[1]}", "optim.epochs=2", "optim.batch_size=12"]
    steps = ["runtime.threads=1", "runtime.log_every=1", "checkpoint.keep=9", "checkpoint.every_steps=2"]
    return override(preset_config("clip", "tiny"), [*paths, *steps, *settings])


class Late(Reports):
    """No report is there before it is waited for."""

    def take_arrived(self, wait: bool = False) -> Iterator[Report]:
        return super().take_arrived() if wait else iter(())


def test_reports_are_written_before_their_consequences(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "Reports", Late)
    run = RunDir(tmp_path / "run")
    assert train(config_for(data), run, quiet=True) == "done"
    events = EventReader(run.events).read_all()
    kinds = {Metrics: "reported", Evaluated: "evaluated", CheckpointSaved: "saved"}
    told = [(kinds[type(one)], getattr(one, "step", 0)) for one in events if type(one) in kinds]
    assert [step for what, step in told if what == "reported"] == [1, 2, 3, 4, 5, 6]
    for place, (what, step) in enumerate(told):
        if what != "reported":
            before = [one for kind, one in told[:place] if kind == "reported"]
            assert before == list(range(1, step + 1)), (what, step)
    assert {step for what, step in told if what == "evaluated"} == {3, 6}
    assert {step for what, step in told if what == "saved"} >= {2, 4, 6}


class Beside(Checkpointing):
    """Checkpoints are written beside the training, as on a GPU."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.background = True


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[int, dict[str, torch.Tensor]]:
    """The checkpoint of step 2 is not on the disk before step 3 was trained; the weights after each step."""
    weights: dict[int, dict[str, torch.Tensor]] = {}
    trained = threading.Event()
    save, step = checkpoint.save, Loop.train_step

    def late(run: RunDir, info: checkpoint.CheckpointInfo, *given: Any) -> tuple[str, bool]:
        if info.step == 2:
            assert trained.wait(120), "training does not go on meanwhile"
        return save(run, info, *given)

    def train_step(loop: Loop, *given: Any) -> Any:
        report = step(loop, *given)
        weights[loop.step] = {name: value.clone() for name, value in loop.network.state_dict().items()}
        if loop.step == 3:
            trained.set()
        return report

    monkeypatch.setattr(checkpoint, "save", late)
    monkeypatch.setattr(Loop, "train_step", train_step)
    monkeypatch.setattr(loop_module, "Checkpointing", Beside)
    return weights


def test_training_continues_while_a_checkpoint_is_written(
    data: tuple[Path, Path], tmp_path: Path, held: dict[int, dict[str, torch.Tensor]]
) -> None:
    run = RunDir(tmp_path / "run")
    assert train(config_for(data, "checkpoint.every_steps=1"), run, quiet=True) == "done"
    events = EventReader(run.events).read_all()
    saved = [event.step for event in events if isinstance(event, CheckpointSaved)]
    assert saved == [1, 2, 3, 4, 5, 6], "each once, and one after another"
    assert isinstance(events[-1], RunFinished)
    for step in (2, 3):
        found = checkpoint.load_weights(run, f"step-{step:08d}", "student", torch.device("cpu"))
        assert all(torch.equal(found[name], value) for name, value in held[step].items())
    assert any(not torch.equal(value, held[3][name]) for name, value in held[2].items())


def test_leaving_a_run_waits_for_its_checkpoint(
    data: tuple[Path, Path],
    tmp_path: Path,
    held: dict[int, dict[str, torch.Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = Loop.check_control

    def pause(loop: Loop) -> None:
        check(loop)
        if loop._in_lockstep and loop.step == 3:
            raise Interrupt("paused")

    monkeypatch.setattr(Loop, "check_control", pause)
    run = RunDir(tmp_path / "run")
    assert train(config_for(data, "validation.every_steps=99"), run, quiet=True) == "paused"
    saved = [event.step for event in EventReader(run.events).read_all() if isinstance(event, CheckpointSaved)]
    assert saved == [2, 3]


def test_a_failed_background_checkpoint_ends_the_training(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: RunDir, info: checkpoint.CheckpointInfo, *given: Any) -> tuple[str, bool]:
        raise CheckpointError(f"no room for step {info.step}.")

    monkeypatch.setattr(checkpoint, "save", full)
    monkeypatch.setattr(loop_module, "Checkpointing", Beside)
    run = RunDir(tmp_path / "run")
    with pytest.raises(CheckpointError, match="no room for step 2"):
        train(config_for(data), run, quiet=True)
    event = EventReader(run.events).read_all()[-1]
    assert isinstance(event, RunFailed)
    assert event.message == "no room for step 2."


def test_the_best_score_is_tied_to_its_step_and_the_first_of_equals_stays() -> None:
    progress = RunProgress()
    led = []
    for score, network in ((0.5, "student"), (0.5, "teacher"), (0.7, "teacher"), (0.6, "student")):
        progress.begin_step()
        assert (progress.score, progress.network) == (None, "")
        led.append(progress.record_score(score, network))
        assert (progress.score, progress.network) == (score, network)
    assert led == [True, False, True, False]
    assert (progress.step, progress.best) == (4, 0.7)
