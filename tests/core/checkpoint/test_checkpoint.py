"""A checkpoint's tensors are found again by their names, also where older checkpoints named them otherwise."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.checkpoint import files as checkpoint
from core.checkpoint.files import CheckpointError, CheckpointInfo
from core.checkpoint.scalars import shape_in_memory
from core.checkpoint.state import optimizer_tensors, restore_optimizer
from core.model.network import Network
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.run.folder import RunDir
from core.training.schedules import build_optimizer
from tests.core.variants import variant_config

CONFIG = variant_config("sd-clip-every-step")


def network() -> Network:
    model: dict[str, Any] = copy.deepcopy(resolve_architecture("sd-tiny"))
    model["text_cfg"]["vocab_size"] = 100  # so that the vocabulary costs nothing
    torch.manual_seed(0)
    return build_network(CONFIG, model)


def moved(student: Network) -> torch.optim.Optimizer:
    """An optimiser after a step in which every parameter had a gradient of its own."""
    optimizer = build_optimizer(CONFIG.optim, student)
    for parameter in student.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("towers.gone.exp_avg", torch.zeros(3)),
        ("fusion.norm.weight.exp_avg_sq", None),
        ("fusion.norm.weight.exp_avg_sq", torch.tensor(1.0)),
        ("fusion.norm.weight.step", torch.zeros(3)),
        ("fusion.norm.weight.other", torch.tensor(1.0)),
    ],
)
def test_moments_that_do_not_fit_the_parameters_are_refused(name: str, value: torch.Tensor | None) -> None:
    student = network()
    tensors = optimizer_tensors(moved(student), student)
    tensors.pop(f"optimizer.{name}", None)
    if value is not None:
        tensors[f"optimizer.{name}"] = value
    with pytest.raises(CheckpointError, match="does not match the parameters"):
        restore_optimizer(build_optimizer(CONFIG.optim, student), student, tensors)


def test_another_network_or_config_is_refused_with_a_message() -> None:
    student = network()
    state = dict(student.state_dict())
    del state["fusion.norm.weight"]
    with pytest.raises(CheckpointError, match=r"run does not match the network .*fusion.norm.weight.*Use the version"):
        checkpoint.load_state(student.load_state_dict, state, "run")
    info = CheckpointInfo(1, 2, CONFIG.model_dump(mode="json"), {})
    assert checkpoint.run_config(info, "run") == CONFIG
    later = replace(info, config={**info.config, "dreams": {}})
    with pytest.raises(CheckpointError, match=r"run has a config .*dreams.*the version that wrote it"):
        checkpoint.run_config(later, "run")


def test_resaving_a_step_never_leaves_it_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    run.create()
    whole: list[int] = []
    rename = Path.replace

    def watched(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp") and target.name.startswith("step-"):
            whole.append(len(list(run.checkpoints.glob("*/student.safetensors"))))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    for value in (1.0, 2.0):
        tensors = checkpoint.CheckpointState({"x": torch.tensor([value])}, {}, {"y": torch.tensor([value])})
        checkpoint.save(run, CheckpointInfo(3, 9, {}, {}), tensors, keep=1)
    assert whole == [1, 2]  # the former one is still there, whole, when the new one takes its name
    assert checkpoint.load_weights(run, "step-00000003", "student", torch.device("cpu"))["x"].item() == 2.0
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["last", "step-00000003"]


def test_scalars_keep_their_shape_in_files_and_moments_find_their_parameters(tmp_path: Path) -> None:
    """The logit scale and its moments are (1,) here, since a parameter without a dimension cannot be sharded."""
    student = network()
    run = RunDir(tmp_path)
    run.checkpoints.mkdir(parents=True)
    state = optimizer_tensors(moved(student), student)
    info = CheckpointInfo(step=1, total_steps=2, config=CONFIG.model_dump(mode="json"), model={})
    name, _ = checkpoint.save(run, info, checkpoint.CheckpointState(student.state_dict(), {}, state), keep=1)
    scale = "towers.clip.logit_scale"
    moments = [("state", f"optimizer.{scale}.{moment}") for moment in ("exp_avg", "exp_avg_sq", "step")]
    for part, key in (("student", scale), *moments):
        assert load_file(run.checkpoints / name / f"{part}.safetensors")[key].shape == ()
    for part, given in (("student", student.state_dict()), ("state", state)):
        found = checkpoint.load_weights(run, name, part, torch.device("cpu"))
        assert [key for key, value in given.items() if not torch.equal(found[key], value)] == []
    assert all(parameter.ndim > 0 for parameter in student.parameters())
    assert checkpoint.shapes(run, name, "student") == {key: value.shape for key, value in student.state_dict().items()}
    assert shape_in_memory("towers.bn1.num_batches_tracked", ()) == (), "a count, and no parameter"
    assert shape_in_memory("logit_scale", (2,)) == (2,), "another file's, which is refused for it"
    other = network()
    restored = build_optimizer(CONFIG.optim, other)
    restore_optimizer(restored, other, state)
    assert all(torch.equal(value, state[key]) for key, value in optimizer_tensors(restored, other).items())
