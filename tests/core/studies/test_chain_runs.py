"""Noise ranked by a real run, saved without it; chains that are broken off and go on; captions bootstrapped."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.__main__ import main
from core.checkpoint import files as checkpoint
from core.data.batch import Batch
from core.data.derived.noisy import write_noisy
from core.data.derived.subset import save_subset
from core.data.sources.opening import open_source
from core.evaluation.noise import rank_pairs
from core.spec.chain import ChainDir, preset_chain, read_chain
from core.spec.config import ConfigError, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.studies.chain.bootstrap import caption_and_filter
from core.studies.chain.run import ChainError, run_chain
from core.training.loop import Loop
from core.training.train import train
from tests.core.images import write_pairs

pytestmark = pytest.mark.usefixtures("shared_cache")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pairs")
    for path in write_pairs(folder):
        lines = path.read_text().splitlines()
        path.write_text("\n".join([f"{lines[0]},shape", *(f"{ln},{ln.split()[2]}" for ln in lines[1:])]) + "\n")
    return folder / "train.csv", folder / "val.csv"


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches."""


def settings(data: tuple[Path, Path], *more: str) -> list[str]:
    fields = ["optim.batch_size=12", "runtime.threads=1", "optim.epochs=1"]
    return [f"data.train={data[0]}", f"data.val={data[1]}", *fields, *more]


def test_pairs_are_ranked_and_a_cleaned_manifest_is_saved(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = data[0].with_name("noisy.csv")
    write_noisy(data[0], 0.3, 0, noisy, data[0].with_name("kept.csv"))
    run = RunDir(tmp_path / "run")
    train(override(preset_config("clip", "tiny"), settings((noisy, data[1]))), run, quiet=True)
    several = data[0].with_name("several.jsonl")
    pairs = [{"filepath": row.image.name, "captions": [row.captions[0], f"a {row.captions[0]}"]}
             for row in open_source(data[0]).rows]  # fmt: skip
    several.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    assert len(rank_pairs(str(run.path), str(several), quiet).pairs) == 2 * len(pairs), (
        "each caption of an image is ranked"
    )

    command = ["noise", str(run.path), "--json", "--csv", str(tmp_path / "ranked.csv")]
    (tmp_path / "ranked.csv").write_text("a user's")
    assert main(command) == 1
    assert "ranked.csv already exists; overwrite it with --force" in capsys.readouterr().err
    assert (tmp_path / "ranked.csv").read_text() == "a user's"
    assert main([*command, "--force"]) == 0
    found = json.loads(capsys.readouterr().out)
    ranked = found["list"]
    assert found["shuffled"] == 11
    assert [pair["rank"] for pair in ranked] == list(range(1, 37))
    assert all(a["match_score"] <= b["match_score"] for a, b in pairwise(ranked))
    true = {(row.file, row.captions[0]): row.labels["shuffled"] == "1" for row in open_source(noisy).rows}
    assert {(pair["path"], pair["caption"]): pair["shuffled"] for pair in ranked} == true
    assert found["precision"] == sum(true[pair["path"], pair["caption"]] for pair in ranked[:11]) / 11
    with (tmp_path / "ranked.csv").open(newline="") as file:
        assert [row["filepath"] for row in csv.DictReader(file)] == [pair["path"] for pair in ranked]

    weights = run.path / "checkpoints" / found["model"].partition("@")[2] / "student.safetensors"
    whole = weights.read_bytes()
    tensors = {name: torch.full_like(value, torch.nan) if value.is_floating_point() else value
               for name, value in load_file(weights).items()}  # fmt: skip
    save_file(tensors, weights)
    assert main(["noise", str(run.path)]) == 1
    assert "produces NaN or infinite embeddings: its weights are damaged" in capsys.readouterr().err
    weights.write_bytes(whole)

    excluded = [pair["path"] for pair in ranked[:5]]
    cleaned = noisy.with_name("cleaned.csv")
    assert save_subset(str(noisy), cleaned, quiet, excluded).images == 31
    assert {row.file for row in open_source(cleaned).rows} == {row.file for row in open_source(noisy).rows} - {
        *excluded
    }
    with pytest.raises(UserError, match="not overwritten"):
        save_subset(str(noisy), cleaned, quiet, excluded)


def last_weights(run: RunDir) -> dict[str, torch.Tensor]:
    return checkpoint.load_weights(run, resolve(run, "last"), "student", torch.device("cpu"))


def starts(run: RunDir) -> int:
    return sum(isinstance(event, RunStarted) for event in EventReader(run.events).read_all())


def test_generations_learn_from_the_previous_one_and_resume_midway(
    data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = preset_chain("born-again", "tiny", generations=2).with_settings(settings(data, "data.label=shape"))
    whole = ChainDir(tmp_path / "whole")
    assert run_chain(chain, whole, quiet, quiet=True) == "done"
    second = json.loads(whole.stage(chain, 1).config.read_text())
    assert second["teacher"]["checkpoint"] == str(whole.stage(chain, 0).path)

    broken = ChainDir(tmp_path / "broken")
    stage = broken.stage(chain, 1)
    train_step = Loop.train_step

    def stopped_after_one(loop: Loop, batch: Batch) -> dict[str, torch.Tensor]:
        values = train_step(loop, batch)
        if loop.run_dir.path == stage.path and loop.step == 1:
            stage.ask("stop")  # while its second stage trains
        return values

    monkeypatch.setattr(Loop, "train_step", stopped_after_one)
    assert run_chain(chain, broken, quiet, quiet=True) == "stopped"
    assert run_chain(chain, broken, quiet, quiet=True) == "done"
    assert (starts(broken.stage(chain, 0)), starts(stage)) == (1, 2)
    expected = last_weights(whole.stage(chain, 1))
    assert all(torch.equal(value, expected[name]) for name, value in last_weights(stage).items())
    with pytest.raises(ChainError, match="a different chain"):
        run_chain(chain.with_settings(["optim.learning_rate=0.1"]), broken, quiet)


@pytest.mark.ci
def test_captions_are_generated_and_filtered_for_the_next_stage(data: tuple[Path, Path], tmp_path: Path) -> None:
    chain = preset_chain("blip", "tiny").with_settings(settings(data))
    run = RunDir(tmp_path / "first")
    train(chain.stages[0].config, run, quiet=True)
    manifest = tmp_path / "data" / "again.csv"
    counts = caption_and_filter(run, str(data[0]), manifest, quiet)
    given, left = open_source(data[0]), open_source(manifest)
    assert not left.bad
    assert counts["images"] == len(left.rows) == len(given.rows) == 36
    captions = {row.image.resolve(): set(row.captions) for row in given.rows}
    with manifest.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert counts["given"] + counts["made"] == len(lines)
    for line in lines:
        own = line["title"] in captions[(manifest.parent / line["filepath"]).resolve()]
        assert own or line["made"] == "1"


def test_chains_of_presets_and_their_errors(tmp_path: Path) -> None:
    vlmo = preset_chain("vlmo", "tiny")
    assert [stage.takes for stage in vlmo.stages] == [
        {},
        {"towers.pretrained": "image"},
        {"towers.pretrained": "text"},
    ]
    assert vlmo.stages[0].config.objectives.masked_patches.weight > 0
    again = preset_chain("blip", "tiny").stages[1]
    assert (again.before, again.takes) == ("caption-filter", {}), "trained anew on the captions that are left"
    with pytest.raises(ConfigError, match="not trained in stages"):
        preset_chain("clip")
    path = tmp_path / "chain.json"
    path.write_text(vlmo.to_json())
    assert read_chain(path) == vlmo
    raw = json.loads(vlmo.to_json())
    raw["stages"][0]["takes"] = {"towers.pretrained": "pairs"}
    path.write_text(json.dumps(raw))
    with pytest.raises(ConfigError, match="not an earlier stage"):
        read_chain(path)
