"""The worker's search desk: a real trained run in memory, and an index of the same data, asked as a panel asks."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.checkpoint.opening import open_model
from core.evaluation.evaluate import Request, evaluate
from core.search import cached_indexes
from core.search.index.build import build_index
from core.search.index.manifest import read_manifest, write_manifest
from core.search.index.storage import IndexWriter
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.worker import searching
from core.worker.searching import SearchSession


class Heard:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.doing: list[str] = []
        self.partials: list[dict[str, Any]] = []

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self.doing.append(doing)

    def partial(self, result: dict[str, Any]) -> None:
        self.partials.append(result)


@pytest.fixture(scope="module")
def run(trained_run: tuple[RunDir, Path]) -> tuple[Path, Path]:
    """A trained run, and its held-out data."""
    return trained_run[0].path, trained_run[1]


@pytest.fixture(scope="module")
def index(run: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "index"
    build_index(str(run[0]), str(run[1]), folder, lambda *_: None, lambda text: None)
    return folder


@pytest.fixture(scope="module")
def opened(index: Path) -> tuple[SearchSession, str]:
    """A desk with the index open, and its key."""
    desk = SearchSession()
    return desk, desk.open(Heard(), index=str(index))["key"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))


def test_a_run_and_its_index_answer_like_evaluate(run: tuple[Path, Path], index: Path) -> None:
    """Every held-out caption through search itself: the same recall as ``evaluate --task retrieval``."""
    measured = evaluate(open_model(str(run[0])), Request(data=str(run[1]), task="retrieval"), lambda *_: None, print)
    desk = SearchSession()
    keys = [desk.open(Heard(), model=str(run[0]))["key"], desk.open(Heard(), index=str(index))["key"]]
    for key in keys:
        total = {1: 0, 5: 0, 10: 0}
        captions = desk.captions(Heard(), key=key)["captions"]
        for one in captions:
            rows = desk.query(Heard(), key=key, texts=one["caption"], k=12, group=False)["rows"]
            rank = next(row["rank"] for row in rows if row["path"] == one["path"])
            for k in total:
                total[k] += rank <= k
        for k, hits in total.items():
            assert hits / len(captions) == pytest.approx(measured.outcome.metrics[f"text_to_image_R@{k}"])
        recall = desk.evaluate(Heard(), key=key)["recall"]
        for k in total:
            for direction in ("text_to_image", "image_to_text"):
                assert recall[f"{direction}_R@{k}"] == pytest.approx(measured.outcome.metrics[f"{direction}_R@{k}"])


def test_a_part_of_the_data_is_searched_before_the_rest_is_encoded(
    run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, model, data = SearchSession(), str(run[0]), str(run[1])
    loaded: list[str] = []
    monkeypatch.setattr(searching, "open_model", lambda *name: loaded.append(name[0]) or open_model(*name))
    part = desk.open(Heard(), model=model, data=data, first=4)
    assert (part["images"], part["remaining"]) == (4, 8)
    rows = desk.query(Heard(), key=part["key"], texts="a red circle")["rows"]
    assert len(rows) == 4
    whole = desk.open(Heard(), model=model, data=data)
    assert (whole["images"], whole["remaining"]) == (12, 0)
    order = [row["path"] for row in desk.query(Heard(), key=whole["key"], texts="a red circle", group=False)["rows"]]
    assert {row["path"] for row in rows} < set(order)
    assert len(loaded) == 1, "the rest needs no second copy of the model"
    small = desk.open(Heard(), model=model, data=data, first=8)
    assert (small["images"], small["remaining"]) == (12, 0), "not worth two requests"
    assert desk.open(Heard(), model=model, first=4)["remaining"] == 0, "validation data is cached"


def test_changed_data_is_read_again_when_opened(run: tuple[Path, Path], tmp_path: Path) -> None:
    data = Path(shutil.copytree(run[1].parent, tmp_path / "data")) / run[1].name
    lines = data.read_text().splitlines(keepends=True)
    data.write_text("".join(lines[:5]))
    desk, model = SearchSession(), str(run[0])
    first = desk.open(Heard(), model=model, data=str(data))
    heard = Heard()
    assert desk.open(heard, model=model, data=str(data))["images"] == first["images"] == 4
    assert heard.doing == []
    data.write_text("".join(lines[:8]))
    os.utime(data, ns=(0, 1))
    assert desk.open(Heard(), model=model, data=str(data))["images"] == 7
    assert len(desk._open) == 1, "the collection of the former data is closed"


def test_opened_models_are_described(run: tuple[Path, Path], index: Path) -> None:
    desk = SearchSession()
    held = desk.open(Heard(), model=str(run[0]), weights="student")
    assert (held["images"], held["captions"], held["weights"]) == (12, 12, "student")
    assert held["title"] == str(run[1])
    assert held["model"].startswith(str(run[0]) + "@step-")
    indexed = desk.open(Heard(), index=str(index))
    assert (indexed["images"], indexed["captions"]) == (12, 12)
    assert (indexed["model"], indexed["search_method"]) == (held["model"], "exact, in memory")


def test_answers_are_plain_json(run: tuple[Path, Path]) -> None:
    desk = SearchSession()
    key = desk.open(Heard(), model=str(run[0]))["key"]
    answers = [
        desk.query(Heard(), key=key, texts=["red", {"text": "bar", "weight": 0.5}], minus=["blue"], k=3),
        desk.query(Heard(), key=key, rows=[0], find="captions", k=3),
        desk.facets(Heard(), key=key),
        desk.evaluate(Heard(), key=key),
    ]
    for answer in answers:
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert len(answers[0]["rows"]) <= 3
    assert {"row", "path", "caption", "cosine", "softmax", "rank", "above_cutoff", "duplicates"} <= set(
        answers[0]["rows"][0]
    )
    assert len(answers[1]["rows"]) == 3


def test_two_networks_are_compared(run: tuple[Path, Path]) -> None:
    desk = SearchSession()
    keys = [desk.open(Heard(), model=str(run[0]), weights=weights)["key"] for weights in ("student", "teacher")]
    answer = desk.compare(Heard(), a=keys[0], b=keys[1])
    ranks = [{one["text"]: one["rank"] for one in desk.captions(Heard(), key=key)["captions"]} for key in keys]
    found = [{text for text, rank in one.items() if rank <= 1} for one in ranks]
    assert {row["text_a"] for row in answer["only_a"]} == found[0] - found[1]
    assert {row["text_b"] for row in answer["only_b"]} == found[1] - found[0]
    assert answer["counts"]["both"] == len(found[0] & found[1])


def test_the_map_arrives_in_two_steps(run: tuple[Path, Path]) -> None:
    desk, heard = SearchSession(), Heard()
    key = desk.open(heard, model=str(run[0]))["key"]
    answer = desk.map(heard, key=key)
    assert [part["method"] for part in heard.partials] == ["PCA"]
    assert answer["method"] == "t-SNE"
    assert len(answer["images"]) == len(answer["captions"]) == 12
    assert {point["row"] for point in answer["captions"]} == {point["row"] for point in answer["images"]}


def test_reasons_why_an_image_matches(opened: tuple[SearchSession, str]) -> None:
    desk, key = opened
    row = desk.query(Heard(), key=key, texts="a red circle", k=1)["rows"][0]
    answer = desk.why(Heard(), key=key, path=row["path"], text=" a red\ncircle")
    assert answer["cosine"] == pytest.approx(row["cosine"], abs=0.02)  # the index keeps float16, by the run's precision
    assert [word["text"] for word in answer["words"]] == ["a", "red", "circle"]
    assert [len(one) for one in answer["patches"]] == [4] * 4
    assert sum(map(sum, answer["patches"])) == pytest.approx(1, abs=1e-4)
    with pytest.raises(UserError, match="there is no text to compare the image with"):
        desk.why(Heard(), key=key, path=row["path"], text="  ")
    with pytest.raises(UserError, match=r"the image /nowhere\.png cannot be compared"):
        desk.why(Heard(), key=key, path="/nowhere.png", text="red")


def test_an_index_is_built_with_progress_and_grows(run: tuple[Path, Path], tmp_path: Path) -> None:
    desk, heard = SearchSession(), Heard()
    answer = desk.index(heard, model=str(run[0]), source=str(run[1].parent), folder=str(tmp_path / "index"))
    assert (answer["images"], answer["captions"], answer["added"]) == (48, 0, 48)
    assert "encoding images" in heard.doing
    assert json.loads(json.dumps(answer))["bad"] == []
    opened = desk.open(Heard(), index=str(tmp_path / "index"))
    assert (opened["images"], opened["captions"]) == (48, 0)
    with pytest.raises(UserError, match="has no captions; search for images"):
        desk.query(Heard(), key=opened["key"], texts="red", find="captions")
    with pytest.raises(UserError, match="has no captions; use data with captions"):
        desk.evaluate(Heard(), key=opened["key"])


def test_evicted_models_are_reopened(run: tuple[Path, Path], index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "MAX_COLLECTIONS", 1)
    desk = SearchSession()
    first = desk.open(Heard(), index=str(index))["key"]
    for asked, opens in (({"texts": "red"}, False), ({"texts": "blue"}, True), ({"texts": "green"}, False)):
        if opens:
            desk.open(Heard(), model="open_clip:sd-tiny", data=str(run[1]))
        heard = Heard()
        assert desk.query(heard, key=first, **asked)["rows"]
        assert ("opening the index" in heard.doing) == opens


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("search_query", {"key": "never given", "texts": "a"}, "no collection is open; choose an index or a run"),
        ("search_open", {}, "choose an index, or a model"),
        ("search_open", {"index": "/nowhere"}, "there is no index in /nowhere"),
        ("search_open", {"model": "/nowhere"}, "there is no model '/nowhere'"),
        ("search_open", {"model": "open_clip:sd-tiny"}, "has no validation data"),
        ("search_relocate", {"folder": "/nowhere", "old": "/a", "new": "/b"}, "there is no folder /b"),
    ],
)
def test_unsupported_requests_are_reported(verb: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SearchSession().verbs[verb](progress=Heard(), **arguments)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"texts": ["", "  "]}, "the query is empty"),
        ({"caption": 12}, "there is no caption 12; use a number from 0 to 11"),
        ({"texts": "a", "k": 0}, "k must be from 1 to"),
        ({"texts": "a", "find": "sounds"}, "find must be images or captions, not 'sounds'"),
        ({"texts": "a", "filters": {"colour": "red"}}, "there is no filter 'colour'"),
        ({"texts": "a", "prompts": "/no/prompts.txt"}, "neither a file nor one of the bundled prompt sets"),
    ],
)
def test_queries_that_cannot_be_answered(
    opened: tuple[SearchSession, str], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        opened[0].query(Heard(), key=opened[1], **asked)


def test_a_searched_folder_is_cached_and_only_new_images_are_encoded(
    run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album, keep = tmp_path / "album", tmp_path / "kept"
    album.mkdir()
    images = sorted(run[1].parent.rglob("*.png"))
    for number, path in enumerate(images[:5]):
        shutil.copy(path, album / f"{number}.png")
    first = SearchSession().open(Heard(), model=str(run[0]), data=str(album), cache=str(keep))
    assert (first["title"], first["source"], first["images"]) == ("album", str(album), 5)
    shutil.copy(images[5], album / "5.png")
    (album / "0.png").unlink()
    heard, desk = Heard(), SearchSession()
    again = desk.open(heard, model=str(run[0]), data=str(album), cache=str(keep))
    assert again["images"] == 5
    assert len(list(keep.iterdir())) == 1
    rows = desk.query(Heard(), key=again["key"], images=str(album / "5.png"), k=5)["rows"]
    assert (rows[0]["path"], len(rows)) == (str(album / "5.png"), 5)
    monkeypatch.setattr(cached_indexes, "MAX_INDEXES", 1)
    other = tmp_path / "other"
    shutil.copytree(album, other)
    SearchSession().open(Heard(), model=str(run[0]), data=str(other), cache=str(keep))
    assert [path.name.rpartition("-")[0] for path in keep.iterdir()] == ["other"], "the oldest made room"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError):
        SearchSession().open(Heard(), model=str(run[0]), data=str(empty), cache=str(keep))


def test_the_reason_why_a_folder_is_not_cached_is_shown(run: tuple[Path, Path], tmp_path: Path) -> None:
    album, keep = tmp_path / "album", tmp_path / "kept"
    album.mkdir()
    for number, path in enumerate(sorted(run[1].parent.rglob("*.png"))[:4]):
        shutil.copy(path, album / f"{number}.png")

    def search() -> dict[str, Any]:
        return SearchSession().open(Heard(), model=str(run[0]), data=str(album), cache=str(keep))

    search()
    (index,) = keep.iterdir()
    with closing(IndexWriter(index)):
        with pytest.raises(UserError, match="is being written by another process"):
            search()
        for path in album.glob("*.png"):
            path.with_suffix(".txt").write_text("a caption")
        opened = search()
    assert (opened["images"], opened["search_method"]) == (4, "exact, in memory")
    assert [note.partition(":")[0] for note in opened["notes"]] == ["Searched in memory"]
    keep.rename(tmp_path / "other")
    keep.write_text("a file")
    assert "Not a directory" in search()["notes"][0]


def test_a_cached_index_of_other_weights_is_replaced(run: tuple[Path, Path], tmp_path: Path) -> None:
    album, keep = tmp_path / "album", tmp_path / "kept"
    album.mkdir()
    shutil.copy(next(run[1].parent.rglob("*.png")), album)
    SearchSession().open(Heard(), model=str(run[0]), data=str(album), cache=str(keep))
    (index,) = keep.iterdir()
    before = read_manifest(index)
    assert before is not None
    write_manifest(index, replace(before, identity=replace(before.identity, digest="0" * 12)))
    assert SearchSession().open(Heard(), model=str(run[0]), data=str(album), cache=str(keep))["images"] == 1
    assert read_manifest(index) == before
