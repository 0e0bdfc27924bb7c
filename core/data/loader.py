"""Prefetches batches of views for the training step.

Flow: the loop requests a range of batches from the ``Loader``. Batch k is a function of (data, config, k) alone, so a
resumed run gets the same batches as an uninterrupted run, with any number of loader processes. Without loader
processes, a thread makes the next batches while a step runs.

Legend: B batch, T tokens of the batch's longest caption, S side of a view.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from core.data.batch import Batch
from core.data.dataset import Log, PairDataset
from core.data.errors import DataError, ImageError
from core.data.labelling import Labels
from core.data.orders import StreamOrder, batch_order
from core.data.pairs import Pairs
from core.data.parts import PART_ROWS, Joiner, LoadedBatch, PartMaker, Span
from core.data.views.making import centre_view
from core.ranks.environment import check_batch_size
from core.spec.config import RunConfig, teacher_schedule
from core.spec.run.code import CodeError

BATCHES_AHEAD = 2  # prefetched batches, by the thread or by all processes together
AUTOMATIC_WORKERS = -1  # value of data.workers: as many as the cores allow
MAX_WORKERS = 32  # upper limit of automatic workers

T = TypeVar("T")


@dataclass(frozen=True)
class RankPosition:
    """The position of this process in a run; each process loads a contiguous share of every batch."""

    rank: int = 0
    world: int = 1  # number of processes
    local_world: int = 1  # processes on this machine, which share its cores
    on_gpu: bool = False  # whether this process trains on a GPU
    device_distorts: bool = False  # whether the device distorts the views, so that the loader only crops them

    def workers(self, requested: int) -> int:
        """The number of loader processes: ``requested``; if automatic, one per spare core with a GPU, 0 without."""
        if requested != AUTOMATIC_WORKERS:
            return requested
        if not self.on_gpu:
            return 0
        return max(1, min(MAX_WORKERS, usable_cores() // self.local_world - 1))

    def share(self, count: int) -> tuple[int, int]:
        """This process's share of ``count`` rows: the first row, and the row after the last."""
        return self.rank * count // self.world, (self.rank + 1) * count // self.world


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Loader:
    """Batches of training pairs; the last, partial batch of an epoch is dropped.

    With ``data.unlabelled_ratio`` r, a batch has ``optim.batch_size`` labelled rows followed by r times as many
    unlabelled rows, and an epoch is a pass through the unlabelled rows.
    """

    def __init__(
        self,
        dataset: Pairs,
        config: RunConfig,
        image_size: int,
        log: Log | None = None,
        labels: Labels | None = None,
        patch_side: int = 1,
        position: RankPosition | None = None,
        synchronise: Callable[[LoadedBatch, int], LoadedBatch] | None = None,
        left_out: Tensor | None = None,
    ) -> None:
        """The side of every view is a multiple of ``patch_side``. ``synchronise`` is called with each batch and the
        padding id; it makes the caption length and the list of unreadable images the same in all processes.
        ``left_out`` (N,) bool: rows that are in no batch.

        Raises DataError if a batch is larger than the data; DataError or LaunchError if the processes of ``position``
        cannot share a batch evenly.
        """
        if config.optim.batch_size > len(dataset):
            raise DataError(
                f"The batch size {config.optim.batch_size} is larger than the {len(dataset)} pairs of "
                f"{dataset.origin}; set optim.batch_size to at most {len(dataset)}."
            )
        self._position = position or RankPosition()
        order = batch_order(len(dataset), dataset.shard_rows, config, labels, left_out)
        self.streams = order.streams if isinstance(order, StreamOrder) else 0  # 0: all data is shuffled as one list
        self.batch_size = order.batch_size
        _check_world(self._position.world, order.batch_size, self.streams)
        self._own_rows = self._position.share(order.batch_size)
        self._synchronise = synchronise
        self._dataset = dataset
        self._config = config
        self.left_out = left_out
        self._log = log
        self.steps_per_epoch = order.steps_per_epoch
        device_distorts = self._position.device_distorts
        self._maker = PartMaker(
            dataset, config, image_size, order, labels, patch_side, device_distorts, teacher_schedule(config), left_out
        )
        self._join = Joiner(config, order.batch_size, dataset.pad_id, pinned=self._position.on_gpu)

    @property
    def total_steps(self) -> int:
        """The number of steps of the run, at least one; the number of epochs may be fractional."""
        return max(1, round(self._config.optim.epochs * self.steps_per_epoch))

    def batches(self, first: int, end: int) -> Generator[Batch, None, None]:
        """This process's share of batches ``first`` to ``end - 1``, counted from 0.

        After s completed steps, a run continues with batch s. Close the iterator to end its thread or processes.
        Raises DataError if too many images are unreadable.
        """
        steps = range(first, end)
        part_count = len(self._spans(first)) * len(steps)
        workers = min(self._position.workers(self._config.data.workers), part_count)
        loaded_parts = (
            self._load_in_processes(steps, workers)
            if workers
            else (self._maker[span] for span in self._spans_of(steps))
        )
        jobs = (partial(self._next_batch, step, loaded_parts) for step in steps)
        with closing(compute_ahead(jobs, 1 if workers else BATCHES_AHEAD)) as batches:
            yield from self._check_batches(batches)

    def _spans(self, step: int) -> list[Span]:
        """The parts of this process's share of batch ``step``."""
        first, end = self._own_rows
        return [(step, start, min(start + PART_ROWS, end)) for start in range(first, end, PART_ROWS)]

    def _spans_of(self, steps: range) -> Iterator[Span]:
        return (span for step in steps for span in self._spans(step))

    def _load_in_processes(self, steps: range, workers: int) -> Iterator[LoadedBatch]:
        """The parts of the batches ``steps``, in order, made by ``workers`` processes."""
        parts_per_batch = len(self._spans(0))
        loader: DataLoader[LoadedBatch] = DataLoader(
            self._maker,
            batch_size=None,
            sampler=self._spans_of(steps),
            num_workers=workers,
            prefetch_factor=max(2, -(-BATCHES_AHEAD * parts_per_batch // workers)),
            collate_fn=_identity,
            generator=torch.Generator().manual_seed(self._config.seed),  # keeps the global generator unchanged
        )
        return iter(loader)

    def _next_batch(self, step: int, loaded_parts: Iterator[LoadedBatch]) -> LoadedBatch:
        """Batch ``step``, joined from the next parts."""
        try:
            parts = [next(loaded_parts) for _ in self._spans(step)]
        except CodeError as error:  # torch puts the traceback of a loader process before its message
            raise CodeError(str(error).rpartition("CodeError: ")[2].strip()) from error
        broken = {row: reason for part in parts for row, reason in part.broken.items()}
        batches = [part.batch for part in parts if part.batch is not None]
        return LoadedBatch(self._join(step, batches) if len(batches) == len(parts) else None, broken)

    def _check_batches(self, loaded: Iterator[LoadedBatch]) -> Iterator[Batch]:
        """The batches; logs and counts unreadable images. Raises DataError if there are too many."""
        logged: set[int] = set()
        for loaded_batch in loaded:
            item = loaded_batch if self._synchronise is None else self._synchronise(loaded_batch, self._dataset.pad_id)
            for row, reason in item.broken.items():
                self._dataset.mark_broken(row, reason)
                if row not in logged and self._log is not None:
                    self._log(f"{self._dataset.path(row)} is replaced by another pair: {reason}.")
                logged.add(row)
            if item.broken:
                self._dataset.check(self._config.data.max_bad_share)
            if item.batch is not None:
                yield item.batch


def _check_world(world: int, batch_size: int, streams: int) -> None:
    """Raise LaunchError or DataError unless ``world`` processes can share a batch's rows and streams evenly."""
    check_batch_size(world, batch_size)
    if streams % world:
        raise DataError(
            f"{world} processes cannot share the {streams} streams over the shards evenly; choose a number of "
            f"processes that divides {streams}, or set data.streams and optim.batch_size to multiples of {world}."
        )


def _identity(item: T) -> T:
    return item


def compute_ahead(jobs: Iterable[Callable[[], T]], depth: int | Callable[[], int]) -> Generator[T, None, None]:
    """Results of ``jobs`` in order, computed in a thread up to ``depth`` ahead; closing the generator ends the thread.

    A callable ``depth`` is called before each result. The thread computes on one core: with more threads than cores,
    OpenMP's idle training threads would sleep instead of spinning, which makes a step 10 % longer.
    """
    current_depth = depth if callable(depth) else lambda: depth
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[Future[T]] = deque()
    try:
        threads = torch.get_num_threads()
        pool.submit(use_one_core).result()
        torch.set_num_threads(threads)  # ``use_one_core`` also changed it for threads that have not read it yet
        for job in jobs:
            waiting.append(pool.submit(job))
            while len(waiting) > current_depth():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def use_one_core() -> None:
    """Make the calling thread, and threads started later, compute on one core until the number is set again."""
    # PyTorch's thread count is per thread once the thread has read it; until then, other threads' calls change it.
    torch.get_num_threads()
    torch.set_num_threads(1)


def evaluation_batches(
    dataset: Pairs, image_size: int, batch_size: int, first: int = 0
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Batches of all readable images from row ``first`` on, in order: rows (B,) int64, images (B, 3, S, S) uint8.

    The last batch, and batches with unreadable images, may be smaller. Images are decoded by one thread per core
    (decoders release the GIL).
    """
    decoders = ThreadPoolExecutor(min(MAX_WORKERS, usable_cores()), thread_name_prefix="decode")

    def make(start: int) -> tuple[Tensor, Tensor] | None:
        rows, images = [], []
        rows_of_batch = range(start, min(start + batch_size, len(dataset)))
        decodings = [decoders.submit(dataset.image, row) for row in rows_of_batch]  # all start before the first ends
        for row, decoding in zip(rows_of_batch, decodings, strict=True):
            try:
                images.append(centre_view(decoding.result(), image_size))
            except ImageError as error:
                dataset.mark_broken(row, error)
                continue
            rows.append(row)
        return (torch.tensor(rows), torch.stack(images)) if rows else None

    jobs = (partial(make, start) for start in range(first, len(dataset), batch_size))
    with decoders, closing(compute_ahead(jobs, BATCHES_AHEAD)) as batches:
        for item in batches:
            if item is not None:
                yield item


def evaluation_texts(dataset: PairDataset, rows: Tensor) -> tuple[Tensor, Tensor]:
    """All captions of ``rows``: tokens (C, T) int64, and the position of each caption's image in ``rows`` (C,)."""
    position = torch.full((len(dataset),), -1, dtype=torch.int64)
    position[rows] = torch.arange(len(rows))
    targets = position[dataset.caption_rows]
    return dataset.tokens[targets >= 0].long(), targets[targets >= 0]
