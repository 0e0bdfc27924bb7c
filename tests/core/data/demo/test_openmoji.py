"""The demo set: names understood, splits that ask what they claim, the same bytes each time."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from core.data.demo import openmoji
from core.data.demo.emoji_names import Emoji, group_of, parse_name
from core.data.demo.openmoji import named_emoji, split, write_demo_data
from core.data.errors import DataError
from core.data.sources.opening import open_source

NAMES = {
    "woman firefighter medium-dark skin tone": ("firefighter", "medium-dark", "woman"),
    "firefighter": ("firefighter", "", ""),
    "person medium skin tone white hair": ("white hair", "medium", "person"),
    "man running facing right light skin tone": ("running", "light", "man"),
    "kiss woman man dark skin tone medium-light skin tone": ("kiss", "dark + medium-light", "mixed"),
    "couple with heart man man light skin tone": ("couple with heart", "light", "man"),
    "women wrestling": ("wrestling", "", "woman"),
    "woman and man holding hands": ("holding hands", "", "mixed"),
    "family man woman girl boy": ("family", "", "mixed"),
    "deaf man": ("deaf", "", "man"),
    "old woman dark skin tone": ("older person", "dark", "woman"),
    "boy": ("child", "", "man"),
    "person": ("person", "", "person"),
    "Mrs. Claus": ("claus", "", "woman"),
    "merman medium skin tone": ("merperson", "medium", "man"),
    "pregnant woman": ("pregnant", "", "woman"),
    "thumbs up medium-light skin tone": ("thumbs up", "medium-light", ""),
    "woman’s hat": ("woman’s hat", "", ""),
    "light skin tone": ("skin tone", "light", ""),
    "dark chocolate": ("dark chocolate", "", ""),
}
GROUPS = {
    "1F469-1F3FE-200D-1F692": "people",
    "1F1E9-1F1EA": "flags",
    "0031-FE0F-20E3": "symbols",
    "1F98A": "animals",
    "2764-FE0F": "smileys",
    "2654": "symbols",
}


def test_names_and_groups_are_parsed() -> None:
    for name, (concept, tone, gender) in NAMES.items():
        assert parse_name("1F600", name) == Emoji("1F600", name, concept, tone, gender, "smileys")
    assert {code: group_of(code) for code in GROUPS} == GROUPS


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Emoji]]:
    return split(named_emoji())


def test_splits_are_distinct_and_hold_out_variants_and_concepts(splits: dict[str, list[Emoji]]) -> None:
    everything = [one for rows in splits.values() for one in rows]
    assert len(everything) >= 3900
    assert len({one.code for one in everything}) == len({one.title for one in everything}) == len(everything)
    assert all(one.title and one.concept and one.group for one in everything)
    assert len(splits["train"]) >= 2400
    assert (len(splits["val"]), len(splits["test"])) == (790, 400)
    assert 250 <= len(splits["unseen"]) <= 350
    by_title = {one.title: one.gender for one in everything}
    assert (by_title["firefighter"], by_title["thumbs up"]) == ("person", ""), "a person where women and men exist"

    concepts = {name: Counter(one.concept for one in rows) for name, rows in splits.items()}
    assert set(concepts["val"]) | set(concepts["test"]) <= set(concepts["train"])
    assert not set(concepts["unseen"]) & (set(concepts["train"]) | set(concepts["val"]) | set(concepts["test"]))
    whole = sum(concepts.values(), Counter())
    assert all(concepts["train"][concept] >= 0.4 * whole[concept] for concept in concepts["val"])
    for fact in ("tone", "gender", "group"):
        trained = {getattr(one, fact) for one in splits["train"]}
        assert {getattr(one, fact) for name in ("val", "test") for one in splits[name]} <= trained
    assert {one.group for one in splits["unseen"]} == {one.group for one in splits["train"]}
    assert len(concepts["unseen"]) > 80


@pytest.fixture
def few(splits: dict[str, list[Emoji]], monkeypatch: pytest.MonkeyPatch) -> list[Emoji]:
    """A small part of the names, for tests that render."""
    every = [one for rows in splits.values() for one in rows]
    chosen = [one for one in every if one.concept in ("firefighter", "running", "thumbs up", "fox", "pizza")]
    monkeypatch.setattr(openmoji, "named_emoji", lambda: chosen)
    return chosen


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_written_set_opens_and_is_deterministic(tmp_path: Path, few: list[Emoji]) -> None:
    calls: list[tuple[int, int]] = []
    counts = write_demo_data(tmp_path / "a", 24, lambda done, total: calls.append((done, total)))
    assert calls == [(i, len(few)) for i in range(1, len(few) + 1)]
    assert write_demo_data(tmp_path / "b", 24) == counts
    assert content(tmp_path / "a") == content(tmp_path / "b")
    seen = 0
    for name, count in counts.items():
        with (tmp_path / "a" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == ["filepath", "title", "concept", "tone", "gender", "group"] if rows else count == 0
        assert len(rows) == count
        if rows:
            source = open_source(tmp_path / "a" / f"{name}.csv")
            assert len(source.rows) == count
            assert source.bad == []
            seen += count
    assert seen == len(few)
    with Image.open(tmp_path / "a" / "images" / "1F98A.png") as image:
        assert image.size == (24, 24)
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
        assert len(image.convert("RGB").getcolors(10_000) or []) > 10


def test_a_complete_set_is_kept_and_a_partial_or_cancelled_one_finished(tmp_path: Path, few: list[Emoji]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path, 24, stop)
    assert not (tmp_path / "train.csv").exists()
    rendered: list[int] = []
    write_demo_data(tmp_path, 24, lambda done, total: rendered.append(done))
    assert len(rendered) == len(few) - 5
    before = content(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    write_demo_data(tmp_path, 24, lambda done, total: pytest.fail("nothing is to be rendered"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    (tmp_path / "images" / "1F98A.png").unlink()
    (tmp_path / "train.csv").write_text("torn")
    write_demo_data(tmp_path, 24)
    assert content(tmp_path) == before


def test_another_size_replaces_only_rendered_images(tmp_path: Path, few: list[Emoji]) -> None:
    write_demo_data(tmp_path, 24)
    for name in ("holiday.png", "0BAD.png"):  # the second might be another version's
        (tmp_path / "images" / name).write_text("mine")
    write_demo_data(tmp_path, 16)
    assert (tmp_path / "images" / "holiday.png").read_text() == "mine"
    assert not (tmp_path / "images" / "0BAD.png").exists()
    with Image.open(tmp_path / "images" / "1F98A.png") as image:
        assert image.size == (16, 16)


@pytest.mark.parametrize(
    ("mine", "said"),
    [("images/1F98A.png", "images in images/"), ("demo.json", r"a file demo\.json"), ("train.csv", r"train\.csv")],
)
def test_a_folder_of_other_images_is_left_alone(tmp_path: Path, few: list[Emoji], mine: str, said: str) -> None:
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text('{"layout": "portrait"}')
    before = content(tmp_path)
    with pytest.raises(DataError, match=f"already contains {said}, which is not demo data; choose an empty folder"):
        write_demo_data(tmp_path)
    assert content(tmp_path) == before


def test_a_folder_that_cannot_be_written(tmp_path: Path, few: list[Emoji]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        write_demo_data(tmp_path / "file")


def test_missing_packages_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmoji, "_missing", ImportError("No module named 'resvg_py'", name="resvg_py"))
    with pytest.raises(DataError, match=r"no module resvg_py\).* install .*\[demo\]"):
        write_demo_data(tmp_path)
