"""The data set and its batches: aligned, complete, repeatable, resumable, with any number of processes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from core.data import loader as loader_module
from core.data.batch import Batch
from core.data.dataset import PairDataset, open_dataset
from core.data.errors import DataError, ImageError
from core.data.loader import Loader, RankPosition, evaluation_batches, evaluation_texts
from core.ranks.environment import LaunchError
from core.spec.config import DataConfig, RunConfig, override
from tests.core.data.samples import CONTEXT, tokenize, write_pairs

SIZE = 16


def opened(path: Path, **settings: Any) -> PairDataset:
    return open_dataset(path, DataConfig(**settings), SIZE, tokenize)


def run_config(batch_size: int = 4, workers: int = 0, **views: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "seed": 3,
            "data": {"workers": workers, "max_bad_share": 0.3},
            "teacher": {"kind": "ema"},
            "views": views or {"student": {"count": 2, "randaugment_ops": 1, "mix": "cutmix"}},
            "optim": {"batch_size": batch_size, "epochs": 2.5},
        }
    )


def tensors(batch: Batch) -> list[torch.Tensor]:
    """Every tensor of a batch, and the numbers of its mixes."""
    found: list[torch.Tensor] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        found.append(tensor)
        return tensor

    batch.map(note)
    mixes = [view.mix for view in batch.student if view.mix]
    found += [torch.tensor([mix.share, *(mix.box or ())]) for mix in mixes]
    return found


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


# The data set


@pytest.mark.parametrize("cache_mib", [0, 64])
def test_images_captions_and_labels_stay_aligned(
    tmp_path: Path, cache_mib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.data.dataset.TOKENIZE_BATCH", 4)
    path = write_pairs(tmp_path, 6, captions=3)
    bad = tmp_path / "images" / "002.png"
    if cache_mib:
        bad.write_bytes(b"broken")
    else:
        bad.unlink()
    said: list[str] = []
    dataset = open_dataset(path, DataConfig(cache_mib=cache_mib, max_bad_share=0.5), SIZE, tokenize, log=said.append)
    # An image that is not there is no row; one that cannot be read is, and is not shown.
    shown = [row for row in range(len(dataset)) if row not in dataset.broken]
    assert [dataset.path(row).stem for row in shown] == ["000", "001", "003", "004", "005"]
    assert "002.png" in said[-1]
    assert len(dataset.all_bad()) == 1
    for row in shown:
        number = int(dataset.path(row).stem)
        assert dataset.labels(row)["kind"] == f"c{number % 4}"
        assert dataset.image(row).shape == (3, 20, 24)  # 16 x 1.25
        assert [text.split()[1] for text in dataset.captions_of(row)] == [str(number)] * 3
        span = dataset.caption_span(row)
        assert tuple(dataset.captions[i] for i in span) == dataset.captions_of(row)
        assert (dataset.caption_rows[list(span)] == row).all()
        expected = tokenize(dataset.captions_of(row))
        assert torch.equal(dataset.tokens[list(span)].long(), expected[:, : dataset.tokens.shape[1]])
    assert dataset.tokens.dtype == torch.int32
    assert dataset.tokens.shape[1] == 6 < CONTEXT  # the longest caption has six words


def test_cached_and_streamed_images_are_the_same(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, 4, size=(40, 60))
    cached, streamed = opened(path), opened(path, cache_mib=0)
    assert all(torch.equal(cached.image(row), streamed.image(row)) for row in range(4))
    copy = opened(write_pairs(tmp_path / "elsewhere", 4, size=(40, 60)))
    assert cached.digest() == streamed.digest() == copy.digest(), "wherever they lie"
    assert cached.digest() != opened(write_pairs(tmp_path / "elsewhere", 4, captions=2)).digest()


def test_bad_rows_are_skipped_and_too_many_of_them_stop_with_the_list(tmp_path: Path) -> None:
    path, said = write_pairs(tmp_path, 10), list[str]()
    (tmp_path / "images" / "003.png").write_bytes(b"broken")
    (tmp_path / "images" / "005.png").unlink()
    with pytest.raises(
        DataError, match=r"2 of the 10 rows of .* cannot be used, more than the 15.0% allowed"
    ) as caught:
        opened(path, max_bad_share=0.15)
    assert f"{path}, line 5: 003.png: it is not an image" in str(caught.value)
    dataset = open_dataset(path, DataConfig(max_bad_share=0.2), SIZE, tokenize, log=said.append)
    assert (len(dataset), list(dataset.broken)) == (9, [3]), "a missing image is no row, a broken one keeps its number"
    assert len(said) == 1
    assert said[0].startswith(f"2 of the 10 rows of {path} are skipped: ")


def test_progress_is_reported_and_may_cancel(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, 5)
    seen: list[str] = []
    open_dataset(path, DataConfig(), SIZE, tokenize, progress=lambda doing, done, total: seen.append(doing))
    assert seen == ["decoding images"] * 5 + ["tokenising captions"]

    def stop(doing: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_dataset(path, DataConfig(), SIZE, tokenize, progress=stop)


# Batches


def test_a_batch_follows_the_config(tmp_path: Path) -> None:
    dataset = opened(write_pairs(tmp_path, 10, captions=2))
    loader = Loader(dataset, run_config(), SIZE)
    assert (loader.steps_per_epoch, loader.total_steps) == (2, 5)
    short = override(run_config(), ["optim.epochs=0.01", "seed=4"])
    assert Loader(dataset, short, SIZE).total_steps == 1
    batch = next(loader.batches(0, 1))
    assert not same(batch, next(Loader(dataset, short, SIZE).batches(0, 1))), "another seed"
    assert batch.clean.images.shape == (4, 3, SIZE, SIZE)
    assert batch.clean.mix is None
    assert len(batch.student) == 2
    assert all(view.mix is not None and view.mix.box is not None for view in batch.student)
    assert len(batch.teacher) == 1
    views = [batch.clean, *batch.student, *batch.teacher]
    assert not any(torch.equal(a.images, b.images) for i, a in enumerate(views) for b in views[:i])
    for row, tokens in zip(batch.rows.tolist(), batch.texts, strict=True):
        own = tokenize(dataset.captions_of(row))[:, : batch.texts.shape[1]]
        assert (own == tokens).all(1).any()
    for none in ("views.teacher.count=0", "teacher.kind=none"):
        assert next(Loader(dataset, override(run_config(), [none]), SIZE).batches(0, 1)).teacher == ()
    assert batch.texts.dtype == torch.int64
    assert (batch.texts[:, -1] != 0).any()
    with pytest.raises(DataError, match=r"batch size 11 .* 10 pairs"):
        Loader(dataset, run_config(batch_size=11), SIZE)


def test_an_epoch_visits_each_row_once_in_its_own_order(tmp_path: Path) -> None:
    dataset = opened(write_pairs(tmp_path, 8))
    loader = Loader(dataset, run_config(), SIZE)
    rows = [batch.rows.tolist() for batch in loader.batches(0, 6)]
    epochs = [rows[0] + rows[1], rows[2] + rows[3], rows[4] + rows[5]]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_captions_and_interpolations_are_drawn_for_each_step_and_view(tmp_path: Path) -> None:
    batches = list(Loader(opened(write_pairs(tmp_path, 4, captions=3)), run_config(), SIZE).batches(0, 30))
    assert len({tuple(tokens.tolist()) for batch in batches for tokens in batch.texts[:, :4]}) == 12
    mixes = [view.mix for batch in batches[:8] for view in batch.student]
    assert None not in mixes
    assert len({(tuple(mix.partner.tolist()), mix.share, mix.box) for mix in mixes if mix}) > 8
    assert len({tuple(mix.partner.tolist()) for mix in mixes if mix}) > 4


@pytest.mark.parametrize(("workers", "cache_mib"), [(0, 64), (2, 0)])
def test_the_stream_is_the_same_from_any_step_with_any_workers(tmp_path: Path, workers: int, cache_mib: int) -> None:
    dataset = opened(write_pairs(tmp_path, 9, captions=2), cache_mib=cache_mib)
    whole = list(Loader(dataset, run_config(), SIZE).batches(0, 5))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    resumed = list(Loader(dataset, run_config(workers=workers), SIZE).batches(3, 5))
    assert torch.equal(before, torch.get_rng_state())
    assert len(resumed) == 2
    assert all(same(one, other) for one, other in zip(whole[3:], resumed, strict=True))


def test_a_batch_made_in_parts_equals_one_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is drawn for a row, or for the whole batch, and of whatever length captions are."""
    dataset = opened(write_pairs(tmp_path, 11, captions=2))
    distorted = {"jitter": 0.8, "greyscale": 0.2, "blur": 0.8, "solarize": 0.2, "erase": 0.5, "flip": True, "mask": 0.5}
    views = {"student": {"count": 2, "randaugment_ops": 2, "mix": "either", **distorted}, "local": {"count": 1}}
    configs = [run_config(8, workers, **views) for workers in (0, 2)]
    whole = list(Loader(dataset, configs[0], SIZE, patch_side=4).batches(0, 3))
    monkeypatch.setattr("core.data.loader.PART_ROWS", 3)
    parts = list(Loader(dataset, configs[1], SIZE, patch_side=4).batches(0, 3))
    assert all(same(a, b) for a, b in zip(whole, parts, strict=True))
    shared = run_config(8, shared=True, student={"count": 2})
    batch = next(Loader(dataset, shared, SIZE).batches(0, 1))
    assert all(a.images is b.images for a, b in zip(batch.student, batch.teacher, strict=True))


def test_views_augmented_on_the_device_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.data.loader.PART_ROWS", 3)  # parts of four rows are joined
    dataset, device = opened(write_pairs(tmp_path, 9)), torch.device("cpu")
    every = {"flip": True, "jitter": 0.8, "greyscale": 0.3, "blur": 0.5}
    further = {"crop_min": 0.5, "randaugment_ops": 2, "solarize": 0.3, "erase": 0.5, "mix": "mixup", **every}
    views = {"clean": {"flip": True}, "student": {"count": 2, **further}, "local": {"count": 1, "size": 0.5, **every}}
    for shared in (False, True):
        config = run_config(workers=int(shared), **views, teacher={"count": 1}, shared=shared)
        plain = list(Loader(dataset, config, SIZE, patch_side=8).batches(0, 3))
        cropped = list(
            Loader(dataset, config, SIZE, patch_side=8, position=RankPosition(device_distorts=True)).batches(0, 3)
        )
        assert not any(same(a, b) for a, b in zip(plain, cropped, strict=True))
        made = [batch.to(device) for batch in cropped]
        assert all(same(a, b) for a, b in zip(plain, made, strict=True))
        assert all(view.images.is_contiguous() for batch in (*plain, *made) for view in (batch.clean, *batch.student))
        assert not any(batch.student[0].images.is_contiguous() for batch in cropped), "the device turns them round"
        assert all(batch.to(device) is batch for batch in made)
        half = cropped[0].first(2).to(device)
        assert torch.equal(half.student[1].images, plain[0].student[1].images[:2])
        if shared:  # what two networks see is copied and distorted once
            assert made[0].teacher[0].images is made[0].student[0].images


def test_ranks_share_the_same_batch(tmp_path: Path) -> None:
    dataset, world = opened(write_pairs(tmp_path, 11)), 4
    whole = list(Loader(dataset, run_config(8), SIZE).batches(0, 2))
    shares = [
        list(Loader(dataset, run_config(8), SIZE, position=RankPosition(rank, world)).batches(0, 2))
        for rank in range(world)
    ]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert torch.equal(torch.cat([part.rows for part in parts]), batch.rows)
        for number, view in enumerate(batch.student):
            assert torch.equal(torch.cat([part.student[number].images for part in parts]), view.images)
            mixes = [part.student[number].mix for part in parts]
            assert view.mix is not None
            assert all(mix is not None and torch.equal(mix.partner, view.mix.partner) for mix in mixes)  # of all rows
            assert {(mix.share, mix.box) for mix in mixes if mix is not None} == {(view.mix.share, view.mix.box)}
    with pytest.raises(LaunchError, match=r"batch of 8 pairs .* over 3 processes"):
        Loader(dataset, run_config(8), SIZE, position=RankPosition(0, 3))


def test_the_number_of_loader_processes_follows_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.data.loader.usable_cores", lambda: 48)
    assert RankPosition(on_gpu=True).workers(-1) == 32
    assert RankPosition(0, 8, local_world=8, on_gpu=True).workers(-1) == 5
    assert RankPosition(0, 64, local_world=64, on_gpu=True).workers(-1) == 1
    assert RankPosition().workers(-1) == 0
    assert [RankPosition(on_gpu=True).workers(number) for number in (0, 3)] == [0, 3]


def test_closing_early_ends_cleanly(tmp_path: Path) -> None:
    dataset = opened(write_pairs(tmp_path, 9))
    for workers in (0, 2):
        stream = Loader(dataset, run_config(workers=workers), SIZE).batches(0, 5)
        next(stream)
        stream.close()
        assert list(Loader(dataset, run_config(workers=workers), SIZE).batches(5, 5)) == []


# Streaming over images that prove broken


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_streamed_image_is_replaced_by_another_pair(tmp_path: Path, workers: int) -> None:
    path = write_pairs(tmp_path, 8)
    dataset = opened(path, cache_mib=0)
    for name in ("003", "007"):
        (tmp_path / "images" / f"{name}.png").write_bytes(b"broken")
    said: list[str] = []
    loader = Loader(dataset, run_config(workers=workers), SIZE, said.append)
    rows = [row for batch in loader.batches(0, 4) for row in batch.rows.tolist()]
    assert sorted(rows[:8]) == [0, 0, 1, 2, 4, 4, 5, 6], "by the next row; the last row by the first"
    assert len(said) == 2
    assert all(any(f"{name}.png is replaced by another pair" in line for line in said) for name in ("003", "007"))
    assert [row.location for row in dataset.all_bad()] == [f"{path}, line 5", f"{path}, line 9"]
    fresh = opened(path, cache_mib=0)
    again = [row for batch in Loader(fresh, run_config(), SIZE).batches(2, 4) for row in batch.rows.tolist()]
    assert again == rows[8:]


def test_a_run_is_the_same_whether_images_are_cached_or_streamed(tmp_path: Path) -> None:
    """Broken ones keep their number in a cache too: neither steps nor batches depend on where images come from."""
    path = write_pairs(tmp_path, 9)
    for row in (0, 4):
        (tmp_path / "images" / f"{row:03}.png").write_bytes(b"broken")
    sets = [opened(path, cache_mib=mib, max_bad_share=0.5) for mib in (64, 0)]
    cached, streamed = (Loader(one, run_config(), SIZE) for one in sets)
    assert cached.total_steps == streamed.total_steps
    steps = cached.total_steps
    pairs = list(zip(cached.batches(0, steps), streamed.batches(0, steps), strict=True))
    assert len(pairs) == steps
    assert all(same(*both) for both in pairs)


@pytest.mark.parametrize(("workers", "broken"), [(0, 8), (2, 3)])
def test_too_many_unreadable_images_while_streaming_stop_with_the_list(
    tmp_path: Path, workers: int, broken: int
) -> None:
    dataset = opened(write_pairs(tmp_path, 8), cache_mib=0)
    for i in range(broken):
        (tmp_path / "images" / f"{i:03}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"000\.png: it is not an image"):
        list(Loader(dataset, run_config(workers=workers), SIZE).batches(0, 6))


# Evaluation


def test_evaluation_sees_every_readable_image_once_in_order(tmp_path: Path) -> None:
    dataset = opened(write_pairs(tmp_path, 7, captions=2), cache_mib=0)
    (tmp_path / "images" / "001.png").write_bytes(b"broken")
    batches = list(evaluation_batches(dataset, SIZE, 3))
    assert [rows.tolist() for rows, _ in batches] == [[0, 2], [3, 4, 5], [6]]
    assert all(images.shape == (len(rows), 3, SIZE, SIZE) and images.dtype == torch.uint8 for rows, images in batches)
    tokens, targets = evaluation_texts(dataset, torch.cat([rows for rows, _ in batches]))
    assert targets.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert torch.equal(tokens, torch.cat([dataset.tokens[:2], dataset.tokens[4:]]).long())
    with pytest.raises(ImageError):
        dataset.image(1)


def test_evaluation_decodes_several_images_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(write_pairs(tmp_path, 4), cache_mib=0)
    monkeypatch.setattr(loader_module, "usable_cores", lambda: 2)
    plain, both = dataset.image, threading.Barrier(2)

    def image(row: int) -> torch.Tensor:
        both.wait(60)  # a decoder alone would wait in vain
        return plain(row)

    monkeypatch.setattr(dataset, "image", image)
    rows = torch.cat([rows for rows, _ in evaluation_batches(dataset, SIZE, 2)])
    assert rows.tolist() == [0, 1, 2, 3]
