"""Runs that cannot go on: the failure is recorded and said in words, and the last good checkpoint stays."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.checkpoint import files as checkpoint
from core.spec.config import ConfigError, RunConfig, read_config
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import (
    RunFailed,
    RunFinished,
)
from core.spec.run.folder import RunDir, RunDirError
from core.spec.run.model_names import resolve
from core.training import train as train_module
from core.training.errors import Interrupt, TrainingError
from core.training.train import train
from tests.core.training.test_train import StopAt, config_for, data, read, uninterrupted

__all__ = ["data", "uninterrupted"]  # fixtures


def failure(config: RunConfig, run: RunDir, kind: type[UserError] = UserError) -> RunFailed:
    """Train, expect a failure of ``kind``, and return what is on record of it."""
    with pytest.raises(kind) as caught:
        train(config, run, quiet=True)
    event = read(run)[-1]
    assert isinstance(event, RunFailed)
    assert event.message == str(caught.value)
    return event


def test_a_config_that_cannot_be_trained_is_refused(data: tuple[Path, Path], tmp_path: Path) -> None:
    run, gone = RunDir(tmp_path / "run"), config_for(data, "clip", f"data.train={tmp_path / 'gone.csv'}")
    assert "gone.csv" in failure(gone, run).message
    assert "data.train is empty" in failure(preset_config("clip", "tiny"), run).message
    contradiction = config_for(data).model_copy(update={"teacher": gone.teacher})
    assert "needs a teacher" in failure(contradiction, run, ConfigError).message


def test_a_corrected_config_trains_in_the_folder_of_a_refused_one(data: tuple[Path, Path], tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    assert "batch_size" in failure(config_for(data, "clip", "optim.batch_size=1000"), run).message
    corrected = config_for(data, "clip", "optim.batch_size=8", "optim.epochs=0.5")
    assert train(corrected, run, quiet=True) == "done"
    assert read_config(run.config).optim.batch_size == 8
    with pytest.raises(
        RunDirError, match=r"another config: optim\.batch_size is 8 in the folder, but 12 in this config"
    ):
        train(config_for(data, "clip", "optim.batch_size=12", "optim.epochs=0.5"), run, quiet=True)


def test_a_full_disk_keeps_the_last_good_checkpoint(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    original = checkpoint.save_tensors

    def full(tensors: Any, path: Path) -> None:
        if "step-00000006" in str(path) and path.name == "state.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        original(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full)
        event = failure(config_for(data, "clip"), run, checkpoint.CheckpointError)
    assert "the disk is full" in event.message
    assert "Free some space and resume" in event.message
    assert resolve(run, "last") == "step-00000003"
    assert [path.name for path in run.checkpoints.iterdir() if path.name.startswith(".")] == []
    assert train(config_for(data, "clip"), run, quiet=True) == "done"


def test_changed_data_of_a_paused_run_are_refused(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer or more of them its schedules would not be those that it began with."""
    run, pairs = RunDir(tmp_path / "run"), data[0].with_name("changing.csv")
    lines = [*data[0].read_text().splitlines(), *data[1].read_text().splitlines()[1:]]
    pairs.write_text("\n".join(lines[:37]) + "\n")
    config = config_for(data, "clip", f"data.train={pairs}", "optim.epochs=1")
    with monkeypatch.context() as patch:
        StopAt(patch, 1, "pause")
        assert train(config, run, quiet=True) == "paused"
    pairs.write_text("\n".join(lines[:49]) + "\n")
    said = failure(config, run, TrainingError).message
    assert f"changing.csv (data.train) differs from the data that {run.path} was trained on: " in said
    assert "number of images (was 36, is 48) and captions and names and sizes of the images changed" in said


def test_a_paused_run_resumes_with_moved_data(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, run = tmp_path / "before", tmp_path / "after", RunDir(tmp_path / "run")
    shutil.copytree(data[0].parent, before)

    def config(folder: Path) -> RunConfig:
        paths = [f"data.{name}={folder / name}.csv" for name in ("train", "val")]
        return config_for(data, "clip", *paths, "optim.epochs=1")

    with monkeypatch.context() as patch:
        StopAt(patch, 1, "pause")
        assert train(config(before), run, quiet=True) == "paused"
    before.rename(after)
    image = next(after.glob("*.png"))
    content = image.read_bytes()
    image.write_bytes(content + b" ")
    said = failure(config(after), run, TrainingError).message
    assert "train.csv (data.train) differs from" in said or "val.csv (data.val) differs from" in said
    assert "names and sizes of the images" in said
    image.write_bytes(content)
    assert train(config(after), run, quiet=True) == "done"
    assert read_config(run.config).data.train == str(after / "train.csv")


FULL, BROKEN = (OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EIO))


@pytest.mark.parametrize(
    ("begun", "ends", "said"),
    [
        (True, FULL, "TrainingError the disk with {run} is full; the last checkpoint is intact. Free some space"),
        (False, BROKEN, "OSError OSError: [Errno 5] "),
        (True, TrainingError("It cannot."), "TrainingError It cannot."),
        (True, Interrupt("paused"), "paused"),
        (False, Interrupt("paused"), "paused"),
    ],
    ids=["full", "broken", "refused", "interrupted", "interrupted at the start"],
)
def test_the_cause_of_an_end_is_recorded_with_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bool, ends: Exception, said: str
) -> None:
    """Of a run that is at step 7, or that had not begun: at step 0."""
    run, left = RunDir(tmp_path / "run"), list[bool]()

    class Ends:
        step = 7

        def __init__(self, *_: object, **_named: object) -> None:
            if not begun:
                raise ends

        def run(self) -> None:
            raise ends

        def save_if_needed(self) -> None:
            left.append(True)

    monkeypatch.setattr(train_module, "Loop", Ends)
    run.create()
    run.control.write_text("stop")
    if isinstance(ends, Interrupt):
        assert train(preset_config("clip", "tiny"), run, quiet=True) == "paused"
    else:
        with pytest.raises(TrainingError if ends is FULL else type(ends)):
            train(preset_config("clip", "tiny"), run, quiet=True)
    (event,) = read(run)
    assert isinstance(event, (RunFailed, RunFinished))
    told = f"{event.error} {event.message}" if isinstance(event, RunFailed) else event.outcome
    assert told.startswith(said.format(run=run.path))
    assert (event.step, left) == (7 if begun else 0, [True] * (begun and isinstance(ends, Interrupt)))
    assert not run.control.exists()
