"""The task localisation: canvases of four images each, and how well their patches fit the four captions.

Flow: `Evaluation` -> images with different captions -> canvases -> embeddings of patches, relevances -> `Outcome`.

Legend: N images, C canvases, P patches, S side of a canvas, D embed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.dataset import PairDataset
from core.data.errors import ImageError
from core.data.views.making import centre_view
from core.evaluation.request import DATA_DIGEST, Evaluation
from core.inference.encoder import encode_texts
from core.inference.labelled import open_images, queries_digest, unreadable
from core.inference.relevance import relevance
from core.metrics.inputs import EvaluationError
from core.metrics.localisation import localisation_outcome
from core.metrics.outcome import Outcome
from core.model.eval_mode import evaluating

IMAGES = 4  # images of a canvas, in two rows
MAX_CANVASES = 250
_MIN_CONTRAST = 8  # difference of grey levels below which a patch is blank


def localisation(evaluation: Evaluation) -> Outcome:
    """Whether the patches that fit a caption best are those of its image, on canvases of four images."""
    model = evaluation.model
    network, side = model.network, model.network.image_size
    dataset = open_images(model, evaluation.request.data, evaluation.progress, evaluation.log)
    canvases = make_canvases(dataset, side)
    owner = torch.stack([patch_owners(canvas.pixels, network.towers.patch_side) for canvas in canvases])  # (C, P)
    cosines, relevances = [], []
    for number, canvas in enumerate(canvases):
        evaluation.progress("locating captions", number, len(canvases))
        texts = [dataset.captions_of(row)[0] for row in canvas.rows]
        embedded = encode_texts(network, texts, model.runtime)  # (4, D)
        cosines.append(embedded @ _patch_vectors(evaluation, canvas.pixels).T)
        relevances.append(torch.stack([relevance(network, canvas.pixels, text).patches.flatten() for text in texts]))
    outcome = localisation_outcome(torch.stack(cosines), torch.stack(relevances), owner)
    names = [[dataset.path(row).name for row in canvas.rows] for canvas in canvases]
    # IoU by chance: 1/16 of the patches are in both sets, 7/16 in at least one
    chance = f"{len(canvases)} canvases of {IMAGES} images; chance is 25 % (pointing), 14.3 % (IoU)."
    notes = [*unreadable(dataset), chance]
    return replace(outcome, notes=tuple(notes), details={DATA_DIGEST: queries_digest(names)})


def _patch_vectors(evaluation: Evaluation, canvas: Tensor) -> Tensor:
    """Unit vectors (P, D) of the patches of a canvas (3, S, S)."""
    towers, runtime = evaluation.model.network.towers, evaluation.model.runtime
    with evaluating(evaluation.model.network), torch.no_grad(), runtime.autocast():
        embedded = towers.embed_patches(towers.normalise(canvas[None].to(runtime.device)))[0]
    return F.normalize(embedded.float(), dim=1).cpu()


@dataclass(frozen=True)
class Canvas:
    """Four images in two rows."""

    rows: tuple[int, ...]  # of the data set
    pixels: Tensor  # (3, S, S) uint8


def make_canvases(dataset: PairDataset, side: int) -> list[Canvas]:
    """Up to `MAX_CANVASES` canvases of ``side``, of images in random order, the same at each call.

    The first captions of a canvas's images differ. Raises EvaluationError if there are too few.
    """
    remaining = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    canvases: list[Canvas] = []
    while len(canvases) < MAX_CANVASES:
        views: dict[str, tuple[int, Tensor]] = {}  # caption -> row, view
        skipped = []
        while remaining and len(views) < IMAGES:
            row = remaining.pop()
            captions = dataset.captions_of(row)
            if captions and captions[0] in views:
                skipped.append(row)
            elif captions and (view := _view(dataset, row, side // 2)) is not None:
                views[captions[0]] = row, view
        if len(views) < IMAGES:
            break
        rows, images = zip(*views.values(), strict=True)
        canvases.append(Canvas(rows, _join(images, side)))
        remaining += reversed(skipped)
    if not canvases:
        raise EvaluationError(f"{dataset.origin} has fewer than {IMAGES} readable images with different captions.")
    return canvases


def _view(dataset: PairDataset, row: int, side: int) -> Tensor | None:
    """The central square of an image, (3, side, side) uint8; None if it is unreadable."""
    try:
        return centre_view(dataset.image(row), side)
    except ImageError as error:
        dataset.mark_broken(row, error)
        return None


def _join(views: Sequence[Tensor], side: int) -> Tensor:
    """Four views in two rows, (3, S, S) uint8; with an odd side, the last line is repeated."""
    canvas = torch.cat([torch.cat([*views[:2]], dim=2), torch.cat([*views[2:]], dim=2)], dim=1)
    odd = side - canvas.shape[1]
    return F.pad(canvas.float(), (0, odd, 0, odd), mode="replicate").to(torch.uint8) if odd else canvas


def patch_owners(canvas: Tensor, patch_side: int) -> Tensor:
    """The image, 0 to 3, to which each patch of ``canvas`` (3, S, S) belongs, (P,) int64.

    -1 for patches on a border between images, and for blank patches, such as the background of an icon.
    """
    side, half = canvas.shape[1], canvas.shape[1] // 2
    start = torch.arange(0, side - side % patch_side, patch_side)
    position = torch.where(start >= half, 1, 0)
    position[(start < half) & (start + patch_side > half)] = -1
    owner = (2 * position[:, None] + position).masked_fill((position[:, None] < 0) | (position < 0), -1)
    covered = canvas[:, : len(start) * patch_side, : len(start) * patch_side].float()  # by complete patches
    highest = F.max_pool2d(covered[None], patch_side)[0]
    lowest = -F.max_pool2d(-covered[None], patch_side)[0]
    contrast = (highest - lowest).amax(dim=0)  # (rows, columns)
    return owner.masked_fill(contrast < _MIN_CONTRAST, -1).flatten()
