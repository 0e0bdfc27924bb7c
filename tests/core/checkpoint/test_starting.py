"""What a run starts from: a run, one of its checkpoints, a file of weights; which network of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.checkpoint import files as checkpoint
from core.checkpoint.files import CheckpointInfo, CheckpointState
from core.checkpoint.starting import carry_over, load_towers
from core.model.network import Network
from core.model.towers.towers import build_towers, resolve_architecture
from core.objectives.build import build_network
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate_run


def build(seed: int) -> Network:
    torch.manual_seed(seed)
    return Network(build_towers(resolve_architecture("sd-tiny")))


def write_checkpoint(folder: Path, **networks: Network) -> None:
    folder.mkdir(parents=True)
    for name, network in networks.items():
        save_file(network.state_dict(), folder / f"{name}.safetensors")
    (folder / "checkpoint.json").write_text(json.dumps({"step": 1}), encoding="utf-8")


def start(name: Path | str, weights: str = "auto") -> tuple[torch.Tensor, str]:
    """A parameter of the towers that start from ``name``, and the run's network that it is."""
    network = build(9)
    found = load_towers(network.towers, "sd-tiny", str(name), weights)
    return network.towers.clip.text_projection.detach(), f"{found.checkpoint} {found.network}" if found else ""


def test_a_run_means_its_best_or_the_named_checkpoint(tmp_path: Path) -> None:
    student, teacher, later = build(1), build(2), build(3)
    first, second = (tmp_path / "checkpoints" / f"step-0000000{step}" for step in (1, 2))
    write_checkpoint(first, student=student, teacher=teacher)
    write_checkpoint(second, student=later)

    def check(name: Path | str, wanted: Network, said: str, weights: str = "auto") -> None:
        found, source = start(name, weights)
        assert torch.equal(found, wanted.towers.clip.text_projection)
        assert source == said

    check(tmp_path, later, "step-00000002 student")  # none was validated: the last
    (tmp_path / "checkpoints" / "best").write_text("step-00000001", encoding="ascii")
    check(tmp_path, teacher, "step-00000001 teacher")
    check(tmp_path, student, "step-00000001 student", "student")
    check(f"{tmp_path}@2", later, "step-00000002 student")
    check(first, teacher, "step-00000001 teacher")
    check(first / "student.safetensors", student, "step-00000001 student")
    with pytest.raises(UserError, match="without a teacher"):
        start(f"{tmp_path}@last", "teacher")


def test_other_paths_are_a_file_or_a_folder_of_weights(tmp_path: Path) -> None:
    source = build(1)
    save_file(source.towers.clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    for name in (tmp_path, tmp_path / "open_clip_model.safetensors"):
        found, said = start(name)
        assert torch.equal(found, source.towers.clip.text_projection)
        assert said == ""


def test_a_head_for_other_classes_is_reinitialised(tmp_path: Path) -> None:
    config = override(preset_config("clip", "tiny"), ["objectives.classification.weight=1", "data.label=kind"])
    model = resolve_architecture("sd-tiny")
    model["text_cfg"]["vocab_size"] = 100  # so that the vocabulary costs nothing
    run, trained = RunDir(tmp_path), build_network(config, model, ("cat", "dog"))
    run.create()
    info = CheckpointInfo(1, 2, {}, {}, classes=trained.classes)
    checkpoint.save(run, info, CheckpointState(dict(trained.state_dict()), {}, {}), keep=1)
    source = locate_run(str(run.path), "student")
    assert source is not None
    for classes, taken in ((("cat", "dog"), True), (("dog", "cat"), False), (("cow", "owl"), False)):
        names = carry_over(build_network(config, model, classes), source)
        assert any(name.startswith("heads.classification.") for name in names) == taken
