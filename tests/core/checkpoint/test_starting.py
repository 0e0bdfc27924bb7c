"""What a run starts from: a run, one of its checkpoints, a file of weights; which network of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.checkpoint.starting import load_towers
from core.model.network import Network
from core.model.towers.towers import build_towers, resolve_architecture
from core.spec.errors import UserError


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


def test_a_run_is_its_best_checkpoint_or_the_one_that_is_named(tmp_path: Path) -> None:
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


def test_what_is_no_run_is_a_file_or_a_folder_of_weights(tmp_path: Path) -> None:
    source = build(1)
    save_file(source.towers.clip.state_dict(), tmp_path / "open_clip_model.safetensors")
    for name in (tmp_path, tmp_path / "open_clip_model.safetensors"):
        found, said = start(name)
        assert torch.equal(found, source.towers.clip.text_projection)
        assert said == ""
