"""A fixed copy of a table: what each kind of fix does to it, and what is refused."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from core.data.derived.fixed import save_fixed
from core.data.sources.opening import open_source
from core.spec.data.fixes import Fix, FixesError, read_record, record_path
from core.spec.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four images in a folder of their own, the first with two captions; and one elsewhere."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    for name in "abcd":
        Image.new("RGB", (4, 4)).save(tmp_path / "data" / "images" / f"{name}.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "elsewhere.png")
    rows = [("a", "one", "x"), ("a", "=two", "x"), ("b", "three", "y"), ("c", "four", "y"), ("d", "five", "x")]
    with (tmp_path / "data" / "pairs.csv").open("w", newline="") as file:
        table = [(f"images/{name}.png", title.replace("=", "'="), kind) for name, title, kind in rows]
        csv.writer(file).writerows([("filepath", "title", "kind"), *table])
    return tmp_path / "data" / "pairs.csv"


def of(data: Path, name: str) -> str:
    return str(data.parent / "images" / f"{name}.png")


def content(path: Path) -> dict[str, tuple[tuple[str, ...], str]]:
    source = open_source(path)
    assert source.bad == []
    return {row.image.name: (row.captions, row.labels["kind"]) for row in source.rows}


def test_each_fix_is_applied_and_recorded(data: Path, tmp_path: Path) -> None:
    fixes = [
        Fix(kind="wrong", path=of(data, "a"), caption="=two", panel="Clean", run="/runs/x", found=7.0),
        Fix(kind="excluded", path=of(data, "b")),
        Fix(kind="recaptioned", path=of(data, "c"), caption="four", value="=4", panel="Caption"),
        Fix(kind="relabelled", path=of(data, "d"), label="kind", value="z", panel="Classify"),
        Fix(kind="added", path=str(tmp_path / "elsewhere.png"), value="six"),
    ]
    to = tmp_path / "data" / "fixed.csv"
    record = save_fixed(str(data), fixes, to)
    found = content(to)
    (new,) = set(found) - {"a.png", "c.png", "d.png"}
    assert found == {
        "a.png": (("one",), "x"), "c.png": (("=4",), "y"), "d.png": (("five",), "z"), new: (("six",), ""),
    }  # fmt: skip
    assert new.startswith("elsewhere-")
    assert (record.images, record.captions, record.source, record.fixed) == (4, 4, str(data), "fixed.csv")
    assert read_record(to) == record
    assert record.fixes == tuple(fixes)
    assert "'=4" in to.read_text(encoding="utf-8"), "no spreadsheet runs a caption"


def test_the_later_fix_of_a_pair_wins_and_the_copy_may_be_elsewhere(data: Path, tmp_path: Path) -> None:
    fixes = [
        Fix(kind="wrong", path=of(data, "b"), caption="three"),
        Fix(kind="recaptioned", path=of(data, "b"), caption="three", value="3"),
        Fix(kind="recaptioned", path=of(data, "d"), caption="five", value="5"),
        Fix(kind="wrong", path=of(data, "d"), caption="five"),
        Fix(kind="recaptioned", path=of(data, "a"), value="whole"),
    ]
    to = tmp_path / "out" / "fixed.csv"
    to.parent.mkdir()
    save_fixed(str(data), fixes, to)
    assert {name: captions for name, (captions, _) in content(to).items()} == {
        "a.png": ("whole",), "b.png": ("3",), "c.png": ("four",),
    }  # fmt: skip


def test_an_image_is_identified_through_any_path(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data.parent, target_is_directory=True)
    fix = Fix(kind="recaptioned", path=str(tmp_path / "link" / "images" / "b.png"), value="3")
    record = save_fixed(str(data), [fix], data.parent / "fixed.csv")
    assert record.images == 4, "it is changed, and not added again"
    assert content(data.parent / "fixed.csv")["b.png"][0] == ("3",)


@pytest.mark.parametrize(
    ("fix", "sentence"),
    [
        ({"kind": "wrong", "name": "nowhere"}, "cannot fix .*nowhere.png: .*has no such image. Remove the fix"),
        ({"kind": "wrong", "name": "a", "caption": "other"}, "has no caption 'other' in .*; remove the fix"),
        ({"kind": "relabelled", "name": "a", "label": "tone", "value": "x"}, "has no label 'tone'"),
        ({"kind": "recaptioned", "name": "a", "caption": "one", "value": " "}, "is empty; enter the new text"),
        ({"kind": "added", "name": "nowhere", "value": "x"}, "the file does not exist. Remove the fix"),
    ],
)
def test_a_fix_that_matches_nothing_is_refused_and_nothing_is_written(
    data: Path, fix: dict[str, str], sentence: str
) -> None:
    given = {key: value for key, value in fix.items() if key != "name"}
    with pytest.raises(UserError, match=sentence):
        save_fixed(str(data), [Fix.model_validate({**given, "path": of(data, fix["name"])})], data.parent / "new.csv")
    assert not (data.parent / "new.csv").exists()


def test_source_data_and_other_files_are_not_overwritten(data: Path) -> None:
    fixes = [Fix(kind="excluded", path=of(data, "b"))]
    before = data.read_bytes()
    for replace in (False, True):
        with pytest.raises(UserError, match="is not overwritten"):
            save_fixed(str(data), fixes, data, replace)
    with pytest.raises(UserError, match=r"must end with \.csv"):
        save_fixed(str(data), fixes, data.with_suffix(".txt"))
    with pytest.raises(UserError, match=r"no pair of .* would be left"):
        save_fixed(str(data), [Fix(kind="excluded", path=of(data, name)) for name in "abcd"], data.parent / "no.csv")
    assert data.read_bytes() == before


def test_a_failed_replacement_keeps_the_table_and_its_record(data: Path, fill_disk: Callable[[], None]) -> None:
    target = data.with_name("fixed.csv")
    save_fixed(str(data), [Fix(kind="excluded", path=of(data, "b"))], target)
    written = [target, record_path(target)]
    before = [path.read_bytes() for path in written]
    fill_disk()
    with pytest.raises(UserError, match="No space left"):
        save_fixed(str(data), [Fix(kind="excluded", path=of(data, "c"))], target, replace=True)
    assert [path.read_bytes() for path in written] == before


def test_a_foreign_record_raises_a_user_error(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    assert read_record(table) is None
    for text in ("{", "[]", '{"version": 9}', '{"version": 1, "source": "a", "fixes": [{"kind": "eval"}]}'):
        record_path(table).write_text(text, encoding="utf-8")
        with pytest.raises(FixesError, match=r"x\.fixes\.json"):
            read_record(table)
