"""The task localisation: canvases of four images each, and how well their patches fit the four captions.

Flow: `Work` -> images with different captions -> canvases -> embeddings of patches, relevances -> `Outcome`.

Legend: N images, C canvases, P patches, S side of a canvas, D embed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.dataset import PairDataset
from core.data.errors import ImageError
from core.data.views.making import centre_view
from core.evaluation.work import DATA_DIGEST, Work
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


def localisation(work: Work) -> Outcome:
    """Whether the patches that fit a caption best are those of its image, on canvases of four images."""
    model = work.model
    network, side = model.network, model.network.image_size
    dataset = open_images(model, work.request.data, work.progress, work.log)
    rows = _rows_of_canvases(dataset)
    canvases = torch.stack([_canvas(dataset, four, side) for four in rows])  # (C, 3, S, S)
    owner = torch.stack([patch_owners(canvas, network.towers.patch_side) for canvas in canvases])  # (C, P)
    captions = [[dataset.captions_of(row)[0] for row in four] for four in rows]
    scores, relevances = [], []
    for number, (canvas, texts) in enumerate(zip(canvases, captions, strict=True)):
        work.progress("locating captions", number, len(rows))
        embedded = encode_texts(network, texts, model.runtime)  # (4, D)
        scores.append(embedded @ _patch_vectors(work, canvas).T)
        relevances.append(torch.stack([relevance(network, canvas, text).patches.flatten() for text in texts]))
    outcome = localisation_outcome(torch.stack(scores), torch.stack(relevances), owner)
    names = [[dataset.path(row).name for row in four] for four in rows]
    notes = [*unreadable(dataset), f"{len(rows)} canvases of {IMAGES} images; chance is 25 % (pointing), 14.3 % (IoU)."]
    return replace(outcome, notes=tuple(notes), details={DATA_DIGEST: queries_digest(names)})


def _patch_vectors(work: Work, canvas: Tensor) -> Tensor:
    """Unit vectors (P, D) of the patches of a canvas (3, S, S)."""
    towers, runtime = work.model.network.towers, work.model.runtime
    with evaluating(work.model.network), torch.no_grad(), runtime.autocast():
        embedded = towers.embed_patches(towers.normalise(canvas[None].to(runtime.device)))[0]
    return F.normalize(embedded.float(), dim=1).cpu()


def _rows_of_canvases(dataset: PairDataset) -> list[list[int]]:
    """Up to `MAX_CANVASES` groups of rows in random order, the same at each call; the captions of a group differ.

    Raises EvaluationError if there is no group.
    """
    remaining = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    groups: list[list[int]] = []
    while len(groups) < MAX_CANVASES:
        group: dict[str, int] = {}
        skipped = []
        while remaining and len(group) < IMAGES:
            row = remaining.pop()
            captions = dataset.captions_of(row)
            if captions and captions[0] in group:
                skipped.append(row)
            elif captions and _is_readable(dataset, row):
                group[captions[0]] = row
        if len(group) < IMAGES:
            break
        groups.append(list(group.values()))
        remaining += reversed(skipped)
    if not groups:
        raise EvaluationError(f"{dataset.origin} has fewer than {IMAGES} readable images with different captions.")
    return groups


def _is_readable(dataset: PairDataset, row: int) -> bool:
    try:
        dataset.image(row)
    except ImageError as error:
        dataset.mark_broken(row, error)
        return False
    return True


def _canvas(dataset: PairDataset, rows: Sequence[int], side: int) -> Tensor:
    """The images of ``rows`` in two rows of two, (3, S, S) uint8; with an odd side, one line is repeated."""
    views = [centre_view(dataset.image(row), side // 2) for row in rows]
    top, bottom = torch.cat(views[:2], dim=2), torch.cat(views[2:], dim=2)
    canvas = torch.cat([top, bottom], dim=1)
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
    whole = canvas[:, : len(start) * patch_side, : len(start) * patch_side].float()
    highest = F.max_pool2d(whole[None], patch_side)[0]
    lowest = -F.max_pool2d(-whole[None], patch_side)[0]
    contrast = (highest - lowest).amax(dim=0)  # (rows, columns)
    return owner.masked_fill(contrast < _MIN_CONTRAST, -1).flatten()
