"""``python -m tests.benchmarks classify``: the evaluators against CLIP_benchmark and scikit-learn, and their pace.

Agreement is shown as 1 minus the largest difference. CLIP_benchmark's metric functions are fed our features and scores;
its linear probe is another method (AdamW on standardised features, on a GPU), so of it only the scoring is comparable:
its ``accuracy`` of our probe's logits. scikit-learn's own sweep takes all 97 values of C that ours searches; it is
broken off when it has taken so long that the comparison is decided, and the ratio is then a lower bound.

Legend: N rows, D width, K classes, M captions.
"""

from __future__ import annotations

import importlib
import math
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from core.bench.results import BenchResult, result
from core.metrics.classification.labels import Labels
from core.metrics.classification.linear_probe import C_GRID, HELD_OUT_SHARE, linear_probe, search_C, stratified_split
from core.metrics.classification.logistic import ProbeData, ProbeSettings
from core.metrics.classification.zero_shot import class_logits, zero_shot
from core.metrics.outcome import Floats, Integers
from core.metrics.retrieval import ranks, retrieval_metrics
from core.spec.errors import UserError

RECALLS = (1, 5, 10)


@dataclass(frozen=True)
class Size:
    """How large the timed problems are."""

    captions: int
    images: int
    rows: int
    width: int
    classes: int


SIZES = {
    "small": Size(captions=5000, images=1000, rows=3000, width=128, classes=20),
    "full": Size(captions=25_000, images=5000, rows=50_000, width=512, classes=100),
}
DECIDED = 4.0  # times our own seconds after which the plain sweep is broken off


def run(peer: Path | None = None, size: str = "small") -> list[BenchResult]:
    """All rows. ``peer`` is a folder that holds clip_benchmark, where it is not installed.

    The full size is for a quiet machine and takes the better part of an hour.
    """
    if peer is not None:
        sys.path.insert(0, str(peer))
    chosen = SIZES[size]
    return [*_clip_benchmark(), *_retrieval_pace(chosen), _sweep(chosen)]


def _theirs(module: str) -> Any:
    try:
        return importlib.import_module(f"clip_benchmark.metrics.{module}")
    except ImportError as error:
        raise UserError(
            f"CLIP_benchmark is not here ({error}); pip install 'sdgui[bench]', or name its folder with --peer."
        ) from error


def _labels(targets: Tensor, count: int) -> Labels:
    return Labels(tuple(f"class {index:03d}" for index in range(count)), torch.arange(len(targets)), targets)


def _agreement(name: str, ours: float, theirs: float, at_most: float) -> BenchResult:
    return result(name, ours, theirs, "share", 1 - abs(ours - theirs), 1 - at_most)


def _clip_benchmark() -> list[BenchResult]:
    """Its zero-shot, probe and retrieval metrics on features of ours."""
    classifying, finding = _theirs("zeroshot_classification"), _theirs("zeroshot_retrieval")
    # Its ``accuracy`` calls float() on arrays of one value, which NumPy refuses from 2.4 on.
    classifying.float = lambda value: np.asarray(value).item()
    generator = torch.Generator().manual_seed(0)
    classes = torch.nn.functional.normalize(torch.randn(50, 64, generator=generator), dim=1)
    targets = torch.randint(50, (3000,), generator=generator)
    images = classes[targets] + 0.35 * torch.randn(3000, 64, generator=generator)
    labels = _labels(targets, 50)
    metrics = zero_shot(images, labels, classes).metrics()
    logits = torch.cat(list(class_logits(images, classes)))
    acc1, acc5 = classifying.accuracy(logits, targets, topk=(1, 5))
    recall = classifying.balanced_accuracy_score(targets.numpy(), logits.argmax(dim=1).numpy())
    rows = [
        _agreement("zero-shot acc1, CLIP_benchmark's", metrics["acc1"], float(acc1), 1e-4),
        _agreement("zero-shot acc5, CLIP_benchmark's", metrics["acc5"], float(acc5), 1e-4),
        _agreement("mean per-class recall, CLIP_benchmark's", metrics["mean_per_class_recall"], float(recall), 1e-4),
    ]
    fitted = linear_probe(ProbeData(images[:1000], _labels(targets[:1000], 50)), ProbeData(images, labels))
    (lp1,) = classifying.accuracy(fitted.probe.logits(images), targets, topk=(1,))
    rows.append(_agreement("acc1 of our probe, CLIP_benchmark's", fitted.test.metrics()["acc1"], float(lp1), 1e-4))
    return rows + _their_recalls(finding, generator)


def _their_recalls(finding: Any, generator: torch.Generator) -> list[BenchResult]:
    """Recalls at 1, 5 and 10 of 500 images with five captions each."""
    images = torch.nn.functional.normalize(torch.randn(500, 64, generator=generator), dim=1)
    owner = torch.arange(500).repeat_interleave(5)
    texts = torch.nn.functional.normalize(images[owner] + 0.3 * torch.randn(2500, 64, generator=generator), dim=1)
    ours = retrieval_metrics(images, texts, owner)
    scores = texts @ images.T
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(2500), owner] = True
    rows = []
    for k in RECALLS:
        for name, one, other in (("text_to_image", scores, positive), ("image_to_text", scores.T, positive.T)):
            found = finding.batchify(finding.recall_at_k, one, other, 64, "cpu", k=k)
            theirs = float((found > 0).float().mean())
            rows.append(_agreement(f"{name} R@{k}, CLIP_benchmark's", ours[f"{name}_R@{k}"], theirs, 1e-4))
    return rows


def _plain_sweep(
    x: Floats, y: Integers, val_x: Floats, val_y: Integers, seconds: float = math.inf
) -> tuple[float, int]:
    """The best C, and how many were tried: all, if that takes no more than ``seconds``."""
    accuracies = []
    ends = time.perf_counter() + seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for C in C_GRID:
            if time.perf_counter() > ends:
                break
            accuracies.append(LogisticRegression(C=float(C), max_iter=1000).fit(x, y).score(val_x, val_y))
    return float(C_GRID[int(np.argmax(accuracies))]), len(accuracies)


def _retrieval_pace(size: Size) -> list[BenchResult]:
    """Seconds and memory for both ways; the limits stand where a peer would."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size.images, 512, generator=generator)
    owner = torch.arange(size.captions) % size.images
    texts = images[owner] + torch.randn(size.captions, 512, generator=generator)
    ranks(images[:100], texts[:100], owner[:100])  # warm
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    ranks(images, texts, owner)
    seconds = time.perf_counter() - started
    extra = max(1e-6, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)
    what = f"retrieval {size.captions} x {size.images} x 512"
    return [
        result(f"{what}, limit 5 s", seconds, 5.0, "s", 5.0 / seconds, 1.0),
        result("  its memory, limit 1 GiB", extra, 1.0, "GiB", 1.0 / extra, 1.0),
    ]


def _sweep(size: Size) -> BenchResult:
    """The whole search of C against scikit-learn's plain sweep of the same values."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(size.classes, size.width))
    y = random.integers(size.classes, size=size.rows)
    x = centres[y] + 4.0 * random.normal(size=(size.rows, size.width))
    kept, held = stratified_split(y, HELD_OUT_SHARE, 0)
    started = time.perf_counter()
    search_C(x[kept], y[kept], x[held], y[held], ProbeSettings())
    ours = time.perf_counter() - started
    started = time.perf_counter()
    _, tried = _plain_sweep(x[kept], y[kept], x[held], y[held], DECIDED * ours)
    theirs = time.perf_counter() - started
    name = f"search of C, {size.rows} x {size.width}, {size.classes} classes"
    if tried < len(C_GRID):
        name += f" (peer: {tried} of {len(C_GRID)})"
    return result(name, ours, theirs, "s", theirs / ours, 3.0)
