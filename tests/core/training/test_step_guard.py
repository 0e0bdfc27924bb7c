"""Numbers stay on the device until they are reported; a step whose numbers are not finite is skipped all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from core.checkpoint import files as checkpoint
from core.checkpoint.state import optimizer_tensors
from core.data.batch import Batch
from core.spec.config import RunConfig
from core.spec.run.events import Event, EventReader, Log, RunFailed
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.training.errors import TrainingError
from core.training.loop import Loop
from core.training.step.reports import Reports
from core.training.step.step_guard import SkippedStep, StepGuard
from core.training.train import train
from core.training.train_step import StepLosses
from tests.core.run_files import losses as reported
from tests.core.training.test_train_step import config_for, data, opened

__all__ = ["data"]  # the fixture


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from tensors: each would make the host wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.count += "_local_scalar_dense" in str(function)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("preset", ["sd-clip-every-step", "silc"])
def test_a_step_never_reads_a_value_from_the_device(preset: str, data: Path, tmp_path: Path) -> None:
    with opened(config_for(data, preset), tmp_path / "run") as loop:
        for batch in loop.parts.loader.batches(0, 3):
            with Reads() as reads:
                report = loop.train_step(batch)
            assert reads.count == 0
        reports = Reports()
        with Reads() as reads:
            reports.add(3, report, {"known": 1.0}, StepGuard().take_values())
            (arrived,) = reports.take_arrived()
        assert reads.count == len(report)  # the count does count
        assert arrived.values["train/loss"] > 0
        assert arrived.values["known"] == 1.0
        assert list(reports.take_arrived(wait=True)) == []


def read(run: RunDir) -> list[Event]:
    return EventReader(run.events).read_all()


@contextmanager
def broken_from(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> Iterator[None]:
    """Losses that are no numbers in ``steps``."""
    original = StepLosses.__call__

    def broken(losses: StepLosses, batch: Batch, step: int) -> Any:
        found, report = original(losses, batch, step)
        return {name: loss * (torch.nan if step in steps else 1.0) for name, loss in found.items()}, report

    with monkeypatch.context() as patch:
        patch.setattr(StepLosses, "__call__", broken)
        yield


def warnings(run: RunDir) -> list[str]:
    return [event.message for event in read(run) if isinstance(event, Log)]


def state_of(loop: Loop) -> dict[str, torch.Tensor]:
    assert loop.teacher is not None
    teacher = {f"teacher.{name}": value for name, value in loop.teacher.state_dict().items()}
    kept = {**loop.network.state_dict(), **optimizer_tensors(loop.optimizer, loop.network), **teacher}
    return {name: value.clone() for name, value in kept.items()}


@pytest.mark.parametrize("kind", ["ema", "ema-state"])
def test_a_skipped_step_changes_neither_weights_nor_moments_nor_teacher(
    kind: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        opened(config_for(data, "sd-clip-every-step", f"teacher.kind={kind}"), tmp_path / "run") as loop,
        broken_from(monkeypatch, {3}),
    ):
        for step, batch in enumerate(loop.parts.loader.batches(0, 4), 1):
            before = state_of(loop) if step > 1 else {}
            loop.train_step(batch)
            if step > 1:
                after = state_of(loop)
                assert all(torch.equal(before[name], after[name]) for name in before) == (step == 3)
        assert all(value.isfinite().all() for value in loop.teacher.network.parameters())  # type: ignore[union-attr]


def late(data: Path, *settings: str) -> RunConfig:
    return config_for(data, "clip", "runtime.log_every=4", "optim.epochs=9", *settings)


def test_too_many_skipped_steps_end_the_run_at_the_next_report(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    settings = ("checkpoint.every_steps=99", "validation.every_steps=99")
    broken = (2, 5, 6, 7, 8, 9)
    said = r"for 5 steps in a row.*learning rate"
    with broken_from(monkeypatch, set(broken)), pytest.raises(TrainingError, match=said):
        train(late(data, *settings), run, quiet=True)
    assert warnings(run) == [f"step {step} was skipped: train/contrastive not finite" for step in broken]
    failed = read(run)[-1]
    assert isinstance(failed, RunFailed)
    assert failed.step == 12
    assert list(reported(run)) == [4, 8]


def test_a_checkpoint_between_two_reports_is_saved_after_skips_are_reported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    with broken_from(monkeypatch, {2, 3}):
        assert train(late(data, "optim.epochs=1"), run, quiet=True) == "done"
    assert warnings(run) == [f"step {step} was skipped: train/contrastive not finite" for step in (2, 3)]
    assert all(value.isfinite().all() for value in weights_of(run).values())


def weights_of(run: RunDir) -> dict[str, torch.Tensor]:
    return checkpoint.load_weights(run, resolve(run, "last"), "student", torch.device("cpu"))


def test_the_guard_names_the_losses_or_the_gradient() -> None:
    guard, good, bad = StepGuard(), torch.tensor(1.0), torch.tensor(torch.inf)
    assert guard.record_step(1, ["a"], good[None], good).item() == 0.0
    assert guard.record_step(2, ["a", "b"], torch.stack([good, bad]), bad).item() == 1.0
    assert guard.record_step(3, ["a"], good[None], bad).item() == 1.0
    assert list(guard.find_skipped(guard.take_values())) == [
        SkippedStep(2, ("b",), 1),
        SkippedStep(3, ("the gradient",), 2),
    ]
    assert guard.record_step(4, ["a"], bad[None], bad).item() == 1.0
    assert list(guard.find_skipped(guard.take_values())) == [SkippedStep(4, ("a",), 3)]  # a row goes on over a report
    guard.record_step(5, ["a"], good[None], good)
    guard.record_step(6, ["a"], bad[None], good)
    assert list(guard.find_skipped(guard.take_values())) == [SkippedStep(6, ("a",), 1)]
    assert list(guard.find_skipped(guard.take_values())) == []
