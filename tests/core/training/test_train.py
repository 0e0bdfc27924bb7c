"""The loop: it learns, it resumes bit for bit, it stops when asked, and it says why when it cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from core.__main__ import main
from core.checkpoint import files as checkpoint
from core.data.batch import Batch
from core.spec.config import RunConfig, override
from core.spec.run.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    EventReader,
    Metrics,
    RunFinished,
    RunStarted,
    Sample,
)
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.training.loop import Loop
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.run_files import losses, weights
from tests.core.variants import variant_config

WHOLE = ("sd-clip-every-step", "objectives.matching.weight=0.1")  # matching draws from the generator
PATIENCE = 300  # seconds; the start of a program on a busy machine


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def config_for(data: tuple[Path, Path], preset: str = "sd-clip-every-step", *settings: str) -> RunConfig:
    paths = [f"data.train={data[0]}", f"data.val={data[1]}", "optim.epochs=4", "optim.batch_size=12"]
    return override(variant_config(preset), [*paths, "runtime.threads=1", *settings])


def read(run: RunDir) -> list[Event]:
    return EventReader(run.events).read_all()


def validations(run: RunDir) -> list[tuple[int, dict[str, float]]]:
    return [(event.step, dict(event.values)) for event in read(run) if isinstance(event, Evaluated)]


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.fixture(scope="module")
def uninterrupted(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("whole") / "run")
    assert train(config_for(data, *WHOLE), run, quiet=True) == "done"
    return run


def test_a_run_reports_what_the_window_needs(uninterrupted: RunDir) -> None:
    events = read(uninterrupted)
    started, finished = events[0], events[-1]
    assert isinstance(started, RunStarted)
    assert (started.step, started.total_steps, started.pairs) == (0, 12, 36)
    assert (started.precision, started.device.startswith("cpu"), started.parameters > 1000) == ("fp32", True, True)
    assert finished == RunFinished(step=12, outcome="done", time=finished.time)
    steps = [event.step for event in events if isinstance(event, Metrics)]
    assert steps == list(range(1, 13))
    values = next(event.values for event in events if isinstance(event, Metrics))
    assert {
        "train/loss", "train/contrastive", "train/distill_similarity", "train/distill_prototypes", "train/lr",
        "train/pairs_per_s", "train/grad_norm", "diag/teacher_momentum", "diag/logit_scale", "diag/centre_norm",
        "diag/contrastive_over_ln_batch", "diag/teacher_entropy_over_ln_prototypes", "diag/prototype_kl",
    } <= values.keys()  # fmt: skip
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert [event.step for event in evaluated] == [3, 6, 9, 12]
    for network in ("student", "teacher"):
        for direction in ("image_to_text", "text_to_image"):
            for k in (1, 5, 10):
                assert 0 <= evaluated[-1].values[f"val/{network}/{direction}_R@{k}"] <= 1
    sample = next(event for event in events if isinstance(event, Sample))
    assert Path(sample.content["student"][0]["hits"][0]["image"]).is_file()
    assert any(event.best for event in events if isinstance(event, CheckpointSaved))


class StopAt:
    """Raises control's file at a step, as the window would."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, what: str) -> None:
        original = Loop.train_step

        def train_step(loop: Loop, batch: Batch) -> dict[str, torch.Tensor]:
            values = original(loop, batch)
            if loop.step == step:
                loop.run_dir.ask(what)  # type: ignore[arg-type]
            return values

        monkeypatch.setattr(Loop, "train_step", train_step)


def test_paused_and_resumed_equals_uninterrupted_bit_for_bit(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: RunDir
) -> None:
    run = RunDir(tmp_path / "run")
    with monkeypatch.context() as patch:
        StopAt(patch, 6, "pause")
        assert train(config_for(data, *WHOLE), run, quiet=True) == "paused"
    paused = read(run)[-1]
    assert isinstance(paused, RunFinished)
    assert (paused.step, paused.outcome) == (6, "paused")
    torch.manual_seed(987)  # what happened in between must not matter
    assert train(config_for(data, *WHOLE), run, quiet=True) == "done"
    assert losses(run) == losses(uninterrupted)
    assert equal(weights(run), weights(uninterrupted))
    assert validations(run) == validations(uninterrupted)  # none skipped (step 6 is stopped in the midst of the second)


@pytest.mark.slow
def test_ten_kills_at_random_change_nothing(data: tuple[Path, Path], tmp_path: Path) -> None:
    config = config_for(data, "sd-clip-every-step", "optim.epochs=40")
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    train(config, whole, quiet=True)
    kill_and_resume(config, run, kills=10)
    assert losses(run) == losses(whole)
    assert equal(weights(run), weights(whole))


def kill_and_resume(config: RunConfig, run: RunDir, kills: int) -> None:
    """Start the trainer as a program, kill it after some more events, and so on; then let it finish."""
    run_config = run.path.with_suffix(".json")
    run_config.write_text(config.to_json())
    command = [sys.executable, "-m", "core", "train", str(run_config), str(run.path)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(kills):
        before = len(read(run))
        wanted = int(torch.randint(1, 14, (1,), generator=generator))
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as trainer:
            deadline = time.monotonic() + PATIENCE
            while len(read(run)) < before + wanted and trainer.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            trainer.kill()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_a_stop_is_handled_while_images_are_read(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "empty-cache"))
    original = Loop._report_progress

    def part(loop: Loop, doing: str, done: int, total: int) -> None:
        loop.run_dir.ask("stop")
        original(loop, doing, done, total)

    monkeypatch.setattr(Loop, "_report_progress", part)
    assert train(config_for(data), run, quiet=True) == "stopped"
    assert isinstance(read(run)[-1], RunFinished)


def test_a_finished_run_is_left_alone(uninterrupted: RunDir, data: tuple[Path, Path]) -> None:
    before = uninterrupted.events.read_bytes()
    assert train(config_for(data, *WHOLE), uninterrupted, quiet=True) == "done"
    assert uninterrupted.events.read_bytes() == before


def test_the_last_step_is_reported_and_saved_whatever_the_intervals(data: tuple[Path, Path], tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    every = ("runtime.log_every=2", "checkpoint.every_steps=2", "data.val=")  # nor saved as the best
    assert train(config_for(data, "clip", "optim.epochs=1", *every), run, quiet=True) == "done"
    assert list(losses(run)) == [2, 3]
    assert checkpoint.read_info(run, resolve(run, "last")).step == 3


def test_a_folder_in_use_is_refused(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "run")
    run.create()
    lock = run.claim()  # by another process: tests/core/test_rundir.py
    (tmp_path / "c.json").write_text(config_for(data).to_json())
    assert main(["train", str(tmp_path / "c.json"), str(run.path)]) == 1
    lock.release()
    told = capsys.readouterr().err
    assert "in use by a trainer" in told
    assert "Traceback" not in told


def test_a_damaged_latest_checkpoint_is_skipped(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = RunDir(tmp_path / "run"), config_for(data, "clip", "checkpoint.keep=3", "optim.epochs=2")
    with monkeypatch.context() as patch:
        StopAt(patch, 4, "stop")
        train(config, run, quiet=True)
    (run.checkpoints / "step-00000004" / "state.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    assert train(config, run, quiet=True) == "done"
    assert [event.step for event in read(run) if isinstance(event, RunStarted)] == [0, 3]


def test_only_the_latest_and_the_best_checkpoints_are_kept(uninterrupted: RunDir) -> None:
    led = [event.name for event in read(uninterrupted) if isinstance(event, CheckpointSaved) and event.best]
    assert checkpoint.pointer(uninterrupted, "best") == led[-1]
    assert set(checkpoint.checkpoint_names(uninterrupted)) == {"step-00000012", led[-1]}


def test_the_best_score_survives_an_interruption(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after a resume leads only when it is better than all before, not only than the last."""
    run = RunDir(tmp_path / "run")
    with monkeypatch.context() as patch:
        StopAt(patch, 7, "stop")
        assert train(config_for(data, "clip"), run, quiet=True) == "stopped"
    last = run.checkpoints / "step-00000007" / "checkpoint.json"
    led = checkpoint.pointer(run, "best")
    raw = json.loads(last.read_text())
    last.write_text(json.dumps(raw | {"score": 0.0, "best_score": 2.0}))  # no recall comes near it
    before = len(read(run))
    assert train(config_for(data, "clip"), run, quiet=True) == "done"
    saved = [event for event in read(run)[before:] if isinstance(event, CheckpointSaved)]
    assert saved
    assert not any(event.best for event in saved)
    assert checkpoint.pointer(run, "best") == led
    assert led in checkpoint.checkpoint_names(run)
    assert checkpoint.read_info(run, "step-00000012").best_score == 2.0
