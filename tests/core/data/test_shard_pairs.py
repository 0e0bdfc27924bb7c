"""Training pairs in shards: streams, the same batches at any number of processes, resuming, broken rows."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.data.batch import Batch
from core.data.dataset import open_dataset
from core.data.errors import DataError, ImageError
from core.data.labelling import label_rows
from core.data.loader import Loader, RankPosition
from core.data.orders import MIXED_SHARDS, StreamOrder
from core.data.shard_pairs import ShardPairs, open_shards
from core.spec.config import DataConfig, RunConfig
from core.spec.errors import UserError
from tests.core.data.samples import CONTEXT, tokenize
from tests.core.data.sources.shards.tars import image, row, write_shard, write_shards
from tests.core.data.test_loader import SIZE, same


def config(batch_size: int = 8, streams: int = 4, workers: int = 0, **data: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "seed": 5,
            "data": {"workers": workers, "max_bad_share": 0.3, "streams": streams, **data},
            "teacher": {"kind": "ema"},
            "views": {"student": {"count": 2, "randaugment_ops": 1}},
            "optim": {"batch_size": batch_size, "epochs": 2.0},
        }
    )


def opened(pattern: str, **settings: Any) -> ShardPairs:
    return open_shards(pattern, DataConfig(**settings), SIZE, tokenize)


def numbers(batch: Batch) -> list[int]:
    return batch.rows.tolist()


def joined(parts: list[Batch]) -> list[torch.Tensor]:
    """Rows, texts and images of shares put together."""
    texts = [torch.nn.functional.pad(part.texts, (0, CONTEXT - part.texts.shape[1])) for part in parts]
    return [
        torch.cat([part.rows for part in parts]),
        torch.cat(texts),
        torch.cat([part.clean.images for part in parts]),
        torch.cat([part.student[1].images for part in parts]),
        torch.cat([part.teacher[0].images for part in parts]),
    ]


def test_rows_match_the_shards(tmp_path: Path) -> None:
    pairs = opened(write_shards(tmp_path, [5, 4]))
    assert len(pairs) == 9
    assert pairs.captions_of(6) == ("image 6 caption",)
    assert pairs.image(6).shape == (3, 20, 24)
    assert pairs.path(6).name == "000006.png"
    assert pickle.loads(pickle.dumps(pairs)).captions_of(8) == ("image 8 caption",)
    whole = open_dataset(f"{tmp_path}/*.tar", DataConfig(), SIZE, tokenize)
    assert all(torch.equal(whole.image(i), pairs.image(i)) for i in range(9))
    assert [str(whole.path(i)) for i in range(9)] == [str(pairs.path(i)) for i in range(9)]


def test_each_stream_gives_the_same_part_of_every_batch(tmp_path: Path) -> None:
    loader = Loader(opened(write_shards(tmp_path, [7, 9, 8, 8])), config(), SIZE)  # 32 rows, 4 streams of 8
    assert (loader.streams, loader.steps_per_epoch, loader.total_steps) == (4, 4, 8)
    epochs = [[numbers(batch) for batch in loader.batches(4 * e, 4 * e + 4)] for e in (0, 1)]
    for batches in epochs:
        assert all([one // 8 for one in batch] == [0, 0, 1, 1, 2, 2, 3, 3] for batch in batches)
        assert sorted(one for batch in batches for one in batch) == list(range(32))  # each row once an epoch
    assert epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])


def test_the_shares_of_ranks_equal_the_batch_of_one(tmp_path: Path) -> None:
    world = 4
    pattern = write_shards(tmp_path, [10, 6, 17])
    whole = list(Loader(opened(pattern), config(), SIZE).batches(0, 6))
    shares = [
        list(Loader(opened(pattern), config(), SIZE, position=RankPosition(rank, world)).batches(0, 6))
        for rank in range(world)
    ]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert all(torch.equal(a, b) for a, b in zip(joined([batch]), joined(parts), strict=True))


def test_consecutive_batches_touch_few_shards_and_an_epoch_has_each_row_once() -> None:
    shards, each = 600, 200
    order = StreamOrder(shards * each, 1024, 64, 0, each * MIXED_SHARDS)
    epoch = np.stack([order.take(step, 0, 1024)[0] for step in range(order.steps_per_epoch)])  # (steps, B)
    touched = [len(np.unique(epoch[step : step + 5] // each)) for step in range(0, len(epoch), 5)]
    assert np.mean(touched) < 2.5 * MIXED_SHARDS  # two each, few more
    assert max(touched) <= 4 * MIXED_SHARDS
    assert len(np.unique(epoch)) == epoch.size
    later = order.take(order.steps_per_epoch, 0, 1024)[0]
    assert len(np.intersect1d(later // each, epoch[0] // each)) < MIXED_SHARDS  # windows are others in each epoch


def test_few_streams_mix_as_many_shards() -> None:
    order = StreamOrder(120_000, 7, 64, 0, 100 * MIXED_SHARDS)  # 7: one stream
    rows = np.concatenate([order.take(step, 0, 7)[0] for step in range(300)])
    assert len(np.unique(rows // 100)) == pytest.approx(MIXED_SHARDS, abs=2)


def test_a_rank_reads_only_the_shards_of_its_streams(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [8] * 4)
    pairs = opened(pattern)
    for shard in (2, 3):
        Path(tmp_path, f"{shard:05}.tar").unlink()
    rows = [
        one
        for batch in Loader(pairs, config(), SIZE, position=RankPosition(0, 2)).batches(0, 4)
        for one in numbers(batch)
    ]
    assert sorted(rows) == list(range(16))


def test_a_resumed_run_sees_the_same_batches(tmp_path: Path) -> None:
    pattern = write_shards(tmp_path, [10, 6, 17])
    whole = list(Loader(opened(pattern), config(), SIZE).batches(0, 8))
    resumed = list(Loader(opened(pattern), config(workers=2), SIZE).batches(3, 8))
    assert len(resumed) == 5
    assert all(same(a, b) for a, b in zip(whole[3:], resumed, strict=True))


@pytest.mark.parametrize(("batch", "streams", "found"), [(8, 64, 8), (6, 64, 2), (7, 64, 1), (96, 64, 32), (8, 3, 1)])
def test_streams_are_reduced_to_divide_the_batch(tmp_path: Path, batch: int, streams: int, found: int) -> None:
    pairs = opened(write_shards(tmp_path, [100]))
    assert Loader(pairs, config(batch, streams), SIZE).streams == found


@pytest.mark.parametrize(
    ("world", "batch", "message"),
    [
        (3, 8, r"batch of 8 pairs .* over 3 processes"),
        (3, 6, r"3 processes cannot share the 2 streams .*data\.streams"),
    ],
)
def test_a_number_of_ranks_that_does_not_divide(tmp_path: Path, world: int, batch: int, message: str) -> None:
    pairs = opened(write_shards(tmp_path, [20]))
    with pytest.raises(UserError, match=message):
        Loader(pairs, config(batch), SIZE, position=RankPosition(0, world))


def test_unreadable_images_are_replaced_counted_and_listed(tmp_path: Path) -> None:
    rows = {f"{i:03}": row(i) for i in range(16)}
    rows["005"] = {"png": b"broken" * 100, "txt": b"a dog"}
    rows["009"] = {"png": image(9), "txt": b"\xff"}
    rows["none"] = {"png": image(1)}
    said: list[str] = []
    pattern = str(write_shard(tmp_path / "a.tar", rows))
    pairs = open_shards(pattern, DataConfig(max_bad_share=0.5), SIZE, tokenize, log=said.append)
    assert len(pairs) == 16
    assert "none" in said[0]
    assert said[0].startswith(f"1 of the 17 rows of {pattern} are skipped")
    seen = [one for batch in Loader(pairs, config(), SIZE, said.append).batches(0, 2) for one in numbers(batch)]
    assert sorted(seen) == [*range(5), 6, 6, 7, 8, 10, 10, *range(11, 16)]
    assert len(said) == 3
    assert {one.location.rpartition("/")[2] for one in pairs.all_bad()} == {"none", "005.png", "009.png"}
    with pytest.raises(ImageError, match=r"\.txt is not UTF-8 text"):
        pairs.image(9)
    with pytest.raises(DataError, match=r"3 of the 17 rows of .*a\.tar cannot be used"):
        pairs.check(0.1)
    with pytest.raises(DataError, match=r"1 of the 17 rows of .*a\.tar cannot be used"):
        open_shards(pattern, DataConfig(max_bad_share=0.0), SIZE, tokenize)


def test_labels_of_shards_are_classes(tmp_path: Path) -> None:
    rows = {str(i): row(i, json={"kind": f"c{i % 2}"}) for i in range(6)}
    pairs = opened(str(write_shard(tmp_path / "a.tar", rows)))
    labels = label_rows(pairs, DataConfig(label="kind"), 0)
    assert labels is not None
    assert labels.classes == ("c0", "c1")
    assert labels.of_rows.tolist() == [0, 1] * 3
