"""The caption filter's ranking against cleanlab's, both of which drop the same number of pairs.

Run: ``pip install cleanlab``, then
``python -m tests.benchmarks.cleanlab_peer OUT.json NAME=DATA.csv ... [--pretrained RUN]``.

Words are labels for cleanlab (`cleanlab.multilabel_classification`, Thyagarajan et al. 2022). Its probabilities are
those of the filter's kernel ridge regression, cross-validated by scikit-learn, on the same image descriptors and, with
a pretrained model, on its image features as well. cleanlab decides how many pairs to drop (confident learning); the
filter drops as many, those with the lowest odds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.data.derived.noisy import mismatched_captions
from core.objectives.weighting.caption_filter import describe_images
from core.objectives.weighting.words import MIN_COUNT, RIDGE, pair_odds
from core.spec.files import write_whole
from core.spec.study.config import NoiseKind
from tests.benchmarks.filtering import DRAWS, GROUP, encode_pairs, open_pairs

CASES: tuple[tuple[NoiseKind, float], ...] = (
    ("shuffled", 0.0),
    ("shuffled", 0.2),
    ("shuffled", 0.4),
    ("in-group", 0.2),
    ("in-group", 0.4),
)
_MARGIN = 1e-4


def cleanlab_issues(features: Tensor, captions: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs cleanlab would drop (P,) bool, and its quality scores (P,), low if mismatched."""
    from cleanlab.multilabel_classification.filter import find_label_issues  # noqa: PLC0415
    from cleanlab.multilabel_classification.rank import get_label_quality_scores  # noqa: PLC0415
    from sklearn.kernel_ridge import KernelRidge  # noqa: PLC0415
    from sklearn.model_selection import KFold, cross_val_predict  # noqa: PLC0415

    words = [sorted(set(re.findall(r"\w+", caption.lower()))) for caption in captions]
    counts = Counter(word for some in words for word in some)
    index = {word: i for i, word in enumerate(word for word in counts if counts[word] >= MIN_COUNT)}
    present = np.zeros((len(captions), len(index)))
    for row, some in enumerate(words):
        present[row, [index[word] for word in some if word in index]] = 1.0
    x = features.double().numpy()
    gamma = 1.0 / np.square(x - x.mean(axis=0)).sum(axis=1).mean()
    frequency = present.mean(axis=0)
    regression = KernelRidge(alpha=RIDGE, kernel="rbf", gamma=gamma)
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = frequency + cross_val_predict(regression, x, present - frequency, cv=folds)
    predicted = predicted.clip(_MARGIN, 1 - _MARGIN)
    labels = [np.flatnonzero(row).tolist() for row in present]
    issues = find_label_issues(labels, predicted, filter_by="confident_learning", n_jobs=1)
    return issues, get_label_quality_scores(labels, predicted)


def compare(
    descriptors: Tensor, captions: list[str], groups: list[str], kind: NoiseKind, rate: float, draw: int, fit: Any
) -> dict[str, Any]:
    """The results of both for one draw of the noise; in per cent, None where nothing is mismatched."""
    originals = [(caption,) for caption in captions]
    changed = mismatched_captions(originals, rate, draw, kind, groups) if rate else originals
    mismatched = np.array([new != old for new, old in zip(changed, originals, strict=True)])
    texts, features = [caption for (caption,) in changed], descriptors
    if fit is not None:
        first_row = {caption: row for row, caption in reversed(list(enumerate(captions)))}
        fit = replace(fit, texts=fit.texts[torch.tensor([first_row[caption] for caption in texts])])
        features = torch.cat([descriptors, fit.images], dim=1)
    odds = pair_odds(descriptors, texts, torch.arange(len(texts)), None, fit)
    kept_by_filter = odds.clean_probability().numpy() >= 0.5
    issues, quality = cleanlab_issues(features, texts)
    count = int(issues.sum())

    def found(dropped: np.ndarray) -> float | None:
        return round(100 * float(mismatched[dropped].sum()) / int(mismatched.sum()), 1) if mismatched.any() else None

    def lowest(scores: np.ndarray, number: int) -> np.ndarray:
        return np.argsort(scores, kind="stable")[:number]

    return {
        "kind": kind,
        "rate": rate,
        "draw": draw,
        "pairs": len(texts),
        "mismatched": int(mismatched.sum()),
        "cleanlab_dropped": count,
        "cleanlab_found": found(issues),
        "filter_found": found(lowest(odds.odds.numpy(), count)),
        "filter_dropped": int((~kept_by_filter).sum()),
        "cleanlab_found_at_filter": found(lowest(quality, int((~kept_by_filter).sum()))),
        "filter_own_found": found(~kept_by_filter),
    }


def main(arguments: list[str]) -> int:
    """Compute the missing rows, and write the file after each row."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cleanlab_peer")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("data", nargs="+", metavar="NAME=DATA.csv")
    parser.add_argument("--pretrained", default="", metavar="RUN")
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = json.loads(options.out.read_text()) if options.out.exists() else []
    for name, _, source in (argument.partition("=") for argument in options.data):
        dataset = open_pairs(source)
        fit = encode_pairs(source, options.pretrained) if options.pretrained else None
        groups = [dataset.labels(row).get(GROUP, "") for row in range(len(dataset))]
        _, descriptors = describe_images(dataset, None)
        for kind, rate, draw in [(kind, rate, draw) for draw in DRAWS for kind, rate in CASES]:
            key = {"data": name, "kind": kind, "rate": rate, "draw": draw}
            if (rate == 0.0 and draw != DRAWS[0]) or any(key.items() <= row.items() for row in rows):
                continue
            rows.append({"data": name} | compare(descriptors, list(dataset.captions), groups, kind, rate, draw, fit))
            print(rows[-1], flush=True)
            write_whole(options.out, ("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
