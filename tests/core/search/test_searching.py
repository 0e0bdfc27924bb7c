"""Searcher: nearest vectors against a plain loop, queries and filters."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.checkpoint.opening import open_model
from core.metrics.classification.prompts import load_templates
from core.search.collection import encode_source
from core.search.errors import IndexFolderError, QueryError
from core.search.filters import read_date, read_size
from core.search.index import nearest
from core.search.index.acceleration import Part, Sizes, layout, update_acceleration
from core.search.index.manifest import SEGMENT_ROWS, Identity, Manifest
from core.search.index.nearest import Exact, Floats, Scanned
from core.search.index.storage import Entry, IndexReader, IndexWriter, Mask, Record
from core.search.queries import Query, Term, clean_text, read_terms
from core.search.results import Options, Searcher
from tests.core.search.samples import DIM, MODEL, quiet, vectors


def by_loop(bank: Floats, query: Floats, k: int, mask: Mask) -> list[int]:
    scores = [
        (-math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True)), i) for i, row in enumerate(bank)
    ]
    return [i for _, i in sorted(pair for pair in scores if mask[pair[1]])][:k]


@pytest.mark.parametrize("allowed", [1.0, 0.6, 0.01])
@pytest.mark.parametrize("k", [10, 700])
def test_exact_search_matches_a_plain_loop(allowed: float, k: int) -> None:
    bank, query = vectors(500), vectors(1, seed=1)[0]
    mask = np.random.default_rng(2).random(500) < allowed
    scores, rows = Exact(bank).search(query, k, mask)
    assert rows.tolist() == by_loop(bank, query, k, mask)
    assert scores == pytest.approx([float(bank[row] @ query) for row in rows], abs=1e-6)


def stored(folder: Path, bank: Floats) -> Manifest:
    """``bank`` as the images of an index."""
    writer = IndexWriter(folder)
    manifest = Manifest(Identity("m", "", "d", {}, DIM), "source")
    writer.prepare(manifest)
    for start in range(0, len(bank), SEGMENT_ROWS):
        rows = range(start, min(start + SEGMENT_ROWS, len(bank)))
        manifest = writer.append(
            manifest, [Entry(Record(f"/{row}.png"), 1, 1, bank[row].astype(np.float16)) for row in rows]
        )
    writer.close()
    return manifest


@pytest.mark.parametrize(
    ("sizes", "kinds"),
    [
        (Sizes(small=0, scan=1000), ["scan", "scan", "memory"]),
        (Sizes(small=0, scan=500, ivf_from=2000, ivf=1000, lists=8), ["ivf", "ivf", "scan", "memory"]),
        (Sizes(small=0, scan=5000), ["memory"]),
    ],
)
def test_large_indexes_match_brute_force(
    tmp_path: Path, sizes: Sizes, kinds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a filter; with 8 lists all of them are visited, so that inverted files miss nothing here."""
    monkeypatch.setattr(nearest, "DIRECT_ROWS", 10)
    bank = vectors(2700)
    manifest = stored(tmp_path, bank)
    said = update_acceleration(tmp_path, manifest, quiet, sizes)
    parts = layout(len(bank), DIM, sizes)
    assert [part.kind for part in parts] == kinds
    names = [part.name(1, "images") for part in parts]
    assert set(said["files"]) == {name for name in names if name}
    half = IndexReader(tmp_path).images
    scanned = Scanned(half, parts, [tmp_path / name if name else None for name in names])
    everything = np.ones(len(bank), np.bool_)
    some = np.random.default_rng(3).random(len(bank)) < 0.3
    for seed in range(5):
        query = vectors(1, seed=10 + seed)[0]
        for mask in (everything, some):
            scores, rows = scanned.search(query, 10, mask)
            expected = by_loop(np.asarray(half, np.float32), query, 10, mask)
            assert rows.tolist() == expected
            assert scores == pytest.approx([float(half[row].astype(np.float32) @ query) for row in rows], abs=1e-6)


def test_a_filter_visits_more_lists_and_keeps_recall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One list of 8 is visited where everything may be found, all of them where a tenth may; k of 900 needs more
    candidates than are compared at least."""
    monkeypatch.setattr(nearest, "DIRECT_ROWS", 10)
    monkeypatch.setattr(nearest, "PROBED_LISTS", 1)
    bank, sizes = vectors(2000), Sizes(small=0, scan=500, ivf_from=2000, ivf=2000, lists=8)
    update_acceleration(tmp_path, stored(tmp_path, bank), quiet, sizes)
    half = IndexReader(tmp_path).images
    (part,) = layout(len(bank), DIM, sizes)
    lists = Scanned(half, [part], [tmp_path / part.name(1, "images")])
    whole = Scanned(half, [Part("memory", 0, 2000)], [None])
    some, everything = np.arange(2000) % 10 == 0, np.ones(2000, np.bool_)
    query, exact = vectors(1, seed=10)[0], np.asarray(half, np.float32)
    assert lists.search(query, 10, some)[1].tolist() == by_loop(exact, query, 10, some)
    assert whole.search(query, 900, everything)[1].tolist() == by_loop(exact, query, 900, everything)


def test_acceleration_files_are_built_once_and_repaired(tmp_path: Path) -> None:
    sizes = Sizes(small=0, scan=1000)
    manifest = stored(tmp_path, vectors(2000))
    first = update_acceleration(tmp_path, manifest, quiet, sizes)
    again = Manifest(manifest.identity, "source", segments=manifest.segments, nearest=first)
    file = tmp_path / next(iter(first["files"]))
    before = file.stat().st_mtime_ns
    assert update_acceleration(tmp_path, again, quiet, sizes) == first
    assert file.stat().st_mtime_ns == before
    whole = file.read_bytes()
    file.write_bytes(whole[:-7] + b"damaged")
    assert update_acceleration(tmp_path, again, quiet, sizes) == first
    assert file.read_bytes() == whole
    file.write_bytes(whole[:100])
    with pytest.raises(IndexFolderError, match="is damaged or belongs to another index; run `index` again"):
        Scanned(IndexReader(tmp_path).images, layout(2000, DIM, sizes)[:1], [file])


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux says what is mapped")
def test_no_vector_file_stays_mapped(tmp_path: Path) -> None:
    bank = stored(tmp_path, vectors(2000)).file(tmp_path, "images")
    half = IndexReader(tmp_path).images
    scanned = Scanned(half, [Part("memory", 0, 1000), Part("memory", 1000, 2000)], [None, None])
    float(half.sum())
    assert mapped(bank) > 0
    assert scanned.vectors(np.arange(1500)) == pytest.approx(np.asarray(half[:1500], np.float32))
    scanned.vectors(np.arange(500))
    assert mapped(bank) == 0


def mapped(file: Path) -> int:
    """KiB of ``file`` that count as resident in this process."""
    lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    begins = [i for i, line in enumerate(lines) if line.endswith(str(file))]
    return sum(int(next(one for one in lines[i:] if one.startswith("Rss:")).split()[1]) for i in begins)


def test_weights_and_minus_are_sums_of_unit_vectors(searching: Searcher, images: Path) -> None:
    file = str(images / "images" / "red" / "bar-12.png")
    terms = [
        *read_terms([{"text": "a blue square", "weight": 2}]),
        *read_terms({"image": file}),
        *read_terms("a black bar", sign=-1.0),
        *read_terms({"row": 5, "weight": 0.5}),
    ]
    parts = [searching.embedder.embed(Query((Term(text=words),))).vector for words in ("a blue square", "a black bar")]
    image = searching.embedder.embed(Query((Term(image=file),))).vector
    row = searching.collection.images.vectors(np.array([5]))[0]
    expected = 2 * parts[0] + image - parts[1] + 0.5 * row
    found = searching.embedder.embed(Query(tuple(terms)))
    assert found.vector == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_prompts_are_averaged(searching: Searcher) -> None:
    templates = load_templates("photo")
    alone = [searching.embedder.embed(Query((Term(text=one.replace("{}", "dog")),))).vector for one in templates]
    mean = np.mean(alone, axis=0)
    found = searching.embedder.embed(Query((Term(text="dog"),), prompts="photo")).vector
    assert found == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_an_image_finds_itself_and_its_captions(searching: Searcher) -> None:
    answer = searching.search(Query((Term(row=7),)), Options(k=3, group=False))
    assert answer["rows"][0]["row"] == 7
    assert answer["rows"][0]["cosine"] == pytest.approx(1, abs=1e-3)
    captions = searching.search(Query((Term(row=7),)), Options(k=48, find="captions"))["rows"]
    assert sorted(row["caption"] for row in captions) == sorted(
        caption for record in searching.collection.records(range(48)) for caption in record.captions
    )
    for row in captions:
        record = searching.collection.records([row["row"]])[0]
        assert (row["caption"], row["path"]) == (record.captions[0], record.path)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ((), "the query is empty; enter text"),
        ((Term(text="\0 "),), "no usable characters"),
        ((Term(image="/nowhere.png"),), r"the image /nowhere.png cannot be searched for: it cannot be opened"),
        ((Term(row=99),), "there is no image 99; use a row from 0 to 47"),
        ((Term(text="dog"), Term(text="dog", weight=-1.0)), "cancel out"),
    ],
)
def test_queries_that_cannot_be_searched(searching: Searcher, terms: tuple[Term, ...], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        searching.search(Query(terms), Options())


@pytest.mark.parametrize(
    "given",
    [
        5.5, [["a"]], {"words": "a"}, {"text": "a", "weight": "much"}, {"row": None},
        {"row": float("inf")}, {"text": "a", "weight": 10**400},  # JSON's 1e999, and a number without an exponent
    ],
)  # fmt: skip
def test_invalid_queries(given: Any) -> None:
    with pytest.raises(QueryError):
        read_terms(given)


def test_long_queries_other_scripts_and_lone_surrogates(searching: Searcher) -> None:
    answer = searching.search(Query((Term(text="a red bar " * 1000 + "!" * 1000),)), Options(k=1))
    assert "has 11000 characters; only the first 10000 are used" in answer["notes"][0]
    assert "the model reads only its first" in answer["notes"][1]
    assert "is in Cyrillic script" in clean_text("красный круг")[1][0]
    assert "Chinese" in clean_text("红色圆圈")[1][0]
    assert clean_text("a red 円 thing")[1] == []
    assert clean_text("half \ud83d a pair")[0] == "half ? a pair"
    assert clean_text("cafe\N{COMBINING ACUTE ACCENT}")[0] == "café", "as most captions spell it"
    assert len(searching.search(Query((Term(text="红色 \ud83d"),)), Options(k=5))["rows"]) > 0


@pytest.mark.parametrize(("text", "size"), [("5", 5), (7, 7), ("200 KB", 204800), ("1.5MiB", 1572864), ("2g", 2 << 30)])
def test_sizes(text: str | int, size: int) -> None:
    assert read_size(text) == size


def test_dates_and_invalid_sizes() -> None:
    assert read_date("2024-05-31T00:00:00+00:00") == 1717113600
    for read, wrong, message in (
        (read_date, "yesterday", "is not a date"),
        (read_date, "", "is not a date"),
        (read_date, math.nan, "is not a time"),
        (read_date, 1e300, "is not a time"),
        (read_size, "large", "is not a size"),
        (read_size, "9" * 5000, "larger than any file"),
    ):
        with pytest.raises(QueryError, match=message):
            read(wrong)  # type: ignore[operator]


def test_a_cancelled_encoding_continues(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query interrupts the encoding of the rest: no image is encoded twice."""
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path))
    model = replace(open_model(MODEL, ""), batch=8)
    progress: list[int] = []

    def cancel_after_two_batches(activity: str, done: int, _total: int) -> None:
        if activity == "encoding images":
            progress.append(done)
            if done == 16:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_source(model, MODEL, str(images / "images"), cancel_after_two_batches)
    assert len(encode_source(model, MODEL, str(images / "images"), cancel_after_two_batches).alive) == 48
    assert progress == [8, 16, 24, 32, 40, 48]
