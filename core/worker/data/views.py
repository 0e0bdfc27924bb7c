"""What student and teacher are shown of some pictures, drawn by the trainer's own code.

Flow: a definition, a step and pictures -> ``ViewMaker.draw`` -> `PartMaker`, which the loader's processes call ->
pixels as they reach the towers, and what was drawn besides: mixtures with their partners, masks, captions.

A picture is in one batch of each epoch. Its views at a step are those of its batch in that step's epoch, with the
partners that it has there. No model is loaded: the architecture says how large its input and its patches are.

Legend: n pictures, B batch, S side of a view, P patches.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from core.data.batch import Batch, Mix, View
from core.data.dataset import PairDataset
from core.data.draws import Integers
from core.data.errors import DataError
from core.data.labelling import label_rows
from core.data.orders import EpochOrder, Order, Rows, batch_order
from core.data.pairs import Pairs
from core.data.parts import PartMaker, caption_chances, mix_of
from core.data.shard_pairs import ShardPairs
from core.spec.config import RunConfig, ViewConfig

MOST = 64  # pictures at once
KEPT = 256  # decoded pictures in memory

Place = tuple[int, int]  # a batch, counted from 0, and a position in it


class _Keeping(Pairs):
    """Keeps the pictures that were decoded last: the same ones are drawn again and again."""

    def picture(self, row: int) -> Tensor:
        kept: OrderedDict[int, Tensor] = self.__dict__.setdefault("_kept", OrderedDict())
        if row not in kept:
            kept[row] = super().picture(row)  # type: ignore[safe-super]  # of the class beside this one
        kept.move_to_end(row)
        while len(kept) > KEPT:
            kept.popitem(last=False)
        return kept[row]


class KeptPairs(_Keeping, PairDataset):
    """A `PairDataset` whose pictures are decoded once."""


class KeptShards(_Keeping, ShardPairs):
    """`ShardPairs` whose pictures are decoded once."""


@dataclass(frozen=True)
class Mixed:
    """A picture's interpolation: it is ``share`` itself, the rest is ``row``; ``box`` (top, left, bottom, right)."""

    row: int
    share: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True)
class Shown:
    """One view of n pictures, as ``who`` ("student", "teacher" or "both") sees it.

    ``images`` (n, 3, S, S) uint8, interpolated; ``mask`` (n, P) bool, the patches that are hidden; ``left_out`` (n, P)
    bool, those that are not read at all. ``attended``: so many are read, as the teacher's attention will choose.
    """

    title: str
    who: str
    local: bool
    images: Tensor
    mask: Tensor | None
    left_out: Tensor | None
    attended: int
    mixed: tuple[Mixed | None, ...]


@dataclass(frozen=True)
class Drawn:
    """All views of ``rows`` (n,): the ones asked for, or the next readable ones in their place."""

    rows: list[int]
    epoch: int
    batches: list[int]  # each picture's
    captions: list[str]  # that each has in this epoch
    shown: list[Shown]
    skipped: list[int]  # rows that are in no batch of this epoch: its last, partial one is dropped


class ViewMaker:
    """Draws views of the pictures of ``dataset`` by one definition."""

    def __init__(self, dataset: Pairs, config: RunConfig, image_size: int, patch: int) -> None:
        """``patch``: pixels along a patch. DataError where labels are asked for that are not there."""
        fits = min(config.optim.batch_size, len(dataset))
        self.config = config.model_copy(update={"optim": config.optim.model_copy(update={"batch_size": fits})})
        self.dataset, self.patch = dataset, patch
        labels = label_rows(dataset, config.data, config.seed)
        self.order: Order = batch_order(len(dataset), dataset.sharded, self.config, labels)
        self._maker = PartMaker(dataset, self.config, image_size, self.order, labels, patch)

    @property
    def by_choice(self) -> bool:
        """Whether pictures can be chosen. Of shards, and of labelled rows in a ratio, those of a batch are shown."""
        return isinstance(self.order, EpochOrder)

    def draw(self, step: int, rows: Sequence[int] = (), most: int = MOST) -> Drawn:
        """Views of ``rows`` in the epoch of ``step``; of the first ``most`` pictures of batch ``step`` without any.

        DataError when none of them can be read.
        """
        epoch = step // self.order.steps_per_epoch
        if not rows or not isinstance(self.order, EpochOrder):
            places = [(step, position) for position in range(min(most, self.order.batch_size))]
            return self._draw(epoch, places, [])
        size, first = self.order.batch_size, epoch * self.order.steps_per_epoch
        kept = self.order.order(epoch)[: self.order.steps_per_epoch * size].tolist()
        at = {row: position for position, row in enumerate(kept)}
        places = [(first + at[row] // size, at[row] % size) for row in rows[:most] if row in at]
        return self._draw(epoch, places, [row for row in rows if row not in at])

    def _draw(self, epoch: int, places: Sequence[Place], skipped: list[int]) -> Drawn:
        if not places:
            return Drawn([], epoch, [], [], [], skipped)
        wanted, passes = self._taken(places)
        own = self._made(wanted, passes)
        views = list(self._views(own))
        mixes = [self._mixes(view, places) for view in views]
        partners = list(dict.fromkeys(place for found in mixes for place, _ in found))
        others = self._made(*self._taken(partners)) if partners else own
        at = {place: index for index, place in enumerate(partners)}
        shown = [
            _shown(view, theirs.view.images, [(at[place], mix) for place, mix in found], others.rows.tolist())
            for view, theirs, found in zip(views, self._views(others), mixes, strict=True)
        ]
        captions = self._captions(own.rows.numpy(), passes)
        return Drawn(own.rows.tolist(), epoch, [batch for batch, _ in places], captions, shown, skipped)

    def _taken(self, places: Sequence[Place]) -> tuple[Rows, Integers]:
        """The rows at ``places``, and the pass through the data that each belongs to."""
        taken = [self.order.take(batch, position, position + 1) for batch, position in places]
        passes = [np.broadcast_to(np.asarray(one, np.int64), 1) for _, one in taken]
        return np.concatenate([rows for rows, _ in taken]), np.concatenate(passes)

    def _made(self, rows: Rows, passes: Integers) -> Batch:
        part = self._maker.make(rows, passes)
        if part.batch is None:
            raise DataError(f"No picture of {self.dataset.origin} can be read; check the files.")
        return part.batch

    def _views(self, batch: Batch) -> Iterator[_Asked]:
        """Every view that a step is given, as `Joiner` and `Network.forward_teacher` say who sees it."""
        views, taught = self.config.views, self.config.teacher.kind != "none"
        sees_clean = taught and not views.shared and views.teacher.count == 0
        whole = views.clean.keep == 1.0
        yield _Asked("Clean", "both" if sees_clean and whole else "student", batch.clean, views.clean, self.patch)
        for number, view in enumerate(batch.student):
            local = number - views.student.count + 1
            title = (
                _numbered("Local", local, views.local)
                if view.local
                else _numbered("Student", number + 1, views.student)
            )
            yield _Asked(title, "student", view, views.local if view.local else views.student, self.patch)
        if sees_clean and not whole:
            yield _Asked("Clean", "teacher", batch.clean.whole(), None, self.patch)
        for number, view in enumerate(batch.teacher):
            yield _Asked(_numbered("Teacher", number + 1, views.teacher), "teacher", view, views.teacher, self.patch)
        if taught and views.shared:
            for number, view in enumerate(batch.student[: views.student.count]):
                yield _Asked(_numbered("Student", number + 1, views.student), "teacher", view.whole(), None, self.patch)

    def _mixes(self, asked: _Asked, places: Sequence[Place]) -> list[tuple[Place, Mix]]:
        """For each of ``places`` its partner's and how they are mixed; empty where the view is not interpolated."""
        if asked.config is None or asked.config.mix == "none":
            return []
        found = []
        for batch, position in places:
            mix = mix_of(asked.config, asked.view, self.config.seed, batch, self.order.batch_size)
            assert mix is not None
            found.append(((batch, int(mix.partner[position])), mix))
        return found

    def _captions(self, rows: Rows, passes: Integers) -> list[str]:
        chances = caption_chances(self.config.seed, passes, rows).tolist()
        every = [self.dataset.captions_of(row) for row in rows.tolist()]
        return [own[int(chance * len(own))] if own else "" for own, chance in zip(every, chances, strict=True)]


@dataclass(frozen=True)
class _Asked:
    """A view, who sees it, and what asks for it; None where it is another's, seen whole."""

    title: str
    who: str
    view: View
    config: ViewConfig | None
    patch: int

    @property
    def patches(self) -> int:
        """Of the view, P."""
        across: int = self.view.images.shape[-1] // self.patch
        return across * across


def _numbered(name: str, number: int, config: ViewConfig) -> str:
    return f"{name} {number}" if config.count > 1 else name


def _shown(asked: _Asked, partners: Tensor, mixes: Sequence[tuple[int, Mix]], rows: Sequence[int]) -> Shown:
    """``asked`` as it reaches the tower. ``mixes``: each picture's partner among ``partners``, which are ``rows``."""
    view, images, mixed = asked.view, asked.view.images, tuple[Mixed | None, ...]()
    if mixes:
        pairs = zip(view.images, mixes, strict=True)
        images = torch.stack([_blended(image, partners[other], mix) for image, (other, mix) in pairs])
        mixed = tuple(Mixed(rows[other], mix.share, mix.box) for other, mix in mixes)
    left_out = None
    if view.kept is not None:
        left_out = torch.ones(len(images), asked.patches, dtype=torch.bool).scatter_(1, view.kept, False)
    return Shown(
        asked.title,
        asked.who,
        view.local,
        images,
        view.mask,
        left_out,
        view.attended,
        mixed or (None,) * len(images),
    )


def _blended(image: Tensor, partner: Tensor, mix: Mix) -> Tensor:
    """(3, S, S) uint8: ``image`` interpolated as in the tower's input, whose colours are scaled alike."""
    both = replace(mix, partner=torch.tensor([1, 0])).apply(torch.stack([image, partner]).float())
    return both[0].round().clamp(0, 255).to(torch.uint8)
