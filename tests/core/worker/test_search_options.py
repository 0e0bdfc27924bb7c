"""What the Search panel asks of a session reaches the search: signs, filters, counts; and what is kept is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.search.index.build import Report
from core.spec.errors import UserError
from core.worker import searching
from core.worker.searching import SearchSession, _filter
from tests.core.search.samples import MODEL, build, write_images
from tests.core.worker.test_searching import Heard


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("options")
    for path in write_images(folder / "images")[:24]:
        path.unlink()
        path.with_suffix(".txt").unlink()
    build(folder / "images", folder / "index")
    return folder


@pytest.fixture(scope="module")
def opened(images: Path) -> tuple[SearchSession, str]:
    desk = SearchSession()
    return desk, desk.open(Heard(), index=str(images / "index"))["key"]


def test_minus_subtracts_a_query(opened: tuple[SearchSession, str]) -> None:
    desk, key = opened
    (most,) = desk.query(Heard(), key=key, texts="red", k=1, group=False)["rows"]
    away = desk.query(Heard(), key=key, minus=["red"], k=24, group=False)["rows"]
    assert away[-1]["cosine"] == pytest.approx(-most["cosine"], abs=1e-5)
    assert away[-1]["row"] == most["row"]
    both = desk.query(Heard(), key=key, rows=[3], minus=[{"row": 3, "weight": 0.5}], k=1, group=False)["rows"]
    assert both[0]["row"] == 3


def test_filters_reach_the_search(opened: tuple[SearchSession, str]) -> None:
    desk, key = opened
    rows = desk.query(Heard(), key=key, texts="a", k=24, group=False)["rows"]
    assert len(rows) == 24
    folders = {row["labels"]["folder"] for row in rows}
    sizes = sorted(row["size"] for row in rows)
    times = sorted(row["time"] for row in rows)

    def found(**filters: Any) -> list[dict[str, Any]]:
        answer = desk.query(Heard(), key=key, texts="a", k=24, group=False, filters=filters)
        assert answer["searched"] == len(answer["rows"])
        return list(answer["rows"])

    one = min(folders)
    for labels in ({"folder": one}, {"folder": [one]}):
        assert {row["labels"]["folder"] for row in found(labels=labels)} == {one}
    assert all(row["size"] <= sizes[10] for row in found(max_size=sizes[10]))
    assert 0 < len(found(max_size=sizes[10])) < 24
    assert all(row["size"] >= sizes[10] for row in found(min_size=str(sizes[10])))
    assert found(after=times[-1] + 60) == []
    assert found(before=times[0] - 60) == []
    assert len(found(after="", before=None, folders=[], labels=None, min_size=0)) == 24
    assert _filter({"after": 5, "before": "2024-01-02"}).after == 5.0
    with pytest.raises(UserError, match="there is no filter 'colour'"):
        found(colour="red")


def test_a_known_caption_with_the_requested_number_of_captions(
    opened: tuple[SearchSession, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, key = opened
    listed = desk.captions(Heard(), key=key, k=5)
    assert (len(listed["captions"]), listed["total"]) == (5, 24)
    for one in listed["captions"]:
        answer = desk.query(Heard(), key=key, caption=one["text"], k=3)
        assert (answer["true_row"], answer["true_rank"]) == (one["row"], one["rank"])
    monkeypatch.setattr(searching.evaluation, "rank_all", lambda *_: pytest.fail("the ranks were there"))
    assert len(desk.evaluate(Heard(), key=key, listed=3)["text_to_image"]) == 3
    assert desk.query(Heard(), key=key, caption=0)["true_rank"] is not None


def test_a_grown_index_is_reopened_and_reports_problems(tmp_path: Path) -> None:
    paths = write_images(tmp_path / "images")
    build(tmp_path / "images", tmp_path / "index")
    desk = SearchSession()
    first = desk.open(Heard(), index=str(tmp_path / "index"))
    assert (first["images"], first["source"], first["title"]) == (
        48,
        str(tmp_path / "images"),
        str(tmp_path / "index"),
    )
    paths[0].unlink()
    build(tmp_path / "images", tmp_path / "index")
    assert desk.open(Heard(), index=str(tmp_path / "index"))["images"] == 47
    file = tmp_path / "index" / "texts-0001.bin"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(UserError, match="is empty"):
        desk.open(Heard(), index=str(tmp_path / "index"))


def test_an_index_is_updated_by_the_model_that_built_it(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def built(*given: Any, **named: Any) -> Report:
        asked.append((given, named))
        given[4]("a remark")
        return Report(added=2)

    monkeypatch.setattr(searching, "build_index", built)
    made = searching._manifest(str(images / "index"))
    answer = SearchSession().index(Heard(), folder=str(images / "index"), weights="teacher", drop_missing=True)
    assert (answer["added"], answer["log"]) == (2, ["a remark"])
    ((given, named),) = asked
    assert given[:3] == (MODEL, str(images / "images"), str(images / "index"))
    assert named == {"weights": made.identity.weights, "drop_missing": True}
    SearchSession().index(Heard(), model="m", source="s", folder="f", weights="teacher")
    assert (asked[-1][0][:3], asked[-1][1]["weights"]) == (("m", "s", "f"), "teacher")
    with pytest.raises(UserError, match="choose the folder for the index"):
        SearchSession().index(Heard(), model="m", source="s")
    with pytest.raises(UserError, match="contains no index; choose a model"):
        SearchSession().index(Heard(), folder=str(images))
