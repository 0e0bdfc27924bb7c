"""The caption filter: pairs that are dropped before training, by what the images look like alone."""

from __future__ import annotations

import csv
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from core.data.dataset import PairDataset
from core.data.orders import EpochOrder, SubsetOrder
from core.inference.encoder import encode_dataset
from core.objectives.weighting.caption_filter import clean_row_probabilities, mismatched_rows
from core.objectives.weighting.model_fit import ModelFit
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.loop import Loop
from core.training.team.team import ALONE, Team
from core.training.train import train
from tests.core.ranks import forked
from tests.core.ranks.forked import steps_of
from tests.core.training.test_train_step import opened

COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "grey": (120, 120, 120)}
COUNT = 240


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``wrong.csv``: images of one colour with captions of which every third is dealt out; ``right.csv``: none is. In
    both, the last is no image.
    """
    folder, draw = tmp_path_factory.mktemp("coloured"), np.random.default_rng(0)
    names = [list(COLOURS)[i % len(COLOURS)] for i in range(COUNT)]
    for i, name in enumerate(names):
        noise = draw.integers(-25, 26, (40, 40, 3))
        Image.fromarray((np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    (folder / f"{COUNT - 1}.png").write_text("no image")
    for kind in ("wrong", "right"):
        with (folder / f"{kind}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filepath", "title"])
            for i in range(COUNT):
                said = names[int(draw.integers(COUNT))] if kind == "wrong" and i % 3 == 0 else names[i]
                rows.writerow([f"{i}.png", f"a {said} image"])
    return folder


def begun(data: Path, folder: Path, *settings: str) -> AbstractContextManager[Loop]:
    paths = [f"data.train={data}", "optim.batch_size=12", "runtime.threads=1", "noise.caption_filter=true"]
    return opened(override(preset_config("clip", "tiny"), [*paths, *settings]), folder)


def test_likely_mismatched_pairs_are_in_no_batch(coloured: Path, tmp_path: Path) -> None:
    with begun(coloured / "wrong.csv", tmp_path / "run") as loop:
        data, loader = loop.parts.train, loop.parts.loader
        said = [data.captions_of(i)[0] for i in range(COUNT)]
        wrong = torch.tensor([list(COLOURS)[i % len(COLOURS)] not in caption for i, caption in enumerate(said)])
        assert 40 < int(wrong.sum()) < 80
        chance = clean_row_probabilities(data, None)  # type: ignore[arg-type]
        assert float(chance[COUNT - 1]) == 1.0, "of what cannot be read nothing is known"
        assert float(chance[wrong].mean()) < 0.5 < 0.8 < float(chance[~wrong].mean())
        seen = torch.cat([batch.rows for batch in loader.batches(0, 2 * loader.steps_per_epoch)])
        assert set(seen.tolist()) <= set((chance >= 0.5).nonzero().flatten().tolist())
        assert float(wrong[seen].float().mean()) < 0.5 * float(wrong.float().mean())
        assert loader.steps_per_epoch == COUNT // 12, "a run is as long as without"
        log = (tmp_path / "run" / "events.jsonl").read_text()
        assert f"the caption filter dropped {int((chance < 0.5).sum())} of {COUNT} pairs" in log
        larger = override(loop.config, ["optim.batch_size=230"])
        with pytest.raises(UserError, match=r"leaves \d+ of 240 pairs of .*, less than a batch of 230; set"):
            mismatched_rows(larger, data, None, None)
        unlabelled = loop.config.data.model_copy(update={"unlabelled_ratio": 3})
        with pytest.raises(UserError, match=r"noise\.caption_filter does not support unlabelled rows"):
            mismatched_rows(loop.config.model_copy(update={"data": unlabelled}), data, None, None)
        shards: Any = SimpleNamespace()
        with pytest.raises(UserError, match=r"caption_filter needs all pairs, but shards are read in parts; set noise"):
            mismatched_rows(loop.config, shards, None, None)


def test_clean_captions_are_not_filtered(coloured: Path, tmp_path: Path) -> None:
    with begun(coloured / "right.csv", tmp_path / "run") as loop:
        assert float(clean_row_probabilities(loop.parts.train, None).min()) >= 0.5  # type: ignore[arg-type]
        rows = torch.cat([batch.rows for batch in loop.parts.loader.batches(0, 4)])
    with begun(coloured / "right.csv", tmp_path / "none", "noise.caption_filter=false") as loop:
        assert torch.equal(torch.cat([batch.rows for batch in loop.parts.loader.batches(0, 4)]), rows)


def test_in_fine_tuning_the_pretrained_model_is_asked(coloured: Path, tmp_path: Path) -> None:
    """The same at each start, also when its weights have changed since."""
    base = override(
        preset_config("clip", "tiny"),
        [f"data.train={coloured / 'right.csv'}", "optim.batch_size=24", "optim.epochs=3", "runtime.threads=1"],
    )
    train(base, RunDir(tmp_path / "base"), quiet=True)
    pretrained = f"towers.pretrained={tmp_path / 'base'}@last"
    with begun(coloured / "wrong.csv", tmp_path / "run", pretrained) as loop:
        network, dataset, first = loop.network, loop.parts.train, loop.parts.mismatched
        assert isinstance(dataset, PairDataset)
        features = encode_dataset(network, dataset, loop.parts.runtime, 16, lambda *_: None)
        fit = ModelFit(features.images[features.text_to_image], features.texts, float(network.logit_scale.detach()))
        expected = clean_row_probabilities(dataset, None, fit)
        alone = clean_row_probabilities(dataset, None)
        assert not torch.equal(expected, alone)
        assert first is not None
        assert torch.equal(first, expected < 0.5)
        steps_of(loop, 8)
        loop.checkpointing.save(loop.progress).result()
    with begun(coloured / "wrong.csv", tmp_path / "run", pretrained) as loop:
        assert loop.step == 8
        assert loop.parts.mismatched is not None
        assert torch.equal(loop.parts.mismatched, first)


def test_kept_rows_take_turns() -> None:
    gone = torch.arange(50) % 5 == 0
    order, plain = SubsetOrder(gone, 8, 3), EpochOrder(40, 8, 3)
    assert (order.batch_size, order.steps_per_epoch) == (8, 6)
    kept = (~gone).nonzero().flatten().numpy()
    rows = [order.take(step, 0, 8) for step in range(10)]
    assert [list(one) for one, _ in rows] == [list(kept[plain.take(step, 0, 8)[0]]) for step in range(10)]
    assert sorted(np.concatenate([one for one, _ in rows[:5]])) == sorted(kept)
    assert [times for _, times in rows] == [0] * 5 + [1] * 5
    assert list(order.take(7, 2, 5)[0]) == list(rows[7][0][2:5])


@pytest.mark.ci
def test_every_rank_filters_the_same_pairs(coloured: Path, tmp_path: Path) -> None:
    """Two processes take the two halves of each batch that one alone would have."""
    fields = ["optim.batch_size=12", "runtime.threads=1", "noise.caption_filter=true"]
    config = override(preset_config("clip", "tiny"), [f"data.train={coloured / 'wrong.csv'}", *fields])

    def rows(team: Team) -> list[list[int]]:
        with forked.opened(config, tmp_path / f"of-{team.size}", team) as loop:
            return [batch.rows.tolist() for batch in loop.parts.loader.batches(0, 6)]

    alone, both = rows(ALONE), forked.over_ranks(2, rows)
    assert alone == [first + second for first, second in zip(*both, strict=True)]
