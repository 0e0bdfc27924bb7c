"""The best checkpoint: the first of the greatest score, and the network that reached it is the one that is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from core.checkpoint import files as checkpoint
from core.checkpoint.opening import model_key, open_model, open_teachers
from core.data.dataset import PairDataset
from core.inference.encoder import Features
from core.spec.config import override
from core.spec.run.events import CheckpointSaved, EventReader
from core.spec.run.folder import RunDir
from core.spec.run.model_names import RunNetwork, default_network, exact_name, locate, locate_run, resolve
from core.training.errors import Interrupt
from core.training.loop import Loop
from core.training.train import train
from core.training.validator import Validator
from tests.core.images import write_pairs
from tests.core.variants import variant_config

# Mean recall of student and teacher at each validation.
SCORES = {3: (0.5, 0.6), 6: (0.76, 0.36), 9: (0.7, 0.76), 12: (0.5, 0.4)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run whose best checkpoint is step 6, for its student; step 9 comes up to it, and step 12 has another winner."""
    folder = tmp_path_factory.mktemp("best")
    data, val = write_pairs(folder)

    def evaluated(
        validator: Validator, dataset: PairDataset, split: str, step: int
    ) -> tuple[dict[str, float], dict[str, Features]]:
        student, teacher = SCORES[step]
        return {f"{split}/student/mean_recall": student, f"{split}/teacher/mean_recall": teacher}, {}

    settings = [f"data.train={data}", f"data.val={val}", "optim.epochs=4", "optim.batch_size=12", "checkpoint.keep=9"]
    run = RunDir(folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        patch.setattr(Validator, "evaluate", evaluated)
        train(override(variant_config("sd-clip-every-step"), [*settings, "runtime.threads=1"]), run, quiet=True)
    return run


def test_the_record_and_the_event_name_the_winner_and_a_tie_keeps_it(run: RunDir) -> None:
    saved = [event for event in EventReader(run.events).read_all() if isinstance(event, CheckpointSaved)]
    assert [(one.step, one.best, one.network) for one in saved] == [
        (3, True, "teacher"), (6, True, "student"), (9, False, "teacher"), (12, False, "student"),
    ]  # fmt: skip
    assert resolve(run, "best") == "step-00000006"
    info = checkpoint.read_info(run, "step-00000006")
    assert (info.score, info.network) == (0.76, "student")


def test_a_new_best_between_two_saves_is_saved_at_once(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = checkpoint.run_config(checkpoint.read_info(run, "step-00000006"), "here")
    config = override(config, ["optim.epochs=2", "validation.every_steps=2", "checkpoint.every_steps=5"])
    scores = {2: 0.3, 4: 0.5, 6: 0.4}
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(Validator, "evaluate", lambda *at: ({"val/student/mean_recall": scores[at[-1]]}, {}))
    other = RunDir(tmp_path / "run")
    assert train(config, other, quiet=True) == "done"
    assert resolve(other, "best") == "step-00000004"
    saved = [event.step for event in EventReader(other.events).read_all() if isinstance(event, CheckpointSaved)]
    assert saved == [2, 4, 5, 6]


def weights(run: RunDir, name: str, network: str) -> torch.Tensor:
    found = checkpoint.load_weights(run, name, network, torch.device("cpu"))
    return found["towers.clip.text_projection"]


def test_opening_the_best_gives_the_winner(run: RunDir) -> None:
    best, folder = "step-00000006", str(run.path)
    student = weights(run, best, "student")
    assert not torch.equal(student, weights(run, best, "teacher"))
    for name in (folder, f"{folder}@best"):
        opened = open_model(name)
        assert opened.subject.weights == "student"
        assert torch.equal(opened.network.towers.clip.text_projection, student)
        assert exact_name(name) == (f"{folder}@{best}", "student")
        for found in (locate_run(name), locate(name, "auto")):
            assert isinstance(found, RunNetwork)
            assert found.path == run.checkpoints / best / "student.safetensors"
        assert torch.equal(open_teachers(name, "auto", torch.device("cpu"))[0].towers.clip.text_projection, student)
    assert model_key(folder) == model_key(folder, "student") != model_key(folder, "teacher")


def test_other_checkpoints_and_named_networks_are_unaffected(run: RunDir) -> None:
    folder = str(run.path)
    assert open_model(f"{folder}@last").subject.weights == "teacher"
    assert open_model(f"{folder}@6").subject.weights == "teacher"
    assert open_model(folder, "teacher").subject.weights == "teacher"
    assert exact_name(folder, "teacher") == (f"{folder}@step-00000006", "teacher")
    found = locate_run(folder, "teacher")
    assert found is not None
    assert found.path == run.checkpoints / "step-00000006" / "teacher.safetensors"


@pytest.mark.parametrize("record", ["without", "damaged", "of nobody"])
def test_a_record_without_a_winner_means_the_teacher(run: RunDir, record: str) -> None:
    path = run.checkpoints / "step-00000006" / "checkpoint.json"
    whole = path.read_text()
    raw = json.loads(whole)
    raw.pop("network")
    path.write_text(
        {"without": json.dumps(raw), "damaged": "{", "of nobody": json.dumps(raw | {"network": [5]})}[record]
    )
    try:
        assert default_network(run, "best") == "teacher"
        if record == "without":
            assert open_model(str(run.path)).subject.weights == "teacher"
    finally:
        path.write_text(whole)


def test_a_run_paused_after_a_resume_keeps_its_best(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saving the same step again says again whose its score is, and a tie of then stays one."""
    info = checkpoint.read_info(run, "step-00000009")
    assert (info.score, info.best_score, info.network) == (0.76, 0.76, "teacher")
    config = checkpoint.run_config(info, "here")
    copy = RunDir(tmp_path / "run")
    copy.create()
    for name in ("step-00000006", "step-00000009"):
        folder = copy.checkpoints / name
        folder.mkdir()
        for file in (run.checkpoints / name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
    (copy.checkpoints / "best").write_text("step-00000006")
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))

    def pause(loop: Loop) -> None:
        raise Interrupt("paused")

    monkeypatch.setattr(Loop, "check_control", pause)
    monkeypatch.setattr(Loop, "_report_progress", lambda *_: None)
    assert train(config, copy, quiet=True) == "paused"
    assert resolve(copy, "best") == "step-00000006"
    again = checkpoint.read_info(copy, "step-00000009")
    assert (again.score, again.best_score, again.network) == (0.76, 0.76, "teacher")
