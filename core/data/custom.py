"""A custom data set: a sequence whose items are an image, its caption and optional labels.

Flow: the function in ``data.dataset`` is called with the value of ``data.train``, ``data.val`` and so on -> every item
is read once for its caption. Images that are paths are read, cached and shared like the images of a manifest; other
images are requested from the data set each time, by the loader's processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.custom.calling import check_takes_one
from core.custom.failures import file_of, user_code
from core.data.cache import Decoding
from core.data.dataset import Log, PairDataset, Progress, Tokenize, open_rows, pack_source, tokens_of
from core.data.errors import ImageError
from core.data.images import png_bytes
from core.data.preprocessing import decoding_for
from core.data.sources.rows import NO_LABELS, Row, Source, clean_caption
from core.data.sources.sharing import PackedSource
from core.spec.config import DataConfig
from core.spec.run.code import CodeError

ITEM = "(image, caption), (image, [captions]) or (image, captions, {label: value})"
ORIGIN = "custom data set"
"""The format of such data, in messages."""


class CustomPairs(PairDataset):
    """Rows whose images come from the user's data set on demand."""

    def __init__(self, packed: PackedSource, decoding: Decoding, pad_id: int, items: Any, what: str) -> None:
        super().__init__(packed, decoding, None, pad_id)
        self._items, self._what = items, what

    def image(self, row: int) -> Tensor:
        if row in self.broken:
            raise ImageError(self.broken[row])
        with user_code(self._what, file_of(self._items)):
            image = self._items[row][0]
        pixels = self.decoding.read(_to_decoder_input(image, self._what))
        return torch.from_numpy(pixels).permute(2, 0, 1)


def open_custom(
    make: Callable[[str], Any],
    what: str,
    source: str,
    config: DataConfig,
    image_size: int,
    tokenize: Tokenize,
    *,
    pad_id: int = 0,
    progress: Progress | None = None,
    log: Log | None = None,
) -> PairDataset:
    """The pairs of the data set that ``make`` returns for ``source``; ``what`` is the name of ``make`` in messages.

    Raises CodeError if ``make`` fails, or its data set is empty or has invalid items; DataError like ``open_dataset``.
    """
    check_takes_one(what, make, "name of the data")
    with user_code(what, file_of(make)):
        items = make(source)
    if not hasattr(items, "__getitem__") or not hasattr(items, "__len__"):
        raise CodeError(f"{what} returned {type(items).__name__} for {source!r}; it must have __len__ and __getitem__.")
    with user_code(what, file_of(items)):
        count = len(items)
    if count == 0:
        raise CodeError(f"{what} returned a data set of length 0 for {source!r}; check the name of the data.")
    rows, files = [], True
    for index in range(count):
        if progress is not None and index % 1024 == 0:
            progress("reading the custom data set", index, count)
        with user_code(what, file_of(items)):
            item = items[index]
        row = _to_row(item, index, what)
        files = files and isinstance(item[0], (str, Path))
        rows.append(row)
    names = tuple(dict.fromkeys(name for row in rows for name in row.labels))
    rows_source = Source(what, ORIGIN, rows, [], names)
    if files:
        return open_rows(rows_source, config, image_size, tokenize, pad_id=pad_id, progress=progress, log=log)
    tokens = tokens_of([caption for row in rows for caption in row.captions], tokenize, pad_id, progress)
    return CustomPairs(pack_source(rows_source, tokens), decoding_for(image_size, config), pad_id, items, what)


def _to_row(item: Any, index: int, subject: str) -> Row:
    """Item ``index`` as a row. Raises CodeError if the item is malformed."""
    if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 3:
        raise CodeError(f"{subject}: item {index} is {type(item).__name__}; it must be {ITEM}.")
    image, captions, labels = item if len(item) == 3 else (*item, {})
    texts = [captions] if isinstance(captions, str) else captions
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise CodeError(
            f"{subject}: the caption of item {index} is {type(captions).__name__}; it must be text or a list."
        )
    clean = tuple(filter(None, map(clean_caption, texts)))
    if not clean:
        raise CodeError(f"{subject}: item {index} has no caption.")
    if not isinstance(labels, Mapping):
        raise CodeError(f"{subject}: the labels of item {index} are {type(labels).__name__}; they must be a dict.")
    file = str(Path(image).absolute()) if isinstance(image, (str, Path)) else f"{subject}[{index}]"
    return Row(file, clean, {str(name): str(value) for name, value in labels.items()} or NO_LABELS, ORIGIN, index + 1)


def _to_decoder_input(image: Any, subject: str) -> str | Path | bytes:
    """``image`` as input for the decoder: a path, or the bytes of a file."""
    if isinstance(image, (str, Path)):
        return image
    if isinstance(image, Tensor):
        image = image.permute(1, 2, 0).numpy(force=True) if image.ndim == 3 else image
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        raise CodeError(
            f"{subject}: an image is {type(image).__name__}; it must be a path, a PIL image, a uint8 tensor (3, H, W) "
            "or a uint8 array (H, W, 3)."
        )
    return png_bytes(image)
