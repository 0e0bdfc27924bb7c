"""The Clean panel's session by hand: which pairs are left out, of which ranking, and the histogram of match scores."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from core.evaluation.noise import RankedPair, Ranking
from core.spec.errors import UserError
from core.worker import noise
from core.worker.noise import NoiseSession, bin_of

BELIEFS = (0.0, 0.1004, 0.1996, 0.2, 0.5, 1.0)


def quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def asked() -> list[tuple[object, ...]]:
    """What was asked to be ranked."""
    return []


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[object, ...]]) -> Path:
    """Six pairs of three images, ranked as BELIEFS says."""
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        rows = [(f"{'abc'[i // 2]}.png", f"caption {i}", "k") for i in range(6)]
        csv.writer(file).writerows([("filepath", "title", "kind"), *rows])
    pairs = tuple(
        RankedPair(
            i // 2, str(tmp_path / f"{'abc'[i // 2]}.png"), f"caption {i}", score, 0.5, i + 1, (True, False)[i % 2]
        )
        for i, score in enumerate(BELIEFS)
    )

    def rank(*given: object) -> Ranking:
        asked.append(given)
        return Ranking(f"{tmp_path}@step-00000007", str(tmp_path / "pairs.csv"), pairs, 2)

    monkeypatch.setattr(noise, "rank_pairs", rank)
    return tmp_path / "pairs.csv"


def captions(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [row["title"] for row in csv.DictReader(file)]


def test_scores_are_rounded_to_thousandths() -> None:
    assert [bin_of(score) for score in (-0.1, *BELIEFS, 1.1)] == [0, 0, 100, 199, 200, 500, 999, 999]


def test_pairs_below_the_threshold_are_excluded_except_clean_ones(data: Path) -> None:
    desk, to = NoiseSession(), data.with_name("clean.csv")
    opened = desk.open(str(data.parent / "run"), quiet, data=str(data), most=2)
    assert (opened["listed"], len(opened["list"]), opened["pairs"]) == (2, 2, 6)
    assert sum(opened["bins"]) == 6
    assert [opened["bins"][at] for at in (0, 100, 199, 200, 500, 999)] == [1] * 6
    assert [at for at, count in enumerate(opened["shuffled_bins"]) if count] == [0, 199, 500]
    clean = [[str(data.with_name("a.png")), "caption 1"]]
    out = [[str(data.with_name("c.png")), "caption 5"]]
    answer = desk.save(str(data), [], str(to), quiet, pairs=out, below=200, clean=clean, key=opened["key"])
    assert captions(to) == ["caption 1", "caption 3", "caption 4"]
    assert (answer["images"], answer["captions"]) == (3, 3)
    with to.open(newline="") as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {"k"}
    with pytest.raises(UserError, match="already exists and is not overwritten"):
        desk.save(str(data), [], str(to), quiet)
    desk.save(str(data), [str(data.with_name("a.png"))], str(to), quiet, replace=True)
    assert captions(to) == [f"caption {i}" for i in range(2, 6)]


def test_failed_saves_are_reported(data: Path) -> None:
    desk = NoiseSession()
    key = desk.open(str(data.parent / "run"), quiet, data=str(data))["key"]
    to = str(data.with_name("clean.csv"))
    with pytest.raises(UserError, match=r"the ranking belongs to .*pairs\.csv, not to .*other\.csv; rank the pairs of"):
        desk.save(str(data.with_name("other.csv")), [], to, quiet, below=5, key=key)
    with pytest.raises(UserError, match="the pairs are not ranked; rank them, then save"):
        desk.save(str(data), [], to, quiet, below=5)
    with pytest.raises(UserError, match=r"no pair of .* would be left; exclude fewer pairs"):
        desk.save(str(data), [str(data.with_name(f"{name}.png")) for name in "abc"], to, quiet)
    with pytest.raises(UserError, match="is the data set itself, which is not overwritten"):
        desk.save(str(data), [], str(data), quiet, replace=True)
    with pytest.raises(UserError, match=r"has no image .*d\.png"):
        desk.save(str(data), [str(data.with_name("d.png"))], to, quiet)
    assert not Path(to).exists()


def test_a_restarted_worker_ranks_with_the_same_checkpoint(data: Path, asked: list[tuple[object, ...]]) -> None:
    key = NoiseSession().open(str(data.parent / "run"), quiet, data=str(data), weights="teacher")["key"]
    NoiseSession().save(str(data), [], str(data.with_name("clean.csv")), quiet, below=1, key=key)
    model, source, _, weights = asked[-1]
    assert (model, source, weights) == (f"{data.parent}@step-00000007", str(data), "teacher")
