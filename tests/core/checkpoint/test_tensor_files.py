"""Checkpoints that came from anywhere: refused in a sentence before they take time or memory; the best is kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.files import STATE_FILE, CheckpointError, CheckpointInfo, CheckpointState
from core.checkpoint.opening import open_model, open_network
from core.checkpoint.state import restore_rng
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import override
from core.spec.run.folder import RunDir
from core.spec.run.model_names import RunNetwork, resolve
from tests.core.variants import variant_config
from tests.mutations import survives

CPU = torch.device("cpu")
KINDS = ("pipe", "device", "folder", "link")
CONFIG = override(variant_config("sd-clip-every-step"), ["runtime.threads=1"])


def small_model() -> dict[str, Any]:
    model = resolve_architecture("sd-tiny")
    return {**model, "text_cfg": {**model["text_cfg"], "vocab_size": 100}}


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = RunDir(tmp_path_factory.mktemp("kept") / "run")
    run.create()
    torch.manual_seed(0)
    student = build_network(CONFIG, small_model()).state_dict()
    info = CheckpointInfo(1, 9, CONFIG.model_dump(mode="json"), small_model(), score=0.5, best_score=0.5)
    checkpoint.save(run, info, CheckpointState(student, {}, {"rng.cpu": torch.get_rng_state()}), keep=1)
    return run


@pytest.fixture
def run(kept_run: RunDir, tmp_path: Path) -> RunDir:
    """A run with one whole checkpoint, best and last."""
    return RunDir(shutil.copytree(kept_run.path, tmp_path / "run"))


def files(run: RunDir) -> Path:
    return run.checkpoints / "step-00000001"


def rewrite(run: RunDir, change: Callable[[dict[str, Any]], object]) -> None:
    path = files(run) / "checkpoint.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


def tiny(step: int, score: float | None, best: float | None) -> tuple[CheckpointInfo, CheckpointState]:
    tensors = CheckpointState({"x": torch.tensor([float(step)])}, {}, {})
    return CheckpointInfo(step, 9, {}, {}, score=score, best_score=best), tensors


@pytest.mark.parametrize(("keep", "keep_every"), [(3, 0), (2, 3), (1, 2)])
def test_old_steps_keep_only_their_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int, keep_every: int
) -> None:
    """After each save: the newest ``keep`` and the best are whole, and of the others those that ``keep_every`` divides
    have no state.
    """
    run, scores, saved = RunDir(tmp_path), (0.1, 0.3, 0.2, 0.5, 0.4, 0.1, 0.2, 0.3, 0.9, 0.8), list[int]()
    run.create()
    monkeypatch.setattr(os, "fsync", lambda _file: None)
    for step, score in enumerate(scores, start=1):
        info, tensors = tiny(step, score, max(scores[:step]))
        best = 1 + scores.index(max(scores[:step]))
        state = {"x": torch.zeros(1)}
        is_best = checkpoint.save(run, info, replace(tensors, state=state), keep, keep_every)[1]
        assert is_best == (best == step)
        saved.append(step)
        whole = {*saved[-keep:], best}
        looked_at = {one for one in saved if keep_every and one % keep_every == 0}
        states = {
            int(name[-8:]): (run.checkpoints / name / STATE_FILE).exists() for name in checkpoint.checkpoint_names(run)
        }
        assert states == {one: one in whole for one in looked_at | whole}
        assert checkpoint.pointer(run, "best") == resolve(run, "best") == f"step-{best:08}"
        assert resolve(run, "last") == f"step-{step:08}"


def test_copies_that_a_user_makes_are_neither_resumed_from_nor_removed(run: RunDir) -> None:
    shutil.copytree(files(run), copy := run.checkpoints / f"{files(run).name}-mine")
    (copy / "checkpoint.json").write_text("{")
    checkpoint.save(run, *tiny(5, None, None), keep=1, keep_every=2)
    assert checkpoint.checkpoint_names(run) == [files(run).name, "step-00000005"]
    assert copy.is_dir()


@pytest.mark.parametrize(
    ("part", "what"),
    [("checkpoint.json", "pipe"), ("checkpoint.json", "link"), *(("student.safetensors", what) for what in KINDS)],
)
def test_files_outside_the_run_folder_are_refused(run: RunDir, tmp_path: Path, part: str, what: str) -> None:
    path = files(run) / part
    if what == "link":
        path.rename(tmp_path / part)
        path.symlink_to(tmp_path / part)
    else:
        path.unlink()
        put = {"pipe": os.mkfifo, "device": lambda p: p.symlink_to("/dev/urandom"), "folder": Path.mkdir}
        put[what](path)
    said = {"pipe": "a named pipe", "device": "a device", "folder": "a folder", "link": "a link out of"}[what]
    with pytest.raises(CheckpointError, match=said):
        open_model(f"{run.path}@last")


@pytest.mark.parametrize("what", ["pipe", "device", "link", "long"])
def test_a_damaged_pointer_file_is_ignored(run: RunDir, tmp_path: Path, what: str) -> None:
    best = run.checkpoints / "best"
    best.unlink()
    match what:
        case "pipe":
            os.mkfifo(best)
        case "device":
            best.symlink_to("/dev/urandom")
        case "link":
            (tmp_path / "name").write_text("step-00000001")
            best.symlink_to(tmp_path / "name")
        case "long":
            best.write_bytes(b"step-00000001" + b" " * 5000)
    assert checkpoint.pointer(run, "best") == ""
    assert resolve(run, "best") == "step-00000001"


def put_in(*keys: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(raw: dict[str, Any]) -> None:
        for key in keys[:-1]:
            raw = raw[key]
        raw[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put_in("model", value=[]), r"model: Input should be a valid dictionary, not \[\]"),
        (put_in("classes", value=5), "classes: .*, not 5"),
        (put_in("step", value="many"), "step: .*, not many"),
        (put_in("model", value={}), "embed_dim is missing"),
        (put_in("model", "vision_cfg", "layers", value=10**6), "vision_cfg.layers is 1000000, outside 1 to 256"),
        (put_in("model", "vision_cfg", "layers", value=[10**6, 1, 1, 1]), "vision_cfg.layers is"),
        (put_in("model", "text_cfg", "width", value=2**40), "text_cfg.width is 1099511627776"),
        (put_in("model", "text_cfg", "vocab_size", value=4_000_000), "network has .* parameters, but the weights"),
        (put_in("model", "text_cfg", "context_length", value=10**6), "context_length is 1000000, outside 1 to 4096"),
        (put_in("model", "embed_dim", value="wide"), "embed_dim is wide"),
        (put_in("model", "vision_cfg", "layers", value=250), "vision_cfg has 250 layers, but there are"),
        (put_in("model", "vision_cfg", "pool_type", value="none"), "cannot be built"),
        (put_in("model", "text_cfg", "hf_tokenizer_name", value="/tmp/x"), "not the name of a published"),
        (put_in("config", "fusion", value=CONFIG.fusion.model_dump() | {"layers": 24, "width": 8192}), "parameters"),
        (put_in("config", "seed", value="y" * 10_000), "config|seed"),
    ],
    ids=range(15),
)  # fmt: skip
def test_checkpoint_headers_are_checked_before_loading(
    run: RunDir, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    rewrite(run, change)

    def read() -> None:
        with pytest.raises(CheckpointError, match=said) as caught:
            open_network(RunNetwork(run, "step-00000001", "student"), CPU)
        raise caught.value

    survives(read)


def test_a_valid_network_is_built_and_an_oversized_description_refused(run: RunDir) -> None:
    before = torch.get_rng_state()
    network = open_network(RunNetwork(run, "step-00000001", "student"), CPU)
    assert torch.equal(torch.get_rng_state(), before), "a run would miss the random numbers"
    assert {value.device.type for value in network.state_dict().values()} == {"cpu"}
    with (files(run) / "checkpoint.json").open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(CheckpointError, match=r"damaged: .* is larger than 4 MB"):
        checkpoint.read_info(run, "step-00000001")


@pytest.mark.parametrize("state", [torch.zeros(7, dtype=torch.uint8), torch.zeros(5056), None])
def test_random_states_of_the_wrong_kind_are_refused(state: torch.Tensor | None) -> None:
    before = torch.get_rng_state()
    with pytest.raises(CheckpointError, match=r"random number generators .* is damaged.*resume from the previous one"):
        restore_rng({} if state is None else {"rng.cpu": state})
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_of_thousands_of_digits_is_ignored(run: RunDir) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint '9999") as caught:
        resolve(run, "9" * 5000)
    assert len(str(caught.value)) < 1000


def test_refusals_before_writing_are_user_errors(run: RunDir) -> None:
    there = list(run.checkpoints.iterdir())
    run.checkpoints.rename(run.path / "moved")
    run.checkpoints.write_text("a file where the checkpoints were")
    with pytest.raises(CheckpointError, match="could not be written"):
        checkpoint.save(run, *tiny(2, None, None), keep=3)
    assert len(list((run.path / "moved").iterdir())) == len(there)
