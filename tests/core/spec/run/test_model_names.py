"""Model names of runs, checkpoints, files and saved models, resolved from folders alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.spec.errors import UserError
from core.spec.resources import resource_folder
from core.spec.run.folder import RunDir
from core.spec.run.model_names import (
    CheckpointError,
    OpenClipModel,
    RunNetwork,
    checkpoint_names,
    default_network,
    default_prompts,
    exact_name,
    is_saved_model,
    locate,
    locate_run,
    networks_in,
    resolve,
)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Checkpoints 5 (student only), 20 (best, by its student) and 100; the last one is incomplete."""
    run = RunDir(tmp_path / "run")
    run.create()
    for step, networks, winner in ((5, 1, ""), (20, 2, "student"), (100, 2, "teacher")):
        folder = run.checkpoints / f"step-{step:08d}"
        folder.mkdir()
        for name in ("student", "teacher")[:networks]:
            (folder / f"{name}.safetensors").touch()
        (folder / "checkpoint.json").write_text(json.dumps({"network": winner}))
    (run.checkpoints / "step-00000200").mkdir()
    (run.checkpoints / "best").write_text("step-00000020\n")
    (run.checkpoints / "last").write_text("step-00000100")
    return run


def test_checkpoints_are_named_by_step_file_and_role(run: RunDir) -> None:
    assert checkpoint_names(run) == ["step-00000005", "step-00000020", "step-00000100"]
    wanted = {"best": 20, "last": 100, "5": 5, "20": 20, "0100": 100, "step-00000005": 5}
    assert {which: resolve(run, which) for which in wanted} == {
        which: f"step-{step:08d}" for which, step in wanted.items()
    }
    (run.checkpoints / "best").write_text("step-00000200")
    assert resolve(run, "best") == "step-00000100", "the best is incomplete, so the newest"
    (run.checkpoints / "last").unlink()
    assert resolve(run, "last") == "step-00000100"
    there = "best, last, step-00000005, step-00000020, step-00000100"
    for which in ("200", "7", "other", "-5", "9" * 20):
        with pytest.raises(CheckpointError, match=f"has no checkpoint .*; available: {there}\\."):
            resolve(run, which)
    assert [networks_in(run, name) for name in checkpoint_names(run)] == [
        ["student"],
        ["student", "teacher"],
        ["student", "teacher"],
    ]


def test_ten_of_many_checkpoints_are_named(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(CheckpointError, match="has no checkpoint yet; train it for longer"):
        resolve(run, "best")
    for step in range(11):
        if step == 10:
            with pytest.raises(CheckpointError, match=r"step-00000009\.$"):
                resolve(run, "77")
        folder = run.checkpoints / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").touch()
    with pytest.raises(CheckpointError, match=r"step-00000009, …\.$"):
        resolve(run, "77")


def test_the_default_network_is_that_of_the_best_or_the_teacher(run: RunDir) -> None:
    found = {which: default_network(run, which) for which in ("best", "20", "last", "5")}
    assert found == {"best": "student", "20": "teacher", "last": "teacher", "5": "student"}
    (run.checkpoints / "best").write_text("step-00000005")
    record = run.checkpoints / "step-00000005" / "checkpoint.json"
    for text in ('{"network": "teacher"}', "{", "[]", '{"network": 7}'):
        record.write_text(text)
        assert default_network(run, "best") == "student", "there is no other"


def test_every_spelling_of_a_network_of_a_run(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(run.path)
    wanted = {
        folder: (20, "student"),
        f"{folder}@best": (20, "student"),
        f"{folder}@last": (100, "teacher"),
        f"{folder}@5": (5, "student"),
        f"{folder}/checkpoints/step-00000020": (20, "teacher"),
        f"{folder}/checkpoints/step-00000100/student.safetensors": (100, "student"),
    }
    for name, (step, network) in wanted.items():
        found = RunNetwork(run, f"step-{step:08d}", network)
        for located in (locate(name), locate_run(name, "auto")):
            assert isinstance(located, RunNetwork)
            assert (located.path, located.name) == (found.path, f"{folder}@step-{step:08d}")
            assert located.path.is_file()
    student = locate(folder, "student")
    assert isinstance(student, RunNetwork)
    assert (student.checkpoint, student.network) == ("step-00000020", "student")
    assert exact_name(folder) == (f"{folder}@step-00000020", "student")
    assert exact_name(f"{folder}@20") == (f"{folder}@step-00000020", "teacher")
    monkeypatch.chdir(run.path.parent)
    assert exact_name("./run@last", "student") == (f"{folder}@step-00000100", "student")
    with pytest.raises(UserError, match="was trained without a teacher; choose the student's weights"):
        locate(f"{folder}@5", "teacher")
    with pytest.raises(CheckpointError, match="has no checkpoint 'other'"):
        locate(f"{folder}@other")


def test_other_files_are_not_networks(run: RunDir, tmp_path: Path) -> None:
    checkpoint = run.checkpoints / "step-00000100"
    (checkpoint / "state.safetensors").touch()
    (checkpoint / "student.pt").touch()
    (tmp_path / "student.safetensors").touch()
    outside = tmp_path / "step-00000001"
    outside.mkdir()
    (outside / "checkpoint.json").touch()
    (outside / "student.safetensors").touch()
    (run.checkpoints / "step-00000005" / "checkpoint.json").unlink()
    for path in (
        checkpoint / "state.safetensors",
        checkpoint / "student.pt",
        tmp_path / "student.safetensors",
        outside / "student.safetensors",
        run.checkpoints / "step-00000005" / "student.safetensors",
        run.checkpoints / "step-00000020" / "none" / "student.safetensors",
    ):
        assert locate_run(str(path)) is None, path
    assert locate_run(str(tmp_path)) is None
    empty = RunDir(tmp_path / "empty")
    empty.create()
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        locate(str(empty.path))
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        locate(str(tmp_path)), "a folder without any"
    with pytest.raises(UserError, match="there is no model 'none'; specify a run folder"):
        locate("none")
    assert exact_name("none", "student") == ("none", "student")


def test_open_clip_and_saved_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"open_clip:ViT-B-32": ("ViT-B-32", ""), "open_clip: ViT-B-32 , openai ": ("ViT-B-32", "openai")}
    for name, (architecture, pretrained) in names.items():
        assert locate(name) == locate(name, "auto") == OpenClipModel(architecture, pretrained)
        assert exact_name(f"{name} ") == (name.strip(), "")
    with pytest.raises(UserError, match="has only one network; leave out --weights teacher"):
        locate("open_clip:ViT-B-32", "teacher")
    folder = tmp_path / "saved"
    folder.mkdir()
    assert not is_saved_model(folder)
    for config, saved in (
        ({"model_type": "clip", "vision_config": {}}, True),
        ({"model_type": "clip"}, False),
        ({"model_type": "bert", "vision_config": {}}, False),
        (["model_type"], False),
    ):
        (folder / "config.json").write_text(json.dumps(config))
        assert is_saved_model(folder) is saved
    (folder / "open_clip_config.json").write_text("{}")
    assert locate(str(folder)) == OpenClipModel(str(folder), str(folder))
    monkeypatch.chdir(tmp_path)
    assert exact_name("saved") == (str(folder), "")


@pytest.mark.parametrize(
    ("architecture", "pretrained", "prompts"),
    [
        ("ViT-B-32", "openai", "photo"),
        ("ViT-B-32", "", "name"),
        ("sd-demo", "", "name"),
        ("sd-coca-demo", "/models/emoji-coca", "name"),
    ],
)
def test_prompts_suit_the_captions_that_a_run_was_trained_on(
    run: RunDir, architecture: str, pretrained: str, prompts: str
) -> None:
    run.config.write_text(json.dumps({"towers": {"architecture": architecture, "pretrained": pretrained}}))
    assert default_prompts(str(run.path)) == default_prompts(f"{run.path}@last") == prompts


def test_prompts_of_other_models(tmp_path: Path) -> None:
    assert default_prompts("open_clip:ViT-B-32,openai") == default_prompts("") == "photo"
    assert default_prompts(str(resource_folder("models") / "emoji-coca")) == "name"
    (tmp_path / "config.json").write_text('{"model_type": "clip", "vision_config": {}}')
    assert default_prompts(str(tmp_path)) == "photo"


def test_a_name_that_no_user_can_have_is_refused() -> None:
    for name in ("~a\0b", "~\ud800", "~a\0b@best"):
        with pytest.raises(UserError, match="there is no model"):
            locate(name)
