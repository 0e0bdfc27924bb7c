"""Batches of views, ahead of the training step.

Flow: the loop asks the ``Loader`` for the batches from one step to another; batch k is a function of (data,
definition, k) alone, so that a resumed run sees what the uninterrupted one would have seen, with any number of loader
processes. Without processes a thread makes the next batches while a step runs.

Legend: B batch, T tokens of the batch's longest caption, S side of a view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from core.data.batch import Batch, View
from core.data.dataset import Log, PairDataset, longest
from core.data.draws import Integers, seed_of, uniforms
from core.data.errors import DataError, PictureError
from core.data.labelling import Labels, SplitOrder
from core.data.views.making import centre_view, draw_mix, make_view, view_side
from core.data.views.masks import draw_masks
from core.spec.config import RunConfig, ViewConfig

AHEAD = 2  # batches made ahead, by the thread or by each process
ORDER, CAPTION, MIX = 1001, 1002, 1003  # purposes of draws, beside views
CLEAN, TEACHER, STUDENT = 0, 1, 2  # numbers of views; the student's further ones count on
TEACHERS, LOCAL = 100, 200  # the teacher's further views and the student's local ones

T = TypeVar("T")


@dataclass
class LoadedBatch:
    """A batch and the pictures that proved unreadable on the way to it; no batch when none is readable."""

    batch: Batch | None
    broken: dict[int, str] = field(default_factory=dict)


class BatchMaker(Dataset[LoadedBatch]):
    """Makes batch k. Holds only what a loader process needs."""

    def __init__(
        self, dataset: PairDataset, config: RunConfig, image_size: int, labels: Labels | None = None, multiple: int = 1
    ) -> None:
        self.dataset = dataset
        self.config = config
        self.size = image_size
        self.multiple = multiple
        self.labels = labels
        self._split: SplitOrder | None = None
        size, ratio = config.optim.batch_size, config.data.unlabelled_ratio
        self.steps_per_epoch = len(dataset) // size
        if labels is not None and ratio > 0:
            self._split = SplitOrder(labels, size, ratio, config.seed)
            self.steps_per_epoch = self._split.steps_per_epoch
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def order(self, epoch: int) -> Tensor:
        """(N,) rows in the order of ``epoch``."""
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(seed_of(self.config.seed, epoch, ORDER))
            self._order = torch.randperm(len(self.dataset), generator=generator)
            self._epoch = epoch
        return self._order

    def __getitem__(self, step: int) -> LoadedBatch:
        wanted, passes = self._wanted(step)
        known = set(self.dataset.broken)
        pictures = []
        rows = []
        for row in wanted.tolist():
            found = self._readable(row)
            if found is None:
                return LoadedBatch(None, self.dataset.broken)
            rows.append(found[0])
            pictures.append(found[1])
        broken = {row: reason for row, reason in self.dataset.broken.items() if row not in known}
        return LoadedBatch(self._batch(step, passes, np.array(rows), pictures), broken)

    def _wanted(self, step: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Integers]:
        """The rows of batch ``step``, and the pass through the data that all, or each, belong to."""
        if self._split is not None:
            return self._split.take(step)
        epoch, position = divmod(step, self.steps_per_epoch)
        size = self.config.optim.batch_size
        return self.order(epoch)[position * size : (position + 1) * size].numpy(), epoch

    def _readable(self, row: int) -> tuple[int, Tensor] | None:
        """``row``, or the next row whose picture can be read, and its picture; None when there is no such row."""
        for ahead in range(len(self.dataset)):
            candidate = (row + ahead) % len(self.dataset)
            if candidate in self.dataset.broken:
                continue
            try:
                return candidate, self.dataset.picture(candidate)
            except PictureError as error:
                self.dataset.mark_broken(candidate, str(error))
        return None

    def _batch(
        self, step: int, epoch: Integers, rows: np.ndarray[Any, np.dtype[np.int64]], pictures: list[Tensor]
    ) -> Batch:
        views = self.config.views
        key = (self.config.seed, epoch, rows)

        def view(config: ViewConfig, number: int, local: bool = False) -> View:
            side = view_side(config, self.size, self.multiple)
            images = make_view(pictures, config, side, *key, number)  # (B, 3, S, S)
            generator = np.random.default_rng(seed_of(self.config.seed, step, number, MIX))
            mask = draw_masks(config, side // self.multiple, *key, number)
            return View(images, draw_mix(config, generator, len(rows), side), mask, number, local)

        student = tuple(view(views.student, STUDENT + i) for i in range(views.student.count))
        if self.config.teacher.kind == "none":
            taught: tuple[View, ...] = ()
        elif views.shared:
            taught = tuple(one.whole() for one in student)
        else:
            taught = tuple(view(views.teacher, TEACHER if i == 0 else TEACHERS + i) for i in range(views.teacher.count))
        return Batch(
            rows=torch.from_numpy(rows),
            texts=self._texts(epoch, rows),
            clean=view(views.clean, CLEAN),
            student=student + tuple(view(views.local, LOCAL + i, local=True) for i in range(views.local.count)),
            teacher=taught,
            labels=None if self.labels is None else self.labels.of_rows[torch.from_numpy(rows)],
        )

    def _texts(self, epoch: Integers, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        """(B, T) int64: one caption of each row."""
        chances = uniforms(1, self.config.seed, epoch, rows, CAPTION)[:, 0]
        spans = [self.dataset.caption_span(row) for row in rows.tolist()]
        chosen = [span[int(chance * len(span))] for span, chance in zip(spans, chances.tolist(), strict=True)]
        tokens = self.dataset.tokens[chosen]
        return tokens[:, : longest(tokens, self.dataset.pad_id)].long()


class Loader:
    """Batches of training pairs; the last, partial batch of an epoch is dropped.

    Where the definition asks for unlabelled rows in a ratio, a batch has ``optim.batch_size`` labelled rows, then so
    many times as many unlabelled ones, and an epoch is a pass through the unlabelled rows.
    """

    def __init__(
        self,
        dataset: PairDataset,
        config: RunConfig,
        image_size: int,
        log: Log | None = None,
        labels: Labels | None = None,
        multiple: int = 1,
    ) -> None:
        """``multiple``: of which every view's side is one, the model's patch.

        DataError when a batch is larger than the data.
        """
        if config.optim.batch_size > len(dataset):
            raise DataError(
                f"The batch size {config.optim.batch_size} is larger than the {len(dataset)} pairs of "
                f"{dataset.origin}; set optim.batch_size to at most {len(dataset)}."
            )
        self._maker = BatchMaker(dataset, config, image_size, labels, multiple)
        self._dataset = dataset
        self._config = config
        self._log = log
        self.steps_per_epoch = self._maker.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole training; epochs may be fractional, at least one step is done."""
        return max(1, round(self._config.optim.epochs * self.steps_per_epoch))

    def batches(self, first_step: int, last_step: int) -> Generator[Batch, None, None]:
        """Batches ``first_step`` to ``last_step - 1``, counted from 0: a run that has done s steps goes on with s.

        Close the iterator to end its thread or processes. DataError when too many pictures prove unreadable.
        """
        steps = range(first_step, last_step)
        if self._config.data.workers > 0 and len(steps) > 0:
            yield from self._checked(iter(self._processes(steps)))
            return
        with closing(ahead((partial(self._maker.__getitem__, step) for step in steps), AHEAD)) as made:
            yield from self._checked(made)

    def _processes(self, steps: range) -> DataLoader[LoadedBatch]:
        return DataLoader(
            self._maker,
            batch_size=None,
            sampler=steps,
            num_workers=min(self._config.data.workers, len(steps)),
            prefetch_factor=AHEAD,
            collate_fn=_as_is,
            generator=torch.Generator().manual_seed(self._config.seed),  # else the global one would be drawn from
        )

    def _checked(self, made: Iterator[LoadedBatch]) -> Iterator[Batch]:
        """The batches; unreadable pictures are logged and counted, and too many are an error."""
        logged: set[int] = set()
        for item in made:
            for row, reason in item.broken.items():
                self._dataset.mark_broken(row, reason)
                if row not in logged and self._log is not None:
                    self._log(f"{self._dataset.path(row)} is replaced by another pair: {reason}.")
                logged.add(row)
            if item.broken:
                self._dataset.check(self._config.data.max_bad_share)
            if item.batch is not None:
                yield item.batch


def _as_is(item: T) -> T:
    return item


def ahead(jobs: Iterable[Callable[[], T]], depth: int) -> Generator[T, None, None]:
    """Results of ``jobs`` in order, made in a thread up to ``depth`` ahead. Close it to end the thread."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[Future[T]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def evaluation_batches(
    dataset: PairDataset, image_size: int, batch_size: int, first: int = 0
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """(rows (B,) int64, images (B, 3, S, S) uint8) of every readable picture from row ``first`` on, in order.

    The last batch is partial, and one with unreadable pictures is smaller.
    """

    def make(start: int) -> tuple[Tensor, Tensor] | None:
        rows, images = [], []
        for row in range(start, min(start + batch_size, len(dataset))):
            try:
                images.append(centre_view(dataset.picture(row), image_size))
            except PictureError as error:
                dataset.mark_broken(row, str(error))
                continue
            rows.append(row)
        return (torch.tensor(rows), torch.stack(images)) if rows else None

    jobs = (partial(make, start) for start in range(first, len(dataset), batch_size))
    with closing(ahead(jobs, AHEAD)) as made:
        for item in made:
            if item is not None:
                yield item


def evaluation_texts(dataset: PairDataset, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every caption of ``rows``: tokens (C, T) int64, and the position in ``rows`` of each one's picture (C,)."""
    position = torch.full((len(dataset),), -1, dtype=torch.int64)
    position[rows] = torch.arange(len(rows))
    targets = position[dataset.caption_rows]
    return dataset.tokens[targets >= 0].long(), targets[targets >= 0]
