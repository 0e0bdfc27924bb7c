"""Models in a notebook: open by name, encode, caption, evaluate.

model = core.open_model("runs/first")
images = core.encode(model, images=["a.png", "b.png"])  # (2, D)
texts = core.encode(model, texts=["a red circle"])          # (1, D)
print(images @ texts.T)                                   # cosine similarities
print(core.evaluate(model, "pairs/val.csv", "retrieval"))
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from core.checkpoint.opening import Model, open_model
from core.evaluation.evaluate import Request
from core.evaluation.evaluate import evaluate as evaluate_request
from core.evaluation.report import Report as PlainReport
from core.evaluation.report import table
from core.inference.caption_stream import caption_images
from core.inference.captioning import CaptionModel
from core.inference.encoder import encode_images, encode_texts
from core.inference.images import ImageInput, find_images, read_ahead
from core.spec.errors import UserError, nearest
from core.spec.reading import excerpt

__all__ = ["Model", "Report", "caption", "encode", "evaluate", "open_model"]

_AHEAD = 64  # images decoded ahead of the model

Images = str | Path | Iterable[str | Path]


@dataclass(frozen=True)
class Report(PlainReport):
    """The outcome of an evaluation; prints as the table of ``sdgui-core evaluate``."""

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> value: shares from 0 to 1, unless the name says otherwise."""
        return dict(self.outcome.metrics)

    def __str__(self) -> str:
        return table(self)


def encode(
    model: Model, *, images: Images | None = None, texts: str | Iterable[str] | None = None
) -> NDArray[np.float32]:
    """Unit vectors (N, D) of ``images`` (files or folders) or of ``texts``, in order.

    ``a @ b.T`` of two such arrays gives cosine similarities. Raises UserError naming the first image that cannot be
    read, and ValueError unless exactly one of ``images`` and ``texts`` is given.
    """
    if (images is None) == (texts is None):
        raise ValueError("pass either images or texts")
    if texts is not None:
        return _encode_texts(model, [texts] if isinstance(texts, str) else list(texts))
    files = _files(images if images is not None else ())
    vectors, batch = [], []
    with torch.no_grad():
        for result in read_ahead(files, model.network.image_size, model.data, _AHEAD):
            if result.image is None:
                raise UserError(f"{result.path}: {result.error}.")
            batch.append(result.image)
            if len(batch) == model.batch:
                vectors.append(encode_images(model.network, torch.stack(batch), model.runtime))
                batch = []
        if batch:
            vectors.append(encode_images(model.network, torch.stack(batch), model.runtime))
    return _to_array(vectors, model)


def _encode_texts(model: Model, texts: Sequence[str]) -> NDArray[np.float32]:
    parts = [texts[start : start + model.batch] for start in range(0, len(texts), model.batch)]
    return _to_array([encode_texts(model.network, part, model.runtime) for part in parts], model)


def _to_array(parts: Sequence[torch.Tensor], model: Model) -> NDArray[np.float32]:
    if not parts:
        return np.zeros((0, model.network.towers.embed_dim), np.float32)
    return np.asarray(torch.cat(list(parts)).numpy(), np.float32)


def caption(model: Model, images: Images, **settings: Any) -> list[str]:
    """The best caption of each of ``images`` (files or folders), in order.

    ``settings``: ``beams``, ``prompt``, ``top_k`` and others of `core.spec.generation.GenerationSettings`. Raises
    UserError for a model that cannot caption, an unknown setting, or an image that cannot be read.
    """
    captioner = CaptionModel(model.subject.title, model)
    generation = captioner.settings(settings)
    files = _files(images)
    texts = [""] * len(files)
    with _Bar() as bar:
        for item in caption_images(captioner, files, generation, bar.show, bar.say):
            if item.error:
                raise UserError(f"{excerpt(item.path)}: {item.error}.")
            texts[item.index] = item.captions[0]["text"]
    return texts


def evaluate(model: Model, data: str | Path, task: str, **options: Any) -> Report:
    """Evaluate ``model`` on ``data`` (any data source): "retrieval", "zero-shot", "linear-probe", "fused-probe",
    "knn", "captioning" or "localisation".

    ``options``: ``label``, ``train``, ``shots``, ``k`` and others of `core.evaluation.request.Request`. Raises
    UserError for an unknown task or column, or unsuitable data.
    """
    options_of_request = [field.name for field in fields(Request) if field.name not in ("data", "task")]
    for name in options:
        if name not in options_of_request:
            near = nearest(name, options_of_request, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"available: {', '.join(options_of_request)}."
            raise UserError(f"evaluate has no option '{name}'; {hint}")
    with _Bar() as bar:
        report = evaluate_request(model, Request(data=os.fspath(data), task=task, **options), bar.show, bar.say)
    return Report(report.subject, report.outcome)


def _files(images: Images) -> list[ImageInput]:
    paths = list(images) if isinstance(images, Iterable) and not isinstance(images, str) else [images]
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            raise UserError(f"images must be paths; {excerpt(repr(path))} is not one. Save the image to a file first.")
    return find_images([os.fspath(path) for path in paths], lambda _doing, _done, _total: None).inputs


class _Bar:
    """A tqdm progress bar (a widget in notebooks) that disappears when the work is complete."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._doing = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, doing: str, done: int, total: int, /) -> None:
        if doing != self._doing:
            self.__exit__()
            self._doing, self._bar = doing, tqdm(desc=doing, total=total or None, leave=False)
        self._bar.update(done - self._bar.n)

    def say(self, text: str) -> None:
        tqdm.write(text)
