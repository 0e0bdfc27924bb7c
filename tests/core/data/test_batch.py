"""A batch and its parts: everything moves together, a smaller one is whole, and the loader fills in each part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch

from core.data.batch import Batch, Mix, View
from core.data.dataset import open_dataset
from core.data.loader import Loader, ahead
from core.spec.config import DataConfig, RunConfig, override
from tests.core.data.samples import tokenize, write_pairs
from tests.core.data.test_loader import SIZE, opened, run_config


def view(seed: int, number: int = 0, local: bool = False) -> View:
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(16).reshape(4, 4) % 3 == 0
    return View(images, Mix(torch.tensor([3, 2, 1, 0]), 0.75), mask, number, local)


def whole() -> Batch:
    texts = torch.arange(8).reshape(4, 2)
    return Batch(
        torch.arange(4), texts, view(0), (view(1, 2), view(2, 200, True)), (view(3, 1),), torch.tensor([0, -1, 1, 0])
    )


def test_every_tensor_of_a_batch_moves() -> None:
    seen: list[int] = []

    def move(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(id(tensor))
        return tensor.clone()

    batch = whole()
    moved = batch.map(move)
    assert len(seen) == len(set(seen)) == 3 + 4 * 3
    assert [one.number for one in moved.student] == [2, 200]
    assert [one.local for one in moved.student] == [False, True]
    for one, other in zip(
        (batch.clean, *batch.student, *batch.teacher), (moved.clean, *moved.student, *moved.teacher), strict=True
    ):
        assert other.mix is not None
        assert other.mask is not None
        assert one.mix is not None
        assert torch.equal(one.images, other.images)
        assert other.mix.partner is not one.mix.partner
        assert other.mask is not one.mask
    assert moved.labels is not None
    assert moved.labels.tolist() == [0, -1, 1, 0]


def test_the_head_of_a_batch_is_a_batch() -> None:
    """Not interpolated: partners may be beyond it."""
    first = whole().first(2)
    assert (first.rows.tolist(), first.texts.tolist()) == ([0, 1], [[0, 1], [2, 3]])
    assert first.labels is not None
    assert first.labels.tolist() == [0, -1]
    for one in (first.clean, *first.student, *first.teacher):
        assert one.images.shape == (2, 3, 8, 8)
        assert one.mask is not None
        assert one.mask.shape == (2, 4)
        assert one.mix is None
    assert len(first.student) == 2
    assert len(first.teacher) == 1
    sent = replace(whole(), source=whole()).first(2)
    assert sent.on_host is not sent
    assert sent.on_host.rows.tolist() == [0, 1], "what is drawn by it is of as many"


def test_the_mix_share_is_that_of_the_image_itself() -> None:
    mix = Mix(torch.tensor([1, 0]), 0.75)
    assert mix.blend(torch.tensor([[0.0], [4.0]])).tolist() == [[1.0], [3.0]]
    boxed = Mix(torch.tensor([1, 0]), 0.75, (0, 1, 1, 2)).apply(
        torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)])
    )
    assert boxed[0, 0].tolist() == [[0.0, 1.0], [0.0, 0.0]]
    shown = view(0, 5, True).without_masks()
    assert (shown.mix, shown.mask, shown.number, shown.local) == (None, None, 5, True)


def masked() -> RunConfig:
    settings = ["views.student.count=1", "views.student.mask=1", "views.local.count=2", "views.local.size=0.5",
                "views.teacher.count=2"]  # fmt: skip
    return override(run_config(), settings)


def test_views_have_index_size_and_mask(tmp_path: Path) -> None:
    batch = next(Loader(opened(write_pairs(tmp_path, 6)), masked(), SIZE, multiple=4).batches(0, 1))
    assert [one.number for one in batch.student] == [2, 200, 201]
    assert [one.local for one in batch.student] == [False, True, True]
    assert [one.images.shape[-1] for one in batch.student] == [SIZE, SIZE // 2, SIZE // 2]
    assert [one.mask.shape[1] for one in batch.student if one.mask is not None] == [16]
    assert len({one.number for one in batch.teacher}) == 2
    assert not torch.equal(batch.teacher[0].images, batch.teacher[1].images)
    shared = override(masked(), ["views.shared=true", "views.student.mix=cutmix"])
    batch = next(Loader(opened(write_pairs(tmp_path, 6)), shared, SIZE, multiple=4).batches(0, 1))
    (taught,) = batch.teacher
    assert torch.equal(taught.images, batch.student[0].images)
    assert (taught.mix, taught.mask, taught.number) == (None, None, batch.student[0].number)
    assert batch.student[0].mix is not None


def test_a_bad_last_row_is_replaced_by_the_first_and_reported_once(tmp_path: Path) -> None:
    dataset = opened(write_pairs(tmp_path, 6), cache_mib=0)
    (tmp_path / "images" / "005.png").write_bytes(b"broken")
    said: list[str] = []
    for batch in Loader(dataset, run_config(batch_size=6), SIZE, said.append).batches(0, 2):
        assert sorted(batch.rows.tolist()) == [0, 0, 1, 2, 3, 4]
    assert len(said) == 1
    assert "005.png is replaced by another pair" in said[0]


def test_skipped_rows_are_reported_with_their_count(tmp_path: Path) -> None:
    path = write_pairs(tmp_path, 8)
    (tmp_path / "images" / "002.png").write_bytes(b"broken")
    (tmp_path / "images" / "003.png").unlink()
    said: list[str] = []

    dataset = open_dataset(path, DataConfig(max_bad_share=0.25), SIZE, tokenize, log=said.append)
    assert len(said) == 1
    assert said[0].startswith(f"2 of the 8 rows of {path} are skipped: ")
    assert len(dataset) == 7, "what the source could not find is no row, what proved broken keeps its number"
    assert len(dataset.all_bad()) == 2
    dataset.check(0.25)
    with pytest.raises(Exception, match=r"2 of the 8 rows of .* cannot be used, more than the 24.0% allowed"):
        dataset.check(0.24)


def test_the_prefetch_thread_uses_one_core_and_others_keep_theirs() -> None:
    """A second team of OpenMP's threads would have the training's threads sleep between operations."""
    before, elsewhere = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        assert list(ahead([torch.get_num_threads], 1)) == [1]
        late = Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        late.start()
        late.join()
        assert (torch.get_num_threads(), elsewhere) == (2, [2])
    finally:
        torch.set_num_threads(before)


def test_prefetched_jobs_come_in_order_and_end_with_the_iterator() -> None:
    ran: list[int] = []

    def job(number: int) -> int:
        ran.append(number)
        return number

    made = ahead([lambda number=number: job(number) for number in range(9)], 2)  # type: ignore[misc]
    assert [next(made), next(made)] == [0, 1]
    made.close()
    assert ran == sorted(ran)
    assert len(ran) < 9
    assert list(ahead([lambda number=number: number for number in range(3)], 5)) == [0, 1, 2]  # type: ignore[misc]
