"""Caption bootstrapping (BLIP, Li et al. 2022, section 3.3): the trained model captions every training image, and its
matching head filters original and generated captions.

Flow: a finished stage and its training data -> **bootstrap** -> the manifest that the next stage trains on.

Legend: P pairs.
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
from core.inference.fusing import generated_captions
from core.metrics.inputs import EvaluationError
from core.spec.files import write_whole
from core.spec.run.folder import RunDir

MADE = "made"  # column that says whether the model generated the caption
MATCHING = "matching"

Progress = Callable[[str, int, int], None]


def caption_and_filter(run: RunDir, source: str, target: Path, progress: Progress) -> dict[str, int]:
    """Write the manifest ``target``: each image of ``source`` with its matching captions, original or generated.

    A caption matches when the head's probability is at least 0.5; without a matching head, when its cosine is at least
    the median of the original pairs'. An image without a match keeps its best caption, so that the numbers of
    images and steps do not change. Returns the numbers {"images", "given", "made"} in the manifest.
    """
    model = open_model(f"{run.path}@last")
    towers = model.network.towers
    data = open_dataset(source, model.data, model.network.image_size, towers.tokenize, pad_id=towers.pad_id)
    generated = generated_captions(model, data, progress)
    rows = sorted(generated)
    pairs = [(row, caption, False) for row in rows for caption in data.captions_of(row)]
    pairs += [(row, generated[row], True) for row in rows if generated[row].strip()]
    scores = _scores(model, data, [(row, caption) for row, caption, _ in pairs], progress)
    original = sum(not is_generated for *_, is_generated in pairs)
    threshold = 0.0 if MATCHING in model.network.heads else float(scores[:original].median())
    matching: dict[int, list[tuple[str, bool]]] = {}
    best: dict[int, tuple[float, str, bool]] = {}
    for (row, caption, is_generated), score in zip(pairs, scores.tolist(), strict=True):
        if score >= threshold:
            matching.setdefault(row, []).append((caption, is_generated))
        if row not in best or score > best[row][0]:
            best[row] = (score, caption, is_generated)
    selected = {row: matching.get(row) or [best[row][1:]] for row in rows}
    _write(target, data, selected, source)
    counts = [is_generated for captions in selected.values() for _, is_generated in captions]
    return {"images": len(selected), "given": counts.count(False), "made": counts.count(True)}


@torch.no_grad()
def _scores(model: Model, data: PairDataset, pairs: list[tuple[int, str]], progress: Progress) -> Tensor:
    """The match of each caption and its image, (P,): logits of the matching head, or cosines without such a head."""
    network, runtime = model.network, model.runtime
    head = network.head(MATCHING)
    scores = []
    for start in range(0, len(pairs), model.batch):
        progress("filtering captions", start, len(pairs))
        batch = pairs[start : start + model.batch]
        images = torch.stack([centre_view(data.image(row), network.image_size) for row, _ in batch])
        images = images.to(runtime.device)
        tokens = network.towers.tokenize([caption for _, caption in batch]).to(runtime.device)
        with runtime.autocast():
            if head is not None and network.fusion is not None:
                scores.append(match_scores(head, network.fuse(images, tokens)).cpu())
            else:
                scores.append((network.encode_images(images) * network.encode_texts(tokens)).sum(dim=1).float().cpu())
    if not scores:
        raise EvaluationError("there are no captions to filter; choose data with captions.")
    return torch.cat(scores)


def _write(target: Path, data: PairDataset, selected: dict[int, list[tuple[str, bool]]], source: str) -> None:
    names = names_below([str(data.path(row)) for row in selected], target.parent)
    labels = open_source(source).label_names
    pairs = (
        (name, caption, [*(data.labels(row).get(label, "") for label in labels), int(is_generated)])
        for name, (row, captions) in zip(names, selected.items(), strict=True)
        for caption, is_generated in captions
    )
    write_whole(target, manifest(pairs, [*labels, MADE]))
