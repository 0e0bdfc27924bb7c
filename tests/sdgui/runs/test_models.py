"""Names of models, read without torch, against what open_clip itself says."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import open_clip
import pytest

from core.model.towers.architectures import list_architectures
from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.runs import models as model_names
from sdgui.runs.models import (
    architectures,
    folder_can_caption,
    is_saved_model,
    pretrained_weights,
    run_facts,
)


def test_names_and_tags_are_those_of_open_clip() -> None:
    coca = [name for name in open_clip.list_models() if "multimodal_cfg" in open_clip.get_model_config(name)]
    assert set(architectures()) == set(list_architectures())
    weights = {(name, tag) for name, tags in pretrained_weights().items() for tag in tags}
    assert weights == set(open_clip.list_pretrained())
    ours = {name for name in architectures() if name.startswith("sd-coca")}
    assert {name for name, captions in architectures().items() if captions} == {*coca, *ours}


def test_weight_sources_match_open_clip() -> None:
    found = pretrained_weights()
    for name, tag in open_clip.list_pretrained():
        assert found[name][tag] == open_clip.get_pretrained_cfg(name, tag)["hf_hub"], (name, tag)


def test_the_list_of_tags_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, calls = ast.parse, []

    def slow(text: str) -> ast.Module:
        calls.append(text)
        time.sleep(0.05)  # long enough for the others to arrive
        return parse(text)

    monkeypatch.setattr("sdgui.runs.models.ast.parse", slow)
    model_names._read_tags.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: pretrained_weights(), range(4)))
    assert len(calls) == 1
    assert found == [found[0]] * 4


@pytest.mark.parametrize("text", ["_VITB32 = dict(", "\0", None])
def test_an_unreadable_open_clip_has_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "pretrained.py").write_text(text)
    monkeypatch.setattr(model_names, "_package", lambda: tmp_path)
    assert model_names._read_tags.__wrapped__() == {}
    monkeypatch.setattr(model_names, "_package", lambda: None)
    assert model_names._read_tags.__wrapped__() == {}


def test_reading_names_loads_no_torch() -> None:
    code = (
        "import sys; from sdgui.runs.models import architectures, pretrained_weights\n"
        "assert architectures() and pretrained_weights()\n"
        "assert 'torch' not in sys.modules and 'open_clip' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    run.config.write_text(json.dumps({"towers": {"architecture": "coca_ViT-B-32"}}))
    return run


def save(run: RunDir, step: int, model: object, networks: tuple[str, ...] = ("student",)) -> None:
    folder = run.checkpoints / f"step-{step:08d}"
    folder.mkdir()
    for name in networks:
        (folder / f"{name}.safetensors").write_bytes(b"")
    (folder / "checkpoint.json").write_text(json.dumps({"model": model}))


def test_a_run_without_a_checkpoint_is_described_by_its_config(run: RunDir) -> None:
    facts = run_facts(run)
    assert (facts.steps, facts.networks, facts.can_caption) == ((), (), True)
    run.config.write_text(json.dumps({"towers": {"architecture": "ViT-B-32"}}))
    assert not run_facts(run).can_caption
    run.config.write_text("[]")
    assert not run_facts(run).can_caption


def test_a_blip_run_captions_by_its_fusion(run: RunDir) -> None:
    run.config.write_text(preset_config("blip", "tiny").to_json())
    assert run_facts(run).can_caption, "before its first checkpoint"
    save(run, 100, {})
    assert run_facts(run).can_caption
    run.config.write_text(override(preset_config("blip", "tiny"), ["objectives.captioning.weight=0"]).to_json())
    assert not run_facts(run).can_caption


def test_checkpoints_with_the_targets_of_best_and_last(run: RunDir) -> None:
    save(run, 100, {"multimodal_cfg": {}}, ("student", "teacher"))
    save(run, 2400, {}, ("student", "teacher"))
    (run.checkpoints / ".step-00002500.9.tmp").mkdir()
    facts = run_facts(run)
    assert facts.steps == (2400, 100)
    assert (facts.best, facts.last, facts.networks, facts.can_caption) == (2400, 2400, ("teacher", "student"), False)
    (run.checkpoints / "best").write_text("step-00000100")
    (run.checkpoints / "last").write_text("step-00009999")  # forgotten since
    facts = run_facts(run)
    assert (facts.best, facts.last) == (100, 2400)


@pytest.mark.parametrize(("config", "captions"), [({"model_cfg": {"multimodal_cfg": {}}}, True), ({}, False)])
def test_a_folder_saved_by_open_clip(tmp_path: Path, config: object, captions: bool) -> None:
    assert not is_saved_model(tmp_path)
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert is_saved_model(tmp_path)
    assert folder_can_caption(tmp_path) is captions


@pytest.mark.parametrize("sort", ["pipe", "device", "folder", "number", "deep"])
def test_files_of_a_foreign_run_are_read_or_skipped(run: RunDir, tmp_path: Path, sort: str) -> None:
    """None of them is waited for, and none is taken for what it is not."""

    def put(path: Path) -> None:
        path.unlink(missing_ok=True)
        if sort == "pipe":
            os.mkfifo(path)
        elif sort == "device":
            path.symlink_to("/dev/zero")
        elif sort == "folder":
            path.mkdir()
        else:
            path.write_text("[" * 100_000 if sort == "deep" else '{"model": 5, "model_cfg": 5, "towers": 5}')

    save(run, 100, {"multimodal_cfg": {}}, ("student",))
    for path in (run.checkpoints / "best", run.checkpoints / "step-00000100" / "checkpoint.json"):
        put(path)
    facts = run_facts(run)
    assert (facts.steps, facts.best, facts.can_caption) == ((100,), 100, False)
    shutil.rmtree(run.checkpoints)
    put(tmp_path / "architecture.json")
    run.config.write_text(json.dumps({"towers": {"architecture": str(tmp_path / "architecture.json")}}))
    assert not run_facts(run).can_caption
    put(tmp_path / "open_clip_config.json")
    assert not folder_can_caption(tmp_path)
