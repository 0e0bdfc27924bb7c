"""A model opened by its name: as it was trained, in eval mode, without a trace, and told apart from any other."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors import SafetensorError

from core.checkpoint import files as checkpoint
from core.checkpoint import tensor_files
from core.checkpoint.files import CheckpointError, CheckpointInfo, CheckpointState
from core.checkpoint.opening import Model, model_key, open_model, open_teachers
from core.model import runtime
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from tests.core.checkpoint.test_tensor_files import CPU, files, kept_run, rewrite, run, tiny

__all__ = ["kept_run", "run"]  # fixtures


def test_published_models_compute_in_full_precision_and_draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_bf16", lambda device: True)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = open_model("open_clip:sd-tiny")
    assert torch.equal(torch.get_rng_state(), before)
    assert model.runtime.precision == "fp32"
    assert not any(part.training for part in model.network.modules())
    assert "has random weights (seed 0)" in model.notes[0]
    torch.manual_seed(6)
    again = open_model("open_clip:sd-tiny")
    assert again.digest == model.digest, "the same weights each time"


def test_a_run_is_opened_with_its_data_and_batches(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "has_bf16", lambda device: True)

    def change(raw: dict[str, dict[str, dict[str, object]]]) -> None:
        raw["config"]["validation"]["batch_size"] = 7
        raw["config"]["data"]["train"] = "mine.csv"
        raw["config"]["runtime"] |= {"device": "cuda" if not torch.cuda.is_available() else "mps", "precision": "bf16"}

    rewrite(run, change)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    model = open_model(str(run.path))
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.batch, model.data.train) == (7, "mine.csv")
    assert model.runtime.precision == "fp32", "whatever it was trained with, on the device that is here"
    assert not any(part.training for part in model.network.modules())


def test_several_teachers_are_named_in_one_line(run: RunDir) -> None:
    name = str(run.path)
    assert len(open_teachers(f" {name} ; {name}@last;", "student", CPU)) == 2
    with pytest.raises(UserError, match=r"teacher\.checkpoint: .*was trained without a teacher"):
        open_teachers(name, "teacher", CPU)
    with pytest.raises(UserError, match=r"the teacher open_clip:sd-tiny has no weights; use open_clip:sd-tiny,"):
        open_teachers("open_clip:sd-tiny", "auto", CPU)


def test_a_key_changes_with_what_a_name_stands_for(run: RunDir, tmp_path: Path) -> None:
    first = model_key(str(run.path))
    assert model_key(f"{run.path}@last", "student") == first == model_key(str(run.path))
    os.utime(run.checkpoints / "step-00000001" / "student.safetensors", (1, 1))
    assert model_key(str(run.path)) != first
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text("{}")
    (folder / "weights").write_text("a")
    first = model_key(str(folder))
    assert model_key(str(folder)) == first
    with pytest.raises(UserError, match="has only one network"):
        model_key(str(folder), "student")
    os.utime(folder / "weights", (1, 1))
    assert model_key(str(folder)) != first


def saved(run: RunDir, step: int, score: float, best: float) -> bool:
    return checkpoint.save(run, *tiny(step, score, best), keep=9)[1]


def test_an_unreadable_best_is_ignored_and_the_first_of_equals_wins(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.create()
    assert saved(run, 1, 0.5, 0.5)
    assert not saved(run, 2, 0.5, 0.5)
    (run.checkpoints / "step-00000001" / "checkpoint.json").write_text("{")
    assert saved(run, 3, 0.5, 0.5)
    (run.checkpoints / "best").write_text("step-00000009")
    assert saved(run, 4, 0.5, 0.5)
    assert checkpoint.pointer(run, "best") == "step-00000004"


def test_a_run_with_only_damaged_checkpoints_is_not_restarted(run: RunDir) -> None:
    (files(run) / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"state\.safetensors is (damaged|not a safetensors file)"):
        checkpoint.newest_complete(run, CPU)
    assert checkpoint.newest_complete(RunDir(run.path.parent / "other"), CPU) is None
    with pytest.raises(CheckpointError, match="has no teacher; it was trained without one"):
        checkpoint.load_weights(run, "step-00000001", "teacher", CPU)


@pytest.mark.parametrize("version", [2, None])
def test_a_checkpoint_of_another_version_is_reported(run: RunDir, version: object) -> None:
    rewrite(run, lambda raw: raw.update(a_later_field=1))
    assert checkpoint.read_info(run, "step-00000001").step == 1, "an unknown field is no damage"
    rewrite(run, lambda raw: raw.update(version=version))
    with pytest.raises(CheckpointError, match=r"checkpoint\.json has version .*, but this program reads 1"):
        open_model(str(run.path))


def test_tensor_views_are_saved_and_leftovers_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir(tmp_path)
    run.create()
    (run.checkpoints / ".step-00000001.77.tmp").mkdir()
    value = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    checkpoint.save(run, CheckpointInfo(1, 9, {}, {}), CheckpointState({"x": value}, {}, {}), keep=1)
    assert torch.equal(checkpoint.load_weights(run, "step-00000001", "student", CPU)["x"], value.detach())
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["last", "step-00000001"]

    def refuse(*_: object, **_options: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(tensor_files, "save_file", refuse)
    with pytest.raises(CheckpointError, match=r"the disk is full \(.* MiB free\)"):
        checkpoint.save(run, CheckpointInfo(2, 9, {}, {}), CheckpointState({"x": value}, {}, {}), keep=1)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["last", "step-00000001"]


def test_a_checkpoint_is_on_disk_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not leave a name of files that are not there."""
    run = RunDir(tmp_path)
    run.create()
    synced: list[str] = []
    rename = Path.replace
    sync = os.fsync

    def fsync(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").resolve().name)
        sync(number)

    def replaced(self: Path, target: Path) -> Path:
        if target.name.startswith("step-"):
            synced.append("named")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    x = {"x": torch.zeros(1)}
    checkpoint.save(run, CheckpointInfo(1, 9, {}, {}), CheckpointState(x, x, x), keep=1)
    parts = {"student.safetensors", "teacher.safetensors", "state.safetensors", "checkpoint.json"}
    assert parts <= set(synced[: synced.index("named")])
    assert json.loads((run.checkpoints / "step-00000001" / "checkpoint.json").read_text())["step"] == 1


def test_a_network_key_covers_weights_and_precision() -> None:
    def digest(precision: str = "fp32", **tensors: torch.Tensor) -> str:
        network: Any = SimpleNamespace(state_dict=lambda: tensors)
        return Model(network, cast("Any", SimpleNamespace(precision=precision)), cast("Any", None)).digest

    one, two = torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])
    name = digest(a=one, b=two)
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert digest(b=two, a=one.clone()) == name, "in whatever order they are"
    assert digest(a=torch.stack((one, two[0].expand(2)), dim=1)[:, 0], b=two) == name, "wherever they lie"
    others = [
        digest("bf16", a=one, b=two),
        digest(a=one, c=two),
        digest(a=one),
        digest(a=torch.tensor([1.0, 2.0001]), b=two),
        digest(a=one[:, None], b=two),
        digest(a=one.view(torch.int32), b=two),
    ]
    assert len({name, *others}) == 7
