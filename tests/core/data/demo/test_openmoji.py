"""The demo set: names understood, splits that ask what they claim, the same bytes each time."""

from __future__ import annotations

import csv
import os
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from PIL import Image

from core.data.demo import openmoji
from core.data.demo.emoji_names import Label, group_of, label
from core.data.demo.openmoji import Emoji, named_emoji, split, write_demo_data
from core.data.errors import DataError
from core.data.sources.opening import open_source
from core.spec.children import python_command, start_program

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


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_names_are_parsed(name: str, expected: tuple[str, str, str]) -> None:
    assert label("1F600", name) == Label(*expected, "smileys")


@pytest.mark.parametrize(
    ("code", "group"),
    [
        ("1F469-1F3FE-200D-1F692", "people"),
        ("1F1E9-1F1EA", "flags"),
        ("0031-FE0F-20E3", "symbols"),
        ("1F98A", "animals"),
        ("1F355", "food"),
        ("1F680", "travel"),
        ("26BD", "activities"),
        ("1F511", "objects"),
        ("2764-FE0F", "smileys"),
        ("2654", "symbols"),
    ],
)
def test_groups(code: str, group: str) -> None:
    assert group_of(code) == group


@pytest.fixture(scope="module")
def splits() -> dict[str, list[Emoji]]:
    return split(named_emoji())


def test_there_are_enough_images_and_no_duplicates(splits: dict[str, list[Emoji]]) -> None:
    everything = [one for rows in splits.values() for one in rows]
    assert len(everything) >= 3900
    assert len({one.code for one in everything}) == len(everything)
    assert len({one.title for one in everything}) == len(everything)
    assert all(one.title and one.concept and one.group for one in everything)
    assert len(splits["train"]) >= 2400
    assert len(splits["val"]) == 790
    assert len(splits["test"]) == 400
    assert 250 <= len(splits["unseen"]) <= 350


def test_val_and_test_are_compositional_and_held_out_concepts_stay_held_out(splits: dict[str, list[Emoji]]) -> None:
    concepts = {name: Counter(one.concept for one in rows) for name, rows in splits.items()}
    assert set(concepts["val"]) | set(concepts["test"]) <= set(concepts["train"])
    assert not set(concepts["unseen"]) & (set(concepts["train"]) | set(concepts["val"]) | set(concepts["test"]))
    whole = sum(concepts.values(), Counter())
    for concept in concepts["val"]:
        assert concepts["train"][concept] >= 0.4 * whole[concept]
    for fact in ("tone", "gender", "group"):
        trained = {getattr(one, fact) for one in splits["train"]}
        assert {getattr(one, fact) for name in ("val", "test") for one in splits[name]} <= trained


def test_held_out_concepts_come_from_all_groups(splits: dict[str, list[Emoji]]) -> None:
    groups = Counter(one.group for one in splits["unseen"])
    assert set(groups) == {one.group for one in splits["train"]}
    assert len({one.concept for one in splits["unseen"]}) > 80


def test_a_neutral_name_means_a_person_where_women_and_men_exist() -> None:
    by_title = {one.title: one for one in named_emoji()}
    assert by_title["firefighter"].gender == "person"
    assert by_title["thumbs up"].gender == ""


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[Emoji]:
    """A small part of the names, for tests that render."""
    chosen = [one for one in named_emoji() if one.concept in ("firefighter", "running", "thumbs up", "fox", "pizza")]
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


def test_a_complete_set_is_kept_and_a_partial_one_finished(tmp_path: Path, few: list[Emoji]) -> None:
    write_demo_data(tmp_path, 24)
    before = content(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    write_demo_data(tmp_path, 24, lambda done, total: pytest.fail("nothing is to be rendered"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times
    (tmp_path / "images" / "1F98A.png").unlink()
    (tmp_path / "train.csv").write_text("torn")
    rendered: list[int] = []
    write_demo_data(tmp_path, 24, lambda done, total: rendered.append(done))
    assert rendered == [1]
    assert content(tmp_path) == before


def test_a_cancelled_set_is_finished_next_time(tmp_path: Path, few: list[Emoji]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "a", 24, stop)
    assert not (tmp_path / "a" / "train.csv").exists()
    write_demo_data(tmp_path / "a", 24)
    write_demo_data(tmp_path / "b", 24)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_size_is_rendered_again(tmp_path: Path, few: list[Emoji]) -> None:
    write_demo_data(tmp_path, 24)
    write_demo_data(tmp_path, 16)
    with Image.open(tmp_path / "images" / "1F98A.png") as image:
        assert image.size == (16, 16)


def test_rendering_in_processes_gives_the_same_images(
    tmp_path: Path, few: list[Emoji], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_demo_data(tmp_path / "a", 24)
    monkeypatch.setattr(openmoji, "MIN_PARALLEL_IMAGES", 1)
    write_demo_data(tmp_path / "b", 24)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_other_data_of_the_same_name_is_not_overwritten(tmp_path: Path, few: list[Emoji]) -> None:
    (tmp_path / "train.csv").write_text("filepath,title\n")
    with pytest.raises(DataError, match=r"already contains train\.csv"):
        write_demo_data(tmp_path)
    assert (tmp_path / "train.csv").read_text() == "filepath,title\n"


@pytest.mark.parametrize(
    ("mine", "said"),
    [("images/1F98A.png", "images in images/"), ("demo.json", r"a file demo\.json")],
)
def test_a_folder_of_other_images_is_left_alone(tmp_path: Path, few: list[Emoji], mine: str, said: str) -> None:
    for name in ("images/1F600.png", "train.csv", mine):
        if name != "train.csv" or mine == "demo.json":
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text('{"layout": "portrait"}')
    before = content(tmp_path)
    with pytest.raises(DataError, match=f"already contains {said}, which is not demo data; choose an empty folder"):
        write_demo_data(tmp_path)
    assert content(tmp_path) == before


def test_only_our_own_images_are_rendered_again(tmp_path: Path, few: list[Emoji]) -> None:
    write_demo_data(tmp_path, 24)
    for name in ("holiday.png", "0BAD.png"):  # the second might be another version's
        (tmp_path / "images" / name).write_text("mine")
    write_demo_data(tmp_path, 16)
    assert (tmp_path / "images" / "holiday.png").read_text() == "mine"
    assert not (tmp_path / "images" / "0BAD.png").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, few: list[Emoji]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        write_demo_data(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "geteuid") and os.geteuid() == 0), reason="rights do not bind here")
def test_a_folder_without_the_right_to_write(tmp_path: Path, few: list[Emoji]) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"):
        write_demo_data(tmp_path / "demo")
    tmp_path.chmod(0o700)


def test_missing_packages_name_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmoji, "_missing", ImportError("No module named 'resvg_py'", name="resvg_py"))
    with pytest.raises(DataError, match=r"no module resvg_py\).* install .*\[demo\]"):
        write_demo_data(tmp_path)


@pytest.mark.slow
def test_no_render_process_outlives_a_killed_program(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        command = [*python_command("core"), "demo-data", str(tmp_path / "data")]
        started = start_program(command, log, log)
    program = psutil.Process(started.pid)
    while not list((tmp_path / "data").glob("images/*.png")):
        assert started.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    workers = program.children(recursive=True)
    assert workers, "it renders in processes"
    started.kill()
    started.wait()
    gone, alive = psutil.wait_procs(workers, timeout=60)
    for one in alive:
        one.kill()
    assert (len(gone), alive) == (len(workers), [])
