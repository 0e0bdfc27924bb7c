"""Cut-offs, ranks, comparisons and the map of an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.metrics.retrieval import retrieval_metrics
from core.search import evaluation, projection
from core.search.calibration import Calibration
from core.search.collection import Collection
from core.search.index import neighbours as neighbouring
from core.search.index.nearest import Exact, Floats, Rows
from core.search.results import Searcher
from tests.core.search.samples import DIM, quiet, vectors


class Fake(Collection):
    """A collection of given vectors, without a model."""

    def __init__(self, images: Floats, texts: Floats, owner: Rows) -> None:
        self.title = "fake"
        self.images, self.texts, self.owner = Exact(images), Exact(texts), owner
        self.alive = np.ones(len(images), np.bool_)


def test_the_threshold_keeps_its_rate_on_new_queries() -> None:
    """Scores with heavy tails: a normal threshold would be passed several times as often."""
    random = np.random.default_rng(0)

    def heavy(count: int) -> Floats:
        drawn = random.standard_t(2.5, (count, DIM)).astype(np.float32)
        unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return unit

    images = heavy(4000)
    calibration = Calibration(Fake(images, heavy(600), np.arange(600)))
    passed = []
    for query in heavy(300):
        cutoff = calibration.cutoff(query, "text", rate=1e-2)
        passed.append(float((images @ query > cutoff.cosine).mean()))
    assert cutoff.pairs > 200 * 3999
    assert 0.5e-2 < np.mean(passed) < 2e-2
    assert min(passed) >= 0.99e-2, "no cut-off is higher than that share of the query's own scores"
    assert "1 % of unrelated images score above" in cutoff.meaning
    assert calibration.cutoff(images[0], "text").rate == pytest.approx(10 / 4000)


@pytest.mark.parametrize(("count", "spread"), [(0, 0.0), (1, 0.0), (2, 0.6)])
def test_the_median_of_two_images_needs_two(count: int, spread: float) -> None:
    turned = np.zeros((2, DIM), np.float32)
    turned[:, 0], turned[1, 1] = (1.0, 0.6), 0.8
    calibration = Calibration(Fake(turned[:count], turned[:0], np.zeros(0, np.int64)))
    assert calibration.median_cosine == pytest.approx(spread)


def test_ranks_match_the_evaluators_and_curves_rise(searching: Searcher) -> None:
    collection = searching.collection
    told: list[tuple[str, int, int]] = []
    ranked = evaluation.rank_all(collection, lambda *what: told.append(what))
    assert told == [("ranking", 0, 1000), ("ranking", 1000, 1000)]
    answer = evaluation.evaluate(collection, ranked)
    images = torch.from_numpy(collection.images.vectors(np.arange(48)))
    assert collection.texts is not None
    texts = torch.from_numpy(collection.texts.vectors(np.arange(48)))
    assert answer["recall"] == retrieval_metrics(images, texts, torch.from_numpy(collection.owner))
    for direction in ("text_to_image", "image_to_text"):
        ranks = [row["rank"] for row in answer[direction]]
        assert ranks == sorted(ranks, reverse=True)
        assert len(ranks) == answer["queries"][direction] == 48
        for k, value in zip(answer["curve"]["k"], answer["curve"][direction], strict=True):
            found = [1.0 if rank <= k else 0.0 for rank in ranks if float(rank).is_integer()]
            assert value == pytest.approx(np.mean(found), abs=0.05)
    for row in answer["text_to_image"]:
        assert evaluation.true_rank(ranked, row["text"]) == row["rank"]


def test_identical_projections_lie_on_the_diagonal() -> None:
    points = projection.Points(np.arange(3), np.zeros(0, np.int64), np.array([[0.0], [1.0], [4.0]], np.float32))
    across, up = projection.principal_axes(points).T
    assert across == pytest.approx(up)
    assert (across[1] - across[0]) / (across[2] - across[0]) == pytest.approx(0.25)


def test_the_map_places_similar_images_together() -> None:
    """Three clusters of images, each caption beside its own though all captions are moved aside."""
    random = np.random.default_rng(0)
    centres = vectors(3, seed=5)
    images = np.repeat(centres, 20, axis=0) + 0.02 * random.standard_normal((60, DIM)).astype(np.float32)
    texts = images + 2 * vectors(1, seed=6)
    collection = Fake(images, texts, np.arange(60))
    points = projection.choose_points(collection)
    told: list[tuple[str, int, int]] = []
    for layout_ in (projection.principal_axes(points), projection.fit_tsne(points, lambda *what: told.append(what))):
        assert layout_.shape == (120, 2)
        assert np.abs(layout_).max() == pytest.approx(1)
        distance = np.linalg.norm(layout_[:, None] - layout_[None], axis=-1)
        np.fill_diagonal(distance, np.inf)
        cluster = np.tile(np.repeat(np.arange(3), 20), 2)
        assert (cluster[distance.argmin(1)] == cluster).mean() > 0.95
        apart = np.median(np.linalg.norm(layout_[:20].mean(0) - layout_[20:60], axis=1))
        own = np.median(np.linalg.norm(layout_[:60] - layout_[60:], axis=1))
        assert own < apart / 4, "a caption lies at its image, and not with all captions"
    assert told == [("laying out the map", 0, 0)]


def test_additional_points_go_between_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "MAX_FITTED", 30)
    centres = vectors(3, seed=5)
    images = np.repeat(centres, 40, axis=0) + 0.02 * vectors(120)
    collection = Fake(images, vectors(0), np.zeros(0, np.int64))
    layout_ = projection.fit_tsne(projection.choose_points(collection), quiet)
    distance = np.linalg.norm(layout_[:, None] - layout_[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    cluster = np.repeat(np.arange(3), 40)
    assert (cluster[distance.argmin(1)] == cluster).mean() > 0.95


def test_neighbours_exclude_the_point_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbouring, "_CHUNK_POINTS", 400)
    points = np.random.default_rng(0).normal(size=(1000, 8)).astype(np.float32)
    points[1] = points[0]
    away = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    nearest = np.sort(away, axis=1)[:, :5]
    found, distances = neighbouring.neighbours(points, 5, quiet)
    np.testing.assert_allclose(distances, nearest, atol=2e-3)
    assert not (found == np.arange(1000)[:, None]).any(), "itself is none"
    monkeypatch.setattr(neighbouring, "_MAX_EXACT_POINTS", 100)
    monkeypatch.setattr(neighbouring, "_PROBED_LISTS", 8)
    points[2:4] += 40  # a group with too few in it
    away = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    found = np.argsort(away, axis=1)[:, :5]
    grouped, _ = neighbouring.neighbours(points, 5, quiet)
    alike = [len(set(one) & set(other)) for one, other in zip(found.tolist(), grouped.tolist(), strict=True)]
    assert np.mean(alike) > 4, "few true neighbours are missed"
    assert alike[2] == alike[3] == 5, "a small group is compared with all"
    assert grouped.min() >= 0


@pytest.mark.ci
def test_large_maps_are_laid_out_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(projection, "MAX_FITTED", 50)
    monkeypatch.setattr(projection, "MANY_ITERATIONS", (60, 60))
    drawn = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 60)
    vectors = (np.eye(4, 16)[group] + 0.05 * drawn.normal(size=(240, 16))).astype(np.float32)
    points = projection.Points(np.arange(240), np.zeros(0, np.int64), vectors)
    heard: list[tuple[str, int, int]] = []
    layout, how = projection.lay_out(points, lambda *said: heard.append(said))
    assert how == "t-SNE of all points by openTSNE"
    away = np.linalg.norm(layout[:, None] - layout[None], axis=2)
    nearest = np.argsort(away, axis=1)[:, 1:6]
    assert (group[nearest] == group[:, None]).mean() > 0.99
    begun = [doing for doing, done, _ in heard if done == 0]
    assert begun == ["looking for neighbours", "computing affinities", "laying out the map"]
    assert ("laying out the map", 120, 120) in heard
    assert len([said for said in heard if said[2] == 120]) > 10, "it can be cancelled, and says how long it takes"
    monkeypatch.setattr(projection, "_fit_opentsne", lambda *_: pytest.fail("it is kept"))
    again, _ = projection.lay_out(points, quiet)
    np.testing.assert_allclose(again, layout, atol=1e-6)
    (kept,) = (tmp_path / "maps").glob("*.npy")
    kept.write_bytes(b"torn")
    monkeypatch.undo()
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(projection, "MAX_FITTED", 50)

    def cancel(doing: str, done: int, _total: int) -> None:
        if doing == "laying out the map" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        projection.lay_out(points, cancel)
    assert kept.read_bytes() == b"torn"
    monkeypatch.setattr(projection, "missing", lambda _extra: ("openTSNE",))
    _, how = projection.lay_out(points, quiet)
    assert "50 points" in how
    assert "sdgui[map]" in how or "[map]" in how
