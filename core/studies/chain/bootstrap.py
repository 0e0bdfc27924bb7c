"""Captions bootstrapped (BLIP, Li et al. 2022, section 3.3): the trained model captions every training image, and of
the given and the new captions its matching head keeps those that match.

Flow: a finished stage and its training data -> **bootstrap** -> a manifest that the next stage is trained on.

Legend: P pairs, F fused width.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset, open_dataset
from core.data.derived.manifest import manifest
from core.data.derived.names import names_below
from core.data.sources.opening import open_source
from core.data.views.making import centre_view
from core.evaluation.pairs import match_scores
from core.inference.fusing import own_captions
from core.metrics.inputs import EvaluationError
from core.spec.files import write_whole
from core.spec.run.folder import RunDir

MADE = "made"  # the column that says whether a caption is the model's
MATCHING = "matching"

Progress = Callable[[str, int, int], None]


def caption_and_filter(run: RunDir, source: str, manifest: Path, progress: Progress) -> dict[str, int]:
    """Write ``manifest``: each image of ``source`` with those of its captions, given or made, that match.

    A caption matches where the head says so with at least even odds; without a matching head where the cosine is at
    least the median of the given pairs'. An image of which none is left keeps its likelier one, so that the number of
    images, and with it of steps, stays. Returns {"images", "given", "made"}: what is left.
    """
    model = open_model(f"{run.path}@last")
    towers = model.network.towers
    data = open_dataset(source, model.data, model.network.image_size, towers.tokenize, pad_id=towers.pad_id)
    written = own_captions(model, data, progress)
    rows = sorted(written)
    pairs = [(row, caption, False) for row in rows for caption in data.captions_of(row)]
    pairs += [(row, written[row], True) for row in rows if written[row].strip()]
    scores = _scores(model, data, [(row, caption) for row, caption, _ in pairs], progress)
    limit = 0.0 if MATCHING in model.network.heads else float(scores[: sum(not made for *_, made in pairs)].median())
    kept: dict[int, list[tuple[str, bool]]] = {}
    best: dict[int, tuple[float, str, bool]] = {}
    for (row, caption, made), score in zip(pairs, scores.tolist(), strict=True):
        if score >= limit:
            kept.setdefault(row, []).append((caption, made))
        if row not in best or score > best[row][0]:
            best[row] = (score, caption, made)
    chosen = {row: kept.get(row) or [best[row][1:]] for row in rows}
    _write(manifest, data, chosen, source)
    counts = [made for some in chosen.values() for _, made in some]
    return {"images": len(chosen), "given": counts.count(False), "made": counts.count(True)}


@torch.no_grad()
def _scores(model: Model, data: PairDataset, pairs: list[tuple[int, str]], progress: Progress) -> Tensor:
    """How well each caption matches its image, (P,): logits of the matching head, or cosines without one."""
    network, runtime = model.network, model.runtime
    head = network.head(MATCHING)
    found = []
    for start in range(0, len(pairs), model.batch):
        progress("filtering captions", start, len(pairs))
        some = pairs[start : start + model.batch]
        images = torch.stack([centre_view(data.image(row), network.image_size) for row, _ in some])
        images = images.to(runtime.device)
        tokens = network.towers.tokenize([caption for _, caption in some]).to(runtime.device)
        with runtime.autocast():
            if head is not None and network.fusion is not None:
                found.append(match_scores(head, network.fuse(images, tokens)).cpu())
            else:
                found.append((network.encode_images(images) * network.encode_texts(tokens)).sum(dim=1).float().cpu())
    if not found:
        raise EvaluationError("there are no captions to filter.")
    return torch.cat(found)


def _write(to: Path, data: PairDataset, chosen: dict[int, list[tuple[str, bool]]], source: str) -> None:
    names = names_below([str(data.path(row)) for row in chosen], to.parent)
    labels = open_source(source).label_names
    pairs = (
        (name, caption, [*(data.labels(row).get(label, "") for label in labels), int(made)])
        for name, (row, captions) in zip(names, chosen.items(), strict=True)
        for caption, made in captions
    )
    write_whole(to, manifest(pairs, [*labels, MADE]))
