"""``python -m tests.benchmarks noise``: wrong captions that `core.evaluation.noise` finds, beside confident learning.

OpenMoji's training pairs with 30 % of the captions dealt out to other images, of any kind or of the same group, which
is harder to tell. sd-clip is trained on them; then the features of its average serve both, and beside them the
descriptors that our ranking looks at too. cleanlab (Northcutt et al. 2021, Confident learning) needs classes: captions
are put into K of them by k-means of their features, a logistic regression says by cross-validation which class a
image's caption should be of, and self-confidence ranks the captions that were given. Each caption as a class of its
own, by the network's similarities, is another way, and its words as so many labels of the image, by the regressions
of ``core.objectives.weighting.words``, the last. The best of these is the row's peer, judged by the
very figure, which favours it.

*Both networks* is what ``python -m core noise`` gives by default.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, cross_val_predict
from torch import Tensor

from core.bench.results import BenchResult, result
from core.checkpoint.opening import open_model
from core.data.dataset import open_dataset
from core.data.demo.openmoji import write_demo_data
from core.data.derived.noisy import write_noisy
from core.evaluation.noise import Ranking, rank_pairs
from core.inference.encoder import encode_dataset
from core.objectives.weighting.descriptors import describe, unit_parts
from core.objectives.weighting.words import MIN_COUNT, RIDGE, kernel_map
from core.spec.config import override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.study.config import NoiseKind
from core.training.train import train

SHARE, SEED = 0.3, 0  # of wrong captions; of their draw and of the run
EPOCHS = 11.1  # 432 steps
KINDS: tuple[tuple[NoiseKind, str, float | None], ...] = (("shuffled", "", None), ("in-group", "group", 5.0))
CLASSES = (20, 50, 100)  # of captions, tried in turn
FOLDS = 5
SHARPNESS = 10.0  # of the logistic regression: the inverse of its penalty
_FLOOR = 1e-6  # probability of a class that a fold never saw

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """Of each pair in the order of a ranking's rows: unit vectors (P, D), descriptors (P, F), the network's scale."""

    images: Floats
    texts: Floats
    looks: Floats
    scale: float

    @property
    def known_of_images(self) -> Floats:
        """All that is known of the images: (P, D + F)."""
        return np.concatenate([self.images, self.looks], axis=1)


def run(peer: Path | None = None) -> list[BenchResult]:
    """Precision, recall and AUC for each kind of noise; two trainings of some minutes each."""
    _cleanlab("rank", peer)
    with tempfile.TemporaryDirectory(prefix="sdgui-noise-") as folder:
        work = Path(folder)
        write_demo_data(work)
        return [row for kind, within, least in KINDS for row in _of_kind(work, kind, within, least)]


def _of_kind(work: Path, kind: NoiseKind, within: str, least: float | None) -> Iterator[BenchResult]:
    noisy, trained = work / f"{kind}.csv", RunDir(work / f"run-{kind}")
    write_noisy(work / "train.csv", SHARE, SEED, noisy, work / f"{kind}-kept.csv", kind, within)
    settings = [f"data.train={noisy}", f"seed={SEED}", f"optim.epochs={EPOCHS}", "runtime.threads=1"]
    train(override(preset_config("sd-clip", "demo"), settings), trained, quiet=True)
    yield from rows(kind, trained, str(noisy), least)


def rows(title: str, trained: RunDir, noisy: str, least: float | None = None) -> list[BenchResult]:
    """The rows of a run trained on ``noisy``; precision must be ``least`` points above cleanlab's."""
    both = rank_pairs(trained, noisy, _quiet)
    alone = rank_pairs(trained, noisy, _quiet, weights="teacher")
    peers = list(confident(_features(trained, noisy), alone))
    found = []
    for name, figure in (("precision", Ranking.precision), ("recall", Ranking.recall), ("AUC", Ranking.auc)):
        theirs = max(100 * (figure(one) or 0.0) for one in peers)
        for what, ours in (("same features", alone), ("both networks", both)):
            value = 100 * (figure(ours) or 0.0)
            asked = least if (name, what) == ("precision", "both networks") else None
            found.append(result(f"{title}, {name}, {what}", value, theirs, "%", value - theirs, asked))
    return found


def confident(features: Features, ranking: Ranking) -> Iterator[Ranking]:
    """The pairs of ``ranking`` as cleanlab ranks them: by classes of captions, then by each caption as a class.

    ``features`` are of its pairs in the order of their rows, one caption each.
    """
    for K in CLASSES:
        given = KMeans(K, n_init=3, random_state=SEED).fit_predict(features.texts)
        yield _ranked(ranking, given, out_of_sample(features.images, given, K))
    logits = features.scale * features.images @ features.texts.T  # (P, P)
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    yield _ranked(ranking, np.arange(len(logits)), chances / chances.sum(axis=1, keepdims=True))
    yield _by_words(features, ranking)


def out_of_sample(images: Floats, given: npt.NDArray[np.int64], K: int) -> Floats:
    """The probability (P, K) of each class for each of ``images`` (P, D), by a regression that did not see it."""
    chances = np.full((len(images), K), _FLOOR)
    for seen, unseen in KFold(FOLDS, shuffle=True, random_state=SEED).split(images):
        told = LogisticRegression(C=SHARPNESS, max_iter=300).fit(images[seen], given[seen])
        chances[np.ix_(unseen, told.classes_)] += told.predict_proba(images[unseen])
    whole: Floats = chances.sum(axis=1, keepdims=True)
    return chances / whole


def _ranked(ranking: Ranking, given: npt.NDArray[np.int64], chances: Floats) -> Ranking:
    """The pairs by cleanlab's self-confidence; the doubted ones are as many as confident learning finds."""
    quality = _cleanlab("rank").get_label_quality_scores(given, chances, method="self_confidence")
    several = len(np.unique(given)) < len(given)  # of one pair a class nothing is estimated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with few captions, which it leaves alone
        doubted = int(_cleanlab("filter").find_label_issues(given, chances, n_jobs=1).sum()) if several else 0
    return _in_order(ranking, quality, doubted)


def _in_order(ranking: Ranking, quality: Floats, doubted: int) -> Ranking:
    """The pairs by ``quality`` (P,), which is in the order of their rows."""
    by_row = sorted(ranking.pairs, key=lambda pair: pair.row)
    order = np.argsort(quality, kind="stable").tolist()
    pairs = tuple(replace(by_row[i], belief=float(quality[i]), rank=rank) for rank, i in enumerate(order, 1))
    return replace(ranking, pairs=pairs, doubted=doubted)


def _by_words(features: Features, ranking: Ranking) -> Ranking:
    """The words of a caption as labels of its image; the least likely one counts, the best of the ways tried."""
    captions = [pair.caption for pair in sorted(ranking.pairs, key=lambda pair: pair.row)]
    # (P, V)
    has = CountVectorizer(binary=True, min_df=MIN_COUNT, token_pattern=r"\w+").fit_transform(captions).toarray()
    folds = KFold(FOLDS, shuffle=True, random_state=SEED)
    known_of_images = torch.from_numpy(features.images)
    compared = kernel_map(known_of_images)(known_of_images).numpy()  # (P, K)
    likely = cross_val_predict(Ridge(alpha=RIDGE), compared, has.astype(float), cv=folds)
    labels = [np.flatnonzero(row).tolist() for row in has]
    least: dict[str, Any] = {"method": np.min}
    module = _cleanlab("multilabel_classification")
    likely = likely.clip(_FLOOR, 1 - _FLOOR)
    quality = module.get_label_quality_scores(labels, likely, method="self_confidence", aggregator_kwargs=least)
    return _in_order(ranking, quality, 0)


def _cleanlab(module: str, peer: Path | None = None) -> Any:
    """A module of cleanlab, from the folder ``peer`` or as it is installed; UserError when it is not."""
    if peer is not None and str(peer) not in sys.path:
        sys.path.insert(0, str(peer))
    try:
        return importlib.import_module(f"cleanlab.{module}")
    except ImportError as error:
        raise UserError("cleanlab is not installed; install sdgui[bench], or name its folder with --peer.") from error


def _features(trained: RunDir, noisy: str) -> Features:
    """Of the run's average, in the order of the rows of ``noisy``, each of which has one caption."""
    model = open_model(f"{trained.path}@last", "teacher")
    towers, size = model.network.towers, model.network.image_size
    data = open_dataset(noisy, model.data, size, towers.tokenize, pad_id=towers.pad_id, progress=_quiet, log=None)
    looks: list[Tensor] = []
    found = encode_dataset(
        model.network, data, model.runtime, model.batch, _quiet, lambda seen: looks.append(describe(seen))
    )
    order = found.rows[found.text_to_image].argsort()
    known_of_images = (
        found.images[found.text_to_image],
        found.texts,
        unit_parts(torch.cat(looks))[found.text_to_image],
    )
    images, texts, looked = (one[order].cpu().numpy().astype(float) for one in known_of_images)
    return Features(images, texts, looked, float(model.network.logit_scale.detach()))


def _quiet(doing: str, done: int, total: int) -> None:
    """Progress that nobody hears."""
