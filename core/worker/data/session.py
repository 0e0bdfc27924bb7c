"""The Data panel's session in a worker: content, rows, views and checks of a source, and derived sources.

Flow: panel, data card -> worker -> **session** -> ``core.data`` -> plain data. No model is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core.data.dataset import pack_source
from core.data.derived.subset import SavedManifest, hold_out, save_subset
from core.data.pairs import Pairs
from core.data.preprocessing import decoding_for
from core.data.sources.shards.collection import Shards
from core.model.towers.sizes import input_sizes
from core.spec.config import RunConfig, expand_user, validate
from core.spec.errors import writing
from core.spec.files import whole_file
from core.spec.reporter import Reporter
from core.spec.shards import is_shards
from core.worker.data.checking import check_source, overlap
from core.worker.data.describing import describe_source
from core.worker.data.rows import open_rows, rows_of
from core.worker.data.views import CachedImages, CachedPairs, CachedShards, DrawnViews, ShownView, ViewMaker
from core.worker.session import Recent, Session, Verb, modified_at

MAX_DATASETS = 2  # data sets with rows and decoded images in memory


class DataSession(Session):
    """Handles requests about data sources; caches rows and images of the views."""

    def __init__(self) -> None:
        self._sets: Recent[tuple[str, int, int, int, str], CachedImages] = Recent(MAX_DATASETS)

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {
            "describe_source": describe_source,
            "data_open": open_rows,
            "data_check": check_source,
            "data_overlap": overlap,
            "data_save": save,
            "data_hold_out": hold_out_split,
            "data_views": self.views,
        }

    def views(
        self,
        config: Mapping[str, Any],
        to: str,
        progress: Reporter,
        step: int = 0,
        rows: Sequence[int] = (),
        most: int = 12,
    ) -> dict[str, Any]:
        """The views of student and teacher at ``step``, for at most ``most`` of ``rows`` of the training data.

        Pixels (RGB, row by row) are written to the new file ``to``. The answer: epoch, steps_per_epoch, batch, images
        ([{row, path, caption, batch}]), views ([{title, who, local, side, patch, cells}]) with a cell per
        image ({offset of its pixels, mask: see `_marks`, mixed: {path, caption, share, box} or None}), skipped (rows in
        no batch of this epoch), by_choice (see `ViewMaker.by_choice`).

        Raises UserError for an invalid config or invalid data.
        """
        run_config = validate(dict(config), "the experiment")
        size, patch = input_sizes(run_config.towers.architecture)
        dataset = self._dataset(run_config, size, progress)
        maker = ViewMaker(dataset, run_config, size, patch)
        with _one_thread():
            drawn = maker.draw(step, rows, most)
        views, offset = [], 0
        with writing(to), whole_file(Path(to), durable=False) as file:
            for view in drawn.shown:
                views.append(_view_as_json(view, dataset, patch, offset))
                offset += file.write(view.images.permute(0, 2, 3, 1).contiguous().numpy().data)  # (n, S, S, 3)
        return {
            "epoch": drawn.epoch,
            "steps_per_epoch": maker.order.steps_per_epoch,
            "batch": maker.order.batch_size,
            "by_choice": maker.by_choice,
            "images": _images_as_json(drawn, dataset),
            "views": views,
            "skipped": drawn.skipped,
        }

    def _dataset(self, config: RunConfig, size: int, progress: Reporter) -> CachedImages:
        """The rows of ``data.train``, read in the same way as in training, without tokenised captions."""
        data = config.data
        decoding = decoding_for(size, data)
        key = (
            data.train,
            modified_at(expand_user(data.train)),
            decoding.shorter_side,
            decoding.max_megapixels,
            data.decoding,
        )

        def open_pairs() -> CachedImages:
            if is_shards(data.train):
                return CachedShards(Shards.open(data.train, progress), _empty_tokens, decoding, 0)
            source = rows_of(data.train, progress, images_only=True)[0]
            captions = sum(len(row.captions) for row in source.rows)
            return CachedPairs(pack_source(source, torch.zeros(captions, 1, dtype=torch.int32)), decoding, None)

        return self._sets.get(key, open_pairs)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: a few images gain little from several threads, which block each other while a trainer runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _empty_tokens(captions: Sequence[str]) -> torch.Tensor:
    return torch.zeros(len(captions), 1, dtype=torch.int64)


def _images_as_json(drawn: DrawnViews, dataset: Pairs) -> list[dict[str, Any]]:
    facts = zip(drawn.rows, drawn.captions, drawn.batches, strict=True)
    return [{"row": row, "path": str(dataset.path(row)), "caption": text, "batch": batch} for row, text, batch in facts]


def _view_as_json(view: ShownView, dataset: Pairs, patch: int, offset: int) -> dict[str, Any]:
    """``offset``: position of the view's first byte in the file of pixels."""
    cells = []
    for index, image in enumerate(view.images):
        mixed = view.mixed[index]
        cells.append(
            {
                "offset": offset + index * image.numel(),
                "mask": _marks(view, index),
                "mixed": None
                if mixed is None
                else {
                    "path": str(dataset.path(mixed.row)),
                    "caption": next(iter(dataset.captions_of(mixed.row)), ""),
                    "share": mixed.share,
                    "box": list(mixed.box or ()),
                },
            }
        )
    return {
        "title": view.title,
        "who": view.who,
        "local": view.local,
        "side": view.images.shape[-1],
        "patch": patch,
        "cells": cells,
    }


def _marks(view: ShownView, index: int) -> str:
    """One character per patch of an image: 1 masked, 2 dropped, 0 otherwise; "" if all patches are visible."""
    if view.mask is None and view.left_out is None:
        return ""
    patch_mask = view.mask if view.mask is not None else view.left_out
    assert patch_mask is not None
    marks = torch.zeros(patch_mask.shape[1], dtype=torch.int64)
    if view.mask is not None:
        marks[view.mask[index]] = 1
    if view.left_out is not None:
        marks[view.left_out[index]] = 2
    return "".join(map(str, marks.tolist()))


def save(
    source: str,
    to: str,
    progress: Reporter,
    excluded: Sequence[str] = (),
    only: Sequence[str] = (),
    replace: bool = False,
) -> dict[str, Any]:
    """Write ``source`` without ``excluded``, or with ``only`` these images, as the manifest ``to`` (`save_subset`)."""
    return _saved_as_json(save_subset(source, Path(to), progress, excluded, only, replace))


def hold_out_split(
    source: str, progress: Reporter, share: float = 0.1, seed: int = 0, folder: str = ""
) -> dict[str, Any]:
    """Split ``source`` into training and validation parts (`hold_out`): train, held_out."""
    train, held_out = hold_out(source, share, seed, progress, Path(folder) if folder else None)
    return {"train": _saved_as_json(train), "held_out": _saved_as_json(held_out)}


def _saved_as_json(saved: SavedManifest) -> dict[str, Any]:
    return {"path": str(saved.path), "images": saved.images, "captions": saved.captions}
