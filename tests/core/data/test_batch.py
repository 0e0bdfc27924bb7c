"""A batch and its parts: everything moves together, a smaller one is whole, and the loader fills in each part."""

from __future__ import annotations

from dataclasses import replace
from threading import Thread

import torch

from core.data.batch import Batch, Mix, View
from core.data.loader import compute_ahead


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

    moved = whole().map(move)
    assert len(seen) == len(set(seen)) == 3 + 4 * 3
    assert [(one.number, one.local) for one in moved.student] == [(2, False), (200, True)]
    assert moved.labels is not None
    assert moved.labels.tolist() == [0, -1, 1, 0]
    assert torch.equal(moved.student[1].images, whole().student[1].images)


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


def test_the_prefetch_thread_uses_one_core_and_others_keep_theirs() -> None:
    """A second team of OpenMP's threads would have the training's threads sleep between operations."""
    before, elsewhere = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        assert list(compute_ahead([torch.get_num_threads], 1)) == [1]
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

    made = compute_ahead([lambda number=number: job(number) for number in range(9)], 2)  # type: ignore[misc]
    assert [next(made), next(made)] == [0, 1]
    made.close()
    assert ran == sorted(ran)
    assert len(ran) < 9
    assert list(compute_ahead([lambda number=number: number for number in range(3)], 5)) == [0, 1, 2]  # type: ignore[misc]
