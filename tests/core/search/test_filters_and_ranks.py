"""Searcher by hand: filters at their borders, cut-offs, near-identical images, ranks, over vectors made up here."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from core.search import calibration as calibration_module
from core.search import evaluation, projection, queries
from core.search.calibration import NORMAL_SPREAD, Calibration
from core.search.collection import Collection
from core.search.filters import Filter
from core.search.index.acceleration import Part, Sizes, layout
from core.search.index.nearest import Exact, Floats, top_k
from core.search.index.storage import Record
from core.search.queries import Embedder, Query, Term, clean_text, read_terms
from core.search.results import Options, Searcher, few_threads
from core.spec.errors import UserError
from tests.core.search.samples import DIM, quiet, vectors


class Unknown(Exact):
    """Vectors of which nobody knows every score, as of an index on disk."""

    def all_scores(self, query: Floats) -> Floats | None:
        return None


def little(images: Floats, texts: Floats | None = None, owner: Any = None, scale: float = 20.0) -> Collection:
    """A collection of given vectors; image i lies in /f{i % 2} and has i + 1 as its size and time in seconds."""
    count = len(images)
    owner = np.arange(0 if texts is None else len(texts)) if owner is None else np.array(owner)
    captions = [tuple(f"caption {i}" for i in np.flatnonzero(owner == row)) for row in range(count)]
    records = [Record(f"/f{i % 2}/{i}.png", captions[i], {"kind": "ab"[i % 2]}) for i in range(count)]
    network = SimpleNamespace(logit_scale=np.float32(scale))
    return Collection(
        title="little",
        encoder=SimpleNamespace(model=SimpleNamespace(network=network)),  # type: ignore[arg-type]
        images=Exact(images),
        alive=np.ones(count, np.bool_),
        texts=None if texts is None else Exact(texts),
        owner=owner,
        records=lambda rows: [records[row] for row in rows],
        sizes=np.arange(1, count + 1, dtype=np.int64),
        times=np.arange(1, count + 1, dtype=np.int64) * 10**9,
        search_method="",
    )


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({"min_size": 3}, [2, 3, 4]),
        ({"max_size": 3}, [0, 1, 2]),
        ({"after": 3.0}, [2, 3, 4]),
        ({"before": 3.0}, [0, 1]),
        ({"after": 2.0, "before": 4.0, "max_size": 2}, [1]),
        ({"folders": ("/f0",)}, [0, 2, 4]),
        ({"labels": {"kind": ("b",)}, "min_size": 3}, [3]),
    ],
)
def test_filters_at_their_boundaries(given: dict[str, Any], rows: list[int]) -> None:
    collection = little(vectors(5))
    assert np.flatnonzero(Filter(**given).mask(collection)).tolist() == rows
    assert collection.alive.all(), "a filter changes nothing for the next search"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": {"colour": ("red",)}}, "there is no label 'colour'; available labels: kind"),
        ({"labels": {"kind": ("aa",)}}, "did you mean 'a'"),
        ({"folders": ("/f",)}, "there is no image in /f; choose another folder, such as /f0"),
    ],
)
def test_filters_that_match_nothing_known(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Filter(**given).mask(little(vectors(5)))


def test_captions_of_unsearchable_images_are_skipped_and_numbers_stay() -> None:
    """Two captions of image 0, one of 1 (gone), two of 2; -1 belongs to nobody."""
    collection = little(vectors(3), vectors(6, seed=1), owner=[0, 0, 1, 2, 2, -1])
    collection.alive = np.array([True, False, True])
    assert collection.text_alive.tolist() == [True, True, False, True, True, False]
    assert collection.captions([1, 3, 4]) == ["caption 1", "caption 3", "caption 4"]
    answer = Searcher(collection).search_vector(vectors(1, seed=2)[0], "text", Options(k=9, find="captions"))
    assert {row["text"] for row in answer["rows"]} == {0, 1, 3, 4}
    assert answer["searched"] == 4
    kind = Filter(folders=("/f0",))
    collection.alive = np.ones(3, np.bool_)
    del collection.__dict__["text_alive"]
    answer = Searcher(collection).search_vector(vectors(1, seed=2)[0], "text", Options(find="captions", filter=kind))
    assert {row["text"] for row in answer["rows"]} == {0, 1, 3, 4}, "those of the folder's images"


def test_the_softmax_is_over_searchable_images() -> None:
    bank, query = vectors(40), vectors(1, seed=3)[0]
    searching = Searcher(little(bank))
    chosen = Filter(folders=("/f0",))
    answer = searching.search_vector(query, "text", Options(k=3, group=False, filter=chosen))
    scores = np.sort(bank[::2].astype(np.float64) @ query)[::-1]
    shares = np.exp(20 * (scores - scores[0]))
    assert [row["softmax"] for row in answer["rows"]] == pytest.approx(shares[:3] / shares.sum(), rel=1e-4)
    assert [row["rank"] for row in answer["rows"]] == [1, 2, 3]
    assert [row["time"] for row in answer["rows"]] == [row["row"] + 1 for row in answer["rows"]]
    assert answer["searched"] == 20


@pytest.mark.parametrize("scale", [5.0, 60.0])
def test_missing_scores_are_estimated(scale: float) -> None:
    bank, query = vectors(2000), vectors(1, seed=3)[0]
    exact, unknown = little(bank, scale=scale), little(bank, scale=scale)
    unknown.images = Unknown(bank)
    found = [Searcher(one).search_vector(query, "text", Options(k=20, group=False)) for one in (exact, unknown)]
    shares = [[row["softmax"] for row in answer["rows"]] for answer in found]
    assert shares[1] == pytest.approx(shares[0], rel=0.02)


def test_near_duplicates_are_defined_by_distance() -> None:
    """All in a narrow cone (cosines of about 0.9): two at 0.995 are apart, and two at 0.9998 are one."""
    cone = np.eye(1, DIM, dtype=np.float32) * 3 + vectors(60)
    cone /= np.linalg.norm(cone, axis=1, keepdims=True)
    near, same = cone[0] + 0.1 * vectors(1, seed=4)[0], cone[1] + 0.01 * vectors(1, seed=5)[0]
    bank = np.concatenate([cone, [near / np.linalg.norm(near)], [same / np.linalg.norm(same)]]).astype(np.float32)
    searching = Searcher(little(bank))
    assert searching.calibration.median_cosine == pytest.approx(0.9, abs=0.02)
    rows = searching.search_vector(bank[0], "image", Options(k=62))["rows"]
    folded = {frozenset([row["row"], *(one["row"] for one in row["duplicates"])]) for row in rows}
    assert frozenset([1, 61]) in folded
    assert frozenset([0]) in folded
    assert sum(map(len, folded)) == 62, "none twice"
    far = Searcher(little(vectors(60)))
    assert far.calibration.median_cosine == pytest.approx(0.0, abs=0.03)


def test_a_result_at_the_threshold_is_above_it() -> None:
    searching = Searcher(little(vectors(50)))
    answer = searching.search_vector(vectors(1, seed=9)[0], "image", Options(k=50, group=False))
    cutoff = answer["cutoff"]["cosine"]
    assert [row["above_cutoff"] for row in answer["rows"]] == [row["cosine"] >= cutoff for row in answer["rows"]]
    assert answer["above"] == sum(row["above_cutoff"] for row in answer["rows"]) > 0


def test_false_positive_rates_stay_within_bounds() -> None:
    assert Calibration(little(vectors(50))).rate == 1e-2
    assert Calibration(little(vectors(5000))).rate == pytest.approx(10 / 5000)
    many = little(vectors(10))
    many.alive = np.ones(1_000_000, np.bool_)
    many.images = SimpleNamespace(dim=DIM, vectors=lambda rows: vectors(len(rows)))  # type: ignore[assignment]
    assert Calibration(many).rate == 1e-4


def test_a_calibration_samples_the_named_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "SAMPLE_ROWS", 30)
    bank, query = vectors(100), vectors(1, seed=3)[0]
    found = Calibration(little(bank))
    assert len(set(found.rows.tolist())) == 30
    assert found.scores(query) == pytest.approx(bank[found.rows] @ query, abs=1e-6)


def test_a_threshold_matches_a_hand_computed_one() -> None:
    """Captions of 40 images over the same 40: z of all pairs but the own, from the medians and upper tenths."""
    bank, texts, query = vectors(40), vectors(40, seed=1), vectors(1, seed=2)[0]
    owner = np.arange(40)[::-1]
    for captions in (False, True):
        found = Calibration(little(bank, texts, owner=owner.copy()), captions)
        sample = texts if captions else bank
        belongs = owner if captions else np.arange(40)
        z = []
        for number, text in enumerate(texts):
            scores = (sample @ text).astype(np.float64)
            median, tenth = np.quantile(scores, [0.5, 0.9])
            z += [(scores[i] - median) / (tenth - median) for i in range(40) if belongs[i] != owner[number]]
        median, tenth = np.quantile((sample @ query).astype(np.float64), [0.5, 0.9])
        for rate in (0.1, 0.02):
            cutoff = found.cutoff(query, "text", rate)
            highest = np.quantile(sample @ query, 1 - rate)
            assert cutoff.pairs == 40 * 39
            assert cutoff.cosine == pytest.approx(
                min(highest, median + np.quantile(z, 1 - rate) * (tenth - median)), abs=1e-5
            )
        z_few, pairs = found._threshold("text", 1e-5)  # 1,560 pairs show no such share
        assert (z_few, pairs) == (pytest.approx(max(max(z), 4.2649 / NORMAL_SPREAD), rel=1e-3), 40 * 39)
    without = Calibration(little(bank)).cutoff(query, "text", 1e-3)
    assert without.pairs == 0
    assert "assuming normally distributed scores" in without.meaning


def test_equal_scores_are_ordered_by_row() -> None:
    scores, rows = np.array([0.5, 0.9, 0.5, 0.5, 0.1], np.float32), np.array([40, 10, 30, 20, 50])
    for k, wanted in ((1, [10]), (2, [10, 20]), (3, [10, 20, 30]), (5, [10, 20, 30, 40, 50]), (0, [])):
        assert top_k(scores, rows, k)[1].tolist() == wanted


def test_parts_are_split_by_values_and_by_rows() -> None:
    small = Sizes(small=100, scan=10, ivf_from=40, ivf=20)
    assert layout(10, 10, small) == []
    assert layout(11, 10, small) == [Part("scan", 0, 10), Part("memory", 10, 11)]
    assert layout(20, 10, small) == [Part("scan", 0, 10), Part("scan", 10, 20)]
    assert layout(39, 10, small)[0].kind == "scan"
    assert [(one.kind, one.start, one.stop) for one in layout(53, 10, small)] == [
        ("ivf", 0, 20), ("ivf", 20, 40), ("scan", 40, 50), ("memory", 50, 53),
    ]  # fmt: skip


def test_terms_keep_their_sign_and_row_zero_is_a_row() -> None:
    terms = read_terms([{"row": 0}, {"text": "  "}, {"text": "a", "weight": 2}], sign=-1.0)
    assert terms == [Term(row=0, weight=-1.0), Term(text="a", weight=-2.0)]
    assert Query((Term(row=3), Term(text="a"))).kind == "text"
    assert Query((Term(row=3), Term(image="a.png"))).kind == "image"
    assert clean_text("a\0b")[0] == "a b"
    assert "Greek" in clean_text("κόκκινος κύκλος")[1][0]
    assert len(clean_text("a" * 10_001)[0]) == 10_000


def ranked(texts: Floats, alive: list[bool] | None = None) -> tuple[Collection, evaluation.RankedPairs]:
    collection = little(np.eye(6, DIM, dtype=np.float32), texts, scale=1.0)
    if alive is not None:
        collection.alive = np.array(alive)
    return collection, evaluation.rank_all(collection, quiet)


def test_ranks_are_among_searchable_images() -> None:
    """Each caption finds its image, but 5 finds 0 first and 4 finds 1 and 2 first; image 2 is gone."""
    texts = np.eye(6, DIM, dtype=np.float32)
    texts[5, :6], texts[4, :6] = [0.9, 0, 0, 0, 0, 0.5], [0, 0.9, 0.8, 0, 0.1, 0]
    collection, judged = ranked(texts, [True, True, False, True, True, True])
    answer = evaluation.evaluate(collection, judged)
    assert [(row["text"], row["row"], row["path"], row["rank"]) for row in answer["text_to_image"]][:2] == [
        (4, 4, "/f0/4.png", 2.0), (5, 5, "/f1/5.png", 2.0),
    ]  # fmt: skip
    assert {row["row"] for row in answer["image_to_text"]} == {0, 1, 3, 4, 5}
    assert evaluation.true_rank(judged, 4) == 2.0
    assert evaluation.true_rank(judged, 2) is None
    assert evaluation.true_rank(judged, 6) is None
    assert evaluation.evaluate(collection, judged, listed=1)["text_to_image"] == answer["text_to_image"][:1]
    assert answer["notes"] == []


def test_too_many_captions_are_sampled_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_PAIRS", 20)
    collection, judged = ranked(np.eye(6, DIM, dtype=np.float32))
    assert judged.texts.tolist() == [0, 2, 5]
    assert evaluation.evaluate(collection, judged)["notes"] == [
        "3 captions, evenly distributed, were skipped to save time."
    ]


def test_images_that_would_not_fit_into_memory_are_sampled_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_VALUES", 3 * DIM)
    collection, judged = ranked(np.eye(6, DIM, dtype=np.float32))
    assert (judged.images.tolist(), judged.texts.tolist()) == ([0, 2, 5], [0, 2, 5])
    answer = evaluation.evaluate(collection, judged)
    assert {row["row"] for row in answer["image_to_text"]} == {0, 2, 5}
    assert "ranked among 3 of 6 images" in answer["notes"][-1]


def test_captions_that_contain_all_words() -> None:
    collection, judged = ranked(np.eye(6, DIM, dtype=np.float32))
    assert [row["text"] for row in evaluation.listed_captions(collection, judged, "CAPTION 3", 9)] == [3]
    assert [row["text"] for row in evaluation.listed_captions(collection, judged, "", 2)] == [0, 1]
    assert [row["text"] for row in evaluation.listed_captions(collection, judged, "caption", 2)] == [0, 1]


def test_the_largest_differences_come_first_and_ties_count() -> None:
    """B misses images 0 (rank 2) and 1 (rank 3), both miss 5."""
    a, b = (np.eye(6, DIM, dtype=np.float32) for _ in range(2))
    b[0, :6], b[1, :6] = [0.5, 0, 0.6, 0, 0, 0], [0, 0.5, 0.6, 0.6, 0, 0]
    a[5, :6] = b[5, :6] = [0, 0, 0.6, 0.6, 0.6, 0.5]
    one, other = ranked(a), ranked(b)
    found = evaluation.compare(*one, *other)
    assert [(row["caption"], row["rank_a"], row["rank_b"]) for row in found["only_a"]] == [
        ("caption 1", 1.0, 3.0), ("caption 0", 1.0, 2.0),
    ]  # fmt: skip
    assert found["counts"] == {"only_a": 2, "only_b": 0, "both": 3, "neither": 1}
    at_two = evaluation.compare(*one, *other, k=2, listed=0)
    assert at_two["counts"] == {"only_a": 1, "only_b": 0, "both": 4, "neither": 1}
    assert at_two["only_a"] == []
    assert evaluation.compare(*other, *one)["counts"]["only_b"] == 2
    other[0].records = lambda rows: [Record(f"/other/{row}.png", ("a cat",)) for row in rows]
    with pytest.raises(UserError, match="little and little have no pair in common; open both with the same data"):
        evaluation.compare(*one, *other)
    with pytest.raises(UserError, match="has no captions"):
        evaluation.rank_all(little(vectors(2)), quiet)


def test_a_map_of_an_even_sample_names_each_point() -> None:
    collection = little(vectors(40), vectors(40, seed=1) + 2 * vectors(1, seed=6))
    points = projection.choose_points(collection, shown=20)
    assert (len(points.images), len(points.texts)) == (10, 10)
    assert points.vectors[10:].mean(0) == pytest.approx(np.zeros(DIM), abs=0.15)
    answer = projection.as_json(collection, points, np.arange(40.0).reshape(20, 2), "PCA")
    assert [(one["x"], one["row"]) for one in answer["images"]] == [
        (2.0 * i, row) for i, row in enumerate(points.images)
    ]
    assert [(one["x"], one["text"]) for one in answer["captions"]] == [
        (20.0 + 2.0 * i, text) for i, text in enumerate(points.texts)
    ]
    few = projection.choose_points(little(vectors(3)))
    assert projection.fit_tsne(few, quiet).shape == (3, 2)
    with pytest.raises(UserError, match="too few images"):
        projection.choose_points(little(vectors(2)))


def test_positions_of_a_large_map_are_packed_and_named_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    collection = little(vectors(5), vectors(4, seed=1), owner=[0, 0, 2, 4])
    points = projection.Points(np.array([0, 1, 4]), np.array([1, 3]), vectors(5))
    places = np.arange(10.0).reshape(5, 2) / 8

    def answer(packed: bool = True) -> dict[str, Any]:
        return projection.as_json(collection, points, places, "PCA", packed)

    monkeypatch.setattr(projection, "MAX_PLAIN", 5)
    assert "packed" not in answer()
    monkeypatch.setattr(projection, "MAX_PLAIN", 4)
    assert "packed" not in answer(packed=False)
    found = answer()
    assert (found["method"], found["images"], found["captions"]) == ("PCA", [], [])

    def unpacked(text: str, kind: str = "<i4") -> list[float]:
        read: list[float] = np.frombuffer(base64.b64decode(text), kind).tolist()
        return read

    packed = found["packed"]
    assert [unpacked(packed[name], "<f4") for name in "xy"] == places.T.tolist()
    assert [unpacked(packed[name]) for name in ("rows", "texts", "owners")] == [[0, 1, 4], [1, 3], [0, 4]]
    assert packed["labels"]["kind"]["values"] == ["a", "b"]
    assert unpacked(packed["labels"]["kind"]["codes"]) == [0, 1, 0]
    monkeypatch.setattr(projection, "MAX_LABEL_VALUES", 1)
    assert answer()["packed"]["labels"] == {}
    assert projection.describe_points(collection, [4, -1, 5, 0, 1], [3, 4, -1]) == {
        "images": [
            {"row": row, "path": f"/f{row % 2}/{row}.png", "caption": caption, "labels": {"kind": "ab"[row % 2]}}
            for row, caption in ((4, "caption 3"), (0, "caption 0"), (1, ""))
        ],
        "captions": [{"text": 3, "caption": "caption 3", "row": 4}],
    }


def test_recently_used_parts_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def words(embedder: Embedder, text: str, prompts: str) -> tuple[Floats, list[str]]:
        made.append(f"{text} {prompts}")
        return vectors(1, seed=len(text))[0], [f"of {text}"]

    monkeypatch.setattr(queries, "MAX_CACHED", 2)
    monkeypatch.setattr(Embedder, "_embed_text", words)
    identity = SimpleNamespace(dim=DIM, title="m")
    embedder = Embedder(SimpleNamespace(identity=identity), lambda row: vectors(1)[0])  # type: ignore[arg-type]
    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        assert embedder.embed(Query((Term(text=text), Term(text=text)))).notes == [f"of {text}"]
    assert made == ["a raw", "bb raw", "ccc raw", "bb raw"]
    embedder.embed(Query((Term(text="a"),), prompts="photo"))
    assert made[-1] == "a photo"
    nearly = Query((Term(text="a", weight=100.0), Term(text="a", weight=-96.0)))
    with pytest.raises(UserError, match="cancel out"):
        embedder.embed(nearly)
    left = embedder.embed(Query((Term(text="a", weight=100.0), Term(text="a", weight=-94.0)))).vector
    assert left == pytest.approx(vectors(1, seed=1)[0], abs=1e-5)


def test_a_small_collection_uses_one_thread_and_restores_the_number() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with few_threads(little(vectors(5))):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_chain_of_near_duplicates_lists_none_twice() -> None:
    """0 is near 1, and 1 near 2, but 2 is not near 0: it is a result of its own."""
    bank = vectors(60)
    first, aside = bank[0], bank[1] - (bank[1] @ bank[0]) * bank[0]
    aside /= np.linalg.norm(aside)
    for row, angle in ((1, 0.12), (2, 0.24)):
        bank[row] = np.cos(angle) * first + np.sin(angle) * aside
    found = Searcher(little(bank)).search_vector(first, "image", Options(k=60))["rows"]
    assert [(row["row"], [one["row"] for one in row["duplicates"]]) for row in found[:2]] == [(0, [1]), (2, [])]
    assert len(found) == 59


def test_captions_are_ranked_by_caption_scores() -> None:
    bank, texts, query = vectors(50), vectors(50, seed=1), vectors(1, seed=2)[0]
    collection = little(bank, texts + 2 * texts[:1])
    answer = Searcher(collection).search_vector(query, "text", Options(k=50, find="captions"))
    assert answer["cutoff"]["cosine"] == Calibration(collection, captions=True).cutoff(query, "text").cosine
    assert answer["cutoff"]["cosine"] != pytest.approx(Calibration(collection).cutoff(query, "text").cosine, abs=1e-3)
