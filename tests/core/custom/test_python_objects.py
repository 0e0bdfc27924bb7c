"""``core.train`` with Python objects as losses, data sets and callbacks; runs resume with the same objects."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import core
from core.model.outputs import Output
from core.spec.config import read_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import checkpoint_names
from tests.core.images import draw

SHORT = {"optim.epochs": 2, "optim.batch_size": 6, "checkpoint.every_steps": 2, "checkpoint.keep": 9,
         "runtime.device": "cpu", "runtime.log_every": 1, "data.workers": 0}  # fmt: skip
COLOURS, SHAPES = ("red", "green", "blue"), ("circle", "square")


class Gap(nn.Module):
    """The distance between images and captions, with a learnable scale and a buffer that counts calls."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, student: Output) -> Tensor:
        self.calls += 1
        return (self.scale * student.text - student.clean.image).square().mean()


def flat(student: Output) -> Tensor:
    """A loss that is a function."""
    return student.text.square().mean()


class Shapes:
    """A data set with images of every accepted type."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return len(COLOURS) * len(SHAPES) * 2

    def __getitem__(self, index: int) -> tuple[object, list[str], dict[str, str]]:
        colour, shape = COLOURS[index % 3], SHAPES[index % 2]
        image: Image.Image = draw(colour, shape, self.size + index)
        array = np.asarray(image)
        forms = image, array, torch.from_numpy(array.copy()).permute(2, 0, 1)
        return forms[index % 3], [f"a {colour} {shape} {index}"], {"shape": shape}


class Broken(core.Callback):
    def on_step(self, step: int, metrics: Mapping[str, Tensor], network: nn.Module) -> None:
        raise ZeroDivisionError("in a callback")


class RecordingCallback(core.Callback):
    """Records its calls."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.validations: dict[int, float] = {}
        self.ends: list[str] = []

    def on_step(self, step: int, metrics: Mapping[str, Tensor], network: nn.Module) -> None:
        self.steps.append(step)
        self.losses.append(float(metrics["train/Gap"]))
        assert any(parameter.requires_grad for parameter in network.parameters())

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self.validations[step] = metrics["val/student/mean_recall"]

    def on_end(self, outcome: str) -> None:
        self.ends.append(outcome)


def test_objects_are_trained_reported_and_resumed(tmp_path: Path) -> None:
    config = core.preset("clip", "tiny", SHORT)
    data = {"train": Shapes(12), "val": Shapes(14)}
    given, callback = Gap(), RecordingCallback()
    outcome = core.train(
        config, tmp_path / "run", objectives=[(given, 0.5), flat], dataset=data, callbacks=[callback], quiet=True
    )
    assert outcome == "done"
    assert callback.steps == [1, 2, 3, 4]
    assert callback.ends == ["done"]
    assert list(callback.validations) == [2, 4]
    frame = core.read_run(tmp_path / "run")
    assert frame["train/Gap"].dropna().tolist() == pytest.approx(callback.losses)
    assert "train/flat" in frame
    assert given.calls == 0, "the caller's object is not changed"

    whole, resumed = RunDir(tmp_path / "run"), RunDir(tmp_path / "resumed")
    shutil.copytree(whole.path, resumed.path)
    last = checkpoint_names(whole)[-1]
    shutil.rmtree(resumed.checkpoints / last)
    lines = [line for line in resumed.events.read_text().splitlines(keepends=True) if "run_finished" not in line]
    resumed.events.write_text("".join(lines))
    with pytest.raises(
        core.UserError, match=r"an object that was passed to core\.train .* call core\.train with the object"
    ):
        core.train(read_config(resumed.config), resumed.path, quiet=True)
    core.train(config, resumed.path, objectives=[(Gap(), 0.5), flat], dataset=data, quiet=True)
    ours, theirs = (load_file(run.checkpoints / last / "student.safetensors") for run in (whole, resumed))
    assert ours["heads.Gap.calls"] == 4
    assert all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"callbacks": [object()]}, r"object is not a core\.Callback; make it a subclass\."),
        ({"objectives": [Gap(), Gap()]}, r"two objectives are called Gap; rename one of them\."),
        ({"dataset": {"train": Shapes(12), "extra": Shapes(12)}}, r"unknown key 'extra' in dataset; use train"),
        ({"dataset": {"val": Shapes(12)}}, r"data\.train is empty"),
        ({"dataset": []}, r"a data set of length 0"),
        (
            {"dataset": Shapes(12), "callbacks": [Broken()]},
            r"test_python_objects\.py, line \d+: ZeroDivisionError: in a callback",
        ),
    ],
)  # fmt: skip
def test_invalid_objects_are_reported(arguments: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(core.UserError, match=sentence):
        core.train(core.preset("clip", "tiny", SHORT), tmp_path / "run", quiet=True, **arguments)  # type: ignore[arg-type]
