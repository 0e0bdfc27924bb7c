"""Wrong captions of each kind: as many as asked for, marked, the same for the same seed, and otherwise untouched."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from core.__main__ import main
from core.data.derived.noisy import GENERIC, mismatched_captions, write_noisy
from core.spec.errors import UserError
from core.spec.study import NoiseSpec
from core.spec.study.config import NoiseKind

GROUPS = ("fruit", "tools", "birds")


def manifest(folder: Path, rows: int = 60) -> Path:
    """Rows of three groups, each with a caption of its own; ``lonely`` is the only one of its group."""
    (folder / "images").mkdir(parents=True)
    lines = [["filepath", "title", "group"]]
    for row in range(rows):
        lines.append([f"images/{row}.png", f"{GROUPS[row % 3]} number {row}", GROUPS[row % 3]])
        (folder / "images" / f"{row}.png").touch()
    lines.append(["images/lonely.png", "lonely", "alone"])
    (folder / "images" / "lonely.png").touch()
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder / "train.csv"


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def made(folder: Path, kind: NoiseKind, seed: int = 0, share: float = 0.4) -> list[dict[str, str]]:
    noisy = folder / f"{kind}-{seed}.csv"
    rows, wrong = write_noisy(folder / "train.csv", share, seed, noisy, folder / "kept.csv", kind,
                              "group" if kind == "in-group" else "")  # fmt: skip
    found = read(noisy)
    assert (rows, wrong) == (61, sum(row["shuffled"] == "1" for row in found))
    assert len(read(folder / "kept.csv")) == rows - wrong
    return found


@pytest.mark.parametrize("kind", ["shuffled", "in-group", "word", "generic"])
def test_each_kind_of_noise_corrupts_as_described(kind: NoiseKind, tmp_path: Path) -> None:
    before = read(manifest(tmp_path))
    found = made(tmp_path, kind)
    wrong = [(new, old) for new, old in zip(found, before, strict=True) if new["shuffled"] == "1"]
    assert all(new["title"] == old["title"] for new, old in zip(found, before, strict=True) if new["shuffled"] == "0")
    assert all(new["title"] != old["title"] for new, old in wrong)
    assert [row["group"] for row in found] == [row["group"] for row in before]
    assert 22 <= len(wrong) <= 25  # two fifths of 61; in-group of each group of 20
    if kind == "in-group":
        assert all(new["title"].split()[0] == old["group"] for new, old in wrong)
        assert found[-1]["title"] == "lonely"
    elif kind == "shuffled":
        assert any(new["title"].split()[0] != old["group"] for new, old in wrong)
    elif kind == "generic":
        assert {new["title"] for new, _ in wrong} <= set(GENERIC)
    else:
        several = [(new["title"].split(), old["title"].split()) for new, old in wrong]
        assert all(sum(a != b for a, b in zip(new, old, strict=True)) == 1 for new, old in several)
    assert made(tmp_path, kind) == found
    assert made(tmp_path, kind, seed=1) != found


def test_a_group_of_identical_captions_is_left_alone() -> None:
    captions = [("a",), ("a",), ("b",), ("c",), ("a",)]
    changed = mismatched_captions(captions, 1.0, 0, "in-group", ["same", "same", "other", "other", "same"])
    assert changed == [("a",), ("a",), ("c",), ("b",), ("a",)]


def test_a_group_needs_its_column_and_the_verb_writes_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = manifest(tmp_path)
    with pytest.raises(UserError, match="no label column 'kind' to shuffle within; its columns: group"):
        write_noisy(path, 0.3, 0, tmp_path / "a.csv", tmp_path / "b.csv", "in-group", "kind")
    for wrong in ({"kind": "in-group"}, {"within": "group"}):
        with pytest.raises(ValueError, match="label column"):
            NoiseSpec.model_validate(wrong)
    assert main(["demo-data", str(tmp_path / "demo"), "--mismatched", "1.5"]) == 1
    assert "share between 0 and 1" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
