"""The study run whole on a few pairs: tuned, reported, and gone on with after a kill."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from core.objectives.anchors.text_anchors import read_texts
from core.spec.errors import UserError
from tests.benchmarks.adapting.__main__ import Runner
from tests.benchmarks.adapting.config import Arm, ArtistSets, Condition, read_adapt_study
from tests.benchmarks.adapting.data import anchor_texts, held_out_pairs, read_rows, training_pairs
from tests.benchmarks.adapting.little_study import CONFIG, curve
from tests.core.images import write_pairs


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Manifests of two artists with 36 pairs each, and the base data, with concepts."""
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    train, _ = write_pairs(folder / "demo")
    rows = [
        [*row.values(), row["title"].split()[2], row["title"].split()[1]]
        for row in csv.DictReader(train.read_text().splitlines())
    ]
    for path, prefix in ((train, ""), (folder / "one.csv", "demo/"), (folder / "two.csv", "demo/")):
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filepath", "title", "concept", "group"])
            writer.writerows([[prefix + name, *rest] for name, *rest in rows])
    return folder


def test_training_data_are_not_held_out_and_mismatched_as_configured(data: Path) -> None:
    test = {row["filepath"] for row in read_rows(held_out_pairs(data, "one.csv", 12))}
    titles = {row["filepath"]: row["title"] for row in read_rows(data / "one.csv")}
    assert len(test) == 12
    drawn = []
    for draw in (3, 4, 3):
        path = training_pairs(data, "one.csv", 12, 20, 0.4, draw, ("demo/train.csv", 0.25))
        rows = read_rows(path)
        assert len(rows) == 25
        assert all((data / row["filepath"]).is_file() for row in rows)
        own, old = rows[:20], rows[20:]
        assert test.isdisjoint(row["filepath"] for row in own)
        assert sum(row["title"] != titles[row["filepath"]] for row in own) == 8
        assert all(row["title"] == titles[row["filepath"]] for row in old)
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[2] != drawn[1]
    with pytest.raises(UserError, match="has only 24 training pairs"):
        training_pairs(data, "one.csv", 12, 25, 0.0, 0)


def test_in_group_mismatches_have_a_caption_of_their_group(data: Path) -> None:
    groups: dict[str, set[str]] = {}
    for row in read_rows(data / "one.csv"):
        groups.setdefault(row["group"], set()).add(row["title"])
    titles = {row["filepath"]: row["title"] for row in read_rows(data / "one.csv")}
    rows = read_rows(training_pairs(data, "one.csv", 12, 24, 0.5, 3, kind="in-group"))
    assert all(row["title"] in groups[row["group"]] for row in rows)
    assert any(row["title"] != titles[row["filepath"]] for row in rows)


def test_text_anchors_are_captions_of_all_or_half_of_the_concepts_or_their_names(data: Path) -> None:
    rows = read_rows(data / "demo" / "train.csv")
    every, half = (
        Path(anchor_texts(data, "demo/train.csv", kind)).read_text().splitlines() for kind in ("captions", "half")
    )
    assert every == list(dict.fromkeys(row["title"] for row in rows))
    concepts = {row["title"]: row["concept"] for row in rows}
    anchored = {concepts[title] for title in half}
    assert 0 < len(anchored) < len(set(concepts.values()))
    assert half == [title for title in every if concepts[title] in anchored]
    names = Path(anchor_texts(data, "demo/train.csv", "names")).read_text().splitlines()
    assert names == list(dict.fromkeys(row["concept"] for row in rows))
    assert read_texts(anchor_texts(data, "demo/train.csv", "words"))


@pytest.mark.slow
def test_a_study_runs_and_resumes(data: Path, tmp_path: Path) -> None:
    study = read_adapt_study(CONFIG)
    runner = Runner(study, data, tmp_path / "out")
    runner.run()
    results = json.loads((tmp_path / "out" / "results" / "results.json").read_text())
    assert set(results["chosen"]) == {"adapt", "plain"}
    assert len(results["tuning"]) == 4
    assert results["primary"][0]["seeds"] == 1
    assert "| adapt | plain |" in (tmp_path / "out" / "results" / "results.md").read_text()
    for arm in results["conditions"]["24-50"].values():
        assert 0 <= arm["probe of old images at 85 %"]["mean"] <= 100
        assert len(arm["path"]["gain/probe"]) == 3
    cells = sorted((tmp_path / "out" / "cells").rglob("*.json"))
    assert len(cells) == 4 + 2 * 2
    first = json.loads((tmp_path / "out" / "cells" / "tuning" / "adapt-a_0_0.json").read_text())
    published = json.loads((tmp_path / "out" / "results" / "cells-tuning.json").read_text())
    assert published["adapt-a"] == {"0 0": first}
    assert {len(values) for values in first["curve"].values()} == {3}
    assert not list((tmp_path / "out" / "runs").iterdir())
    before = {cell: cell.stat().st_mtime_ns for cell in cells}
    gone = cells.pop()
    content = json.loads(gone.read_text())
    gone.unlink()
    Runner(study, data, tmp_path / "out").run()
    assert json.loads(gone.read_text())["curve"] == content["curve"]
    assert all(cell.stat().st_mtime_ns == before[cell] for cell in cells), "nothing else was trained again"


def test_all_arms_of_a_seed_are_trained_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = read_adapt_study(CONFIG).model_copy(update={"seeds": [20, 21]})
    runner = Runner(study, tmp_path, tmp_path / "out")
    trained = []

    def train(name: str, sets: ArtistSets, condition: Condition, arm: Arm, seed: int, draw: int) -> None:
        path = tmp_path / "out" / "cells" / name / f"{arm.name}_{seed}_{draw}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"curve": curve([(10, 90, 5), (20, 80, 6)])}))
        trained.append((name, seed, draw, arm.family))

    monkeypatch.setattr(runner, "_run_cell", train)
    runner.run()
    cells = [(seed, draw) for name, seed, draw, _ in trained if name == "24-50"]
    assert cells == [(20, 0), (20, 0), (20, 1), (20, 1), (21, 0), (21, 0), (21, 1), (21, 1)]
    assert {family for _, seed, draw, family in trained[-2:]} == {"adapt", "plain"}
