"""Captions filtered between the stages of a chain: which are kept."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.spec.chain import Chain, ChainDir, preset_chain
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.run.events import Lifecycle, RunFailed, RunFinished
from core.spec.run.folder import RunDir
from core.studies.chain import bootstrap
from core.studies.chain import run as chain_run
from core.studies.chain.bootstrap import caption_and_filter
from core.studies.chain.preparing import write_logs_to
from core.studies.chain.run import run_chain
from core.training import progress
from tests.core.images import draw
from tests.core.labelled import read, write


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in "abcd":
        draw("red", "bar", 12).save(tmp_path / f"{name}.png")
    rows = [["a.png", "a one", "x"], ["a.png", "a two", "x"], ["b.png", "b one", "y"], ["c.png", "c one", ""],
            ["d.png", "=d", "z"]]  # fmt: skip
    return write(tmp_path / "pairs.csv", [["filepath", "title", "kind"], *rows])


SCORES = {"a one": 0.9, "a two": -0.2, "b one": -0.5, "c one": -0.9, "=d": 0.3, "a made": 0.5, "b made": -0.7,
          "d made": -0.1}  # fmt: skip


def filtered(
    source: Path, to: Path, monkeypatch: pytest.MonkeyPatch, heads: dict[str, nn.Module]
) -> tuple[dict[str, int], list[list[str]]]:
    """What is left with a model of these heads, which captions c with a blank."""
    network = SimpleNamespace(image_size=32, towers=SimpleNamespace(tokenize=_ones, pad_id=0), heads=heads)
    config = override(RunConfig(), [f"data.train={source}"])
    model = SimpleNamespace(network=network, data=config.data, batch=3, runtime=None)
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(to.parent / "cache"))
    monkeypatch.setattr(bootstrap, "open_model", lambda name: model)
    monkeypatch.setattr(bootstrap, "generated_captions", lambda *_: {0: "a made", 1: "b made", 2: " ", 3: "d made"})
    monkeypatch.setattr(bootstrap, "_scores", lambda m, d, pairs, p: torch.tensor([SCORES[c] for _, c in pairs]))
    counts = caption_and_filter(RunDir(to.parent / "run"), str(source), to, quiet)
    return counts, read(to)


def _ones(texts: list[str]) -> Tensor:
    return torch.ones(len(texts), 4, dtype=torch.int64)


def test_a_matching_head_keeps_captions_with_a_probability_of_at_least_half(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, rows = filtered(source, tmp_path / "out.csv", monkeypatch, {"matching": nn.Identity()})
    assert rows == [
        ["a.png", "a one", "x", "0"], ["a.png", "a made", "x", "1"], ["b.png", "b one", "y", "0"],
        ["c.png", "c one", "", "0"], ["d.png", "'=d", "z", "0"],
    ]  # fmt: skip
    assert counts == {"images": 4, "given": 4, "made": 1}
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "filepath,title,kind,made"


def test_without_a_head_the_median_of_the_given_captions_is_the_threshold(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 0.9, -0.2, -0.5, -0.9 and 0.3 it is -0.2, which itself passes."""
    counts, rows = filtered(source, tmp_path / "out.csv", monkeypatch, {})
    assert [row[1] for row in rows] == ["a one", "a two", "a made", "b one", "c one", "'=d", "d made"]
    assert counts == {"images": 4, "given": 5, "made": 2}


def test_captions_are_scored_by_cosine_in_batches_without_a_head() -> None:
    source_images = {row: torch.full((3, 2, 2), row, dtype=torch.uint8) for row in (1, 2)}
    network: Any = SimpleNamespace(
        image_size=2, head=lambda name: None, fusion=None, encode_images=lambda images: images[:, 0, 0].float(),
        encode_texts=lambda tokens: tokens, towers=SimpleNamespace(tokenize=lambda texts: _lengths(texts)),
    )  # fmt: skip
    runtime = SimpleNamespace(device="cpu", autocast=torch.no_grad)
    model: Any = SimpleNamespace(network=network, runtime=runtime, batch=2)
    data: Any = SimpleNamespace(image=source_images.__getitem__)
    told: list[tuple[str, int, int]] = []
    pairs = [(1, "ab"), (2, "abc"), (2, "a")]
    scores = bootstrap._scores(model, data, pairs, lambda *what: told.append(what))
    assert scores.tolist() == [1 * 2 + 1 * 1, 2 * 3 + 2 * 1, 2 * 1 + 2 * 1]
    assert told == [("filtering captions", start, 3) for start in (0, 2)]
    with pytest.raises(UserError, match="there are no captions to filter"):
        bootstrap._scores(model, data, [], quiet)


def _lengths(texts: list[str]) -> Tensor:
    return torch.tensor([[len(text), 1.0] for text in texts])


def chain_of(source: Path, *settings: str) -> Chain:
    return preset_chain("blip", "tiny").with_settings([f"data.train={source}", "optim.batch_size=2", *settings])


def test_data_between_stages_are_created_once_by_the_earlier_stage(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, folder = chain_of(source), ChainDir(tmp_path / "chain")
    outcomes = iter(["done", "stopped", "done", "paused", "done", "done"])
    trained: list[tuple[str, str]] = []
    made: list[Path] = []

    def train(config: RunConfig, run: RunDir, quiet: bool) -> str:
        trained.append((run.path.name, config.data.train))
        return next(outcomes)

    def caption(former: RunDir, data: str, manifest: Path, progress: Any) -> dict[str, int]:
        made.append(former.path)
        manifest.parent.mkdir(exist_ok=True)
        manifest.write_text("")
        return {}

    monkeypatch.setattr(chain_run, "train", train)
    monkeypatch.setattr(chain_run, "caption_and_filter", caption)
    later = [place for place, stage in enumerate(chain.stages) if stage.before]
    assert later
    assert [run_chain(chain, folder, quiet) for _ in range(3)] == ["stopped", "paused", "done"]
    assert made == [folder.stage(chain, later[0] - 1).path]
    names = [folder.stage(chain, place).path.name for place in range(2)]
    assert [name for name, _ in trained] == names * 3
    assert {data for name, data in trained if name == names[1]} == {
        str(folder.data / f"{chain.stages[later[0]].name}.csv")
    }


def test_captioning_can_be_watched_and_stopped_like_training(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, folder = chain_of(source), ChainDir(tmp_path / "chain")
    run = folder.stage(chain, 1)
    doings: list[str] = []
    what: list[str] = ["pause", "fail", ""]

    def caption(former: RunDir, data: str, manifest: Path, told: Any) -> dict[str, int]:
        asked = what.pop(0)
        if asked == "fail":
            raise ValueError("no captions")
        if asked:
            run.ask("pause")
        told("captioning", 2, 5)
        manifest.parent.mkdir(exist_ok=True)
        manifest.write_text("")
        return {}

    def show(doing: str, done: int, total: int) -> None:
        time.sleep(0.2)
        status = run.read_status()
        doings.append(status.doing if status else "")

    monkeypatch.setattr(progress, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(chain_run, "train", lambda *_: "done")
    monkeypatch.setattr(chain_run, "caption_and_filter", caption)
    assert run_chain(chain, folder, show) == "paused"
    assert doings == ["captioning 2/5"]
    assert isinstance(Lifecycle(run.events).read(), RunFinished)
    assert json.loads(run.config.read_text())["data"]["train"] == str(folder.manifest(chain.stages[1]))
    with pytest.raises(ValueError, match="no captions"):
        run_chain(chain, folder, quiet)
    assert isinstance(Lifecycle(run.events).read(), RunFailed)
    assert run_chain(chain, folder, quiet) == "done"
    assert what == []


def test_each_stage_logs_the_output_between_stages(tmp_path: Path) -> None:
    runs = [RunDir(tmp_path / name) for name in "ab"]
    kept = [os.dup(1), os.dup(2)]
    try:
        for run in runs:
            run.create()
            write_logs_to(run)
            os.write(1, run.path.name.encode())
            os.write(2, run.path.name.upper().encode())
    finally:
        for number, own in enumerate(kept, 1):
            os.dup2(own, number)
            os.close(own)
    assert [(run.stdout.read_text(), run.stderr.read_text()) for run in runs] == [("a", "A"), ("b", "B")]


def test_generations_have_their_own_seeds_and_learn_from_the_previous_one() -> None:
    chain = preset_chain("born-again", "tiny", 3)
    assert [stage.config.seed for stage in chain.stages] == [0, 1, 2]
    assert [stage.takes for stage in chain.stages] == [
        {}, {"teacher.checkpoint": "generation-1"}, {"teacher.checkpoint": "generation-2"},
    ]  # fmt: skip
    changed = chain.with_settings(["optim.epochs=2"])
    assert [stage.config.teacher.checkpoint for stage in changed.stages] == ["", "", ""]
    assert {stage.config.optim.epochs for stage in changed.stages} == {2.0}
    assert [stage.takes for stage in preset_chain("blip", "tiny").stages] == [{}, {}]


def test_the_output_of_a_stage_goes_to_its_folder_from_the_start(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, folder = chain_of(source), ChainDir(tmp_path / "chain")
    logs: list[str] = []

    def write_to(run: RunDir) -> None:
        assert run.checkpoints.is_dir(), "its folder is there"
        logs.append(run.path.name)

    monkeypatch.setattr(chain_run, "write_logs_to", write_to)
    monkeypatch.setattr(chain_run, "train", lambda config, run, quiet: "done")
    monkeypatch.setattr(chain_run, "prepare_stage", lambda config, run, progress, work: "done")
    assert run_chain(chain, folder, quiet, stage_logs=True) == "done"
    assert logs == [folder.stage(chain, place).path.name for place in range(len(chain.stages))]
    logs.clear()
    run_chain(chain, folder, quiet)
    assert logs == []
