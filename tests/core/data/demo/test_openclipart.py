"""Category folders as labelled data, and a measure of them that is taken of runs which are trained already."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.data.demo.openclipart import MIN_CATEGORY_IMAGES, write_openclipart
from core.data.sources.opening import open_source
from core.data.sources.rows import Row
from core.spec.errors import UserError
from core.spec.study import Study, StudyDir
from core.studies.study import data
from core.studies.study.claiming import StudyError
from core.studies.study.queue import run_study
from tests.core.images import write_pairs


def write_categories(top: Path) -> Path:
    """61 readable animals of their own (half of them nested), 60 tools, one too few of a third kind; and oddities."""
    shade = iter(range(1000))

    def fill(folder: str, count: int) -> None:
        (top / folder).mkdir(parents=True)
        for number in range(count):
            n = next(shade)
            Image.new("RGB", (12, 9), (n % 256, n // 256, 40)).save(top / folder / f"{folder[:3]}_{number:02}.png")

    for folder, count in (
        ("animals", 31),
        ("animals/birds", 30),
        ("tools", MIN_CATEGORY_IMAGES - 1),
        ("few", MIN_CATEGORY_IMAGES - 1),
    ):
        fill(folder, count)
    fill("unsorted", MIN_CATEGORY_IMAGES)
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(top / "tools" / "clear.png")
    shutil.copy(top / "animals" / "ani_03.png", top / "animals" / "birds" / "again.png")
    Image.open(top / "animals" / "ani_04.png").save(top / "animals" / "other_format.bmp")
    for category in ("animals", "tools", "few"):
        Image.new("RGB", (10, 10), (9, 9, 9)).save(top / category / "both.png")
    (top / "animals" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    return top


def test_categories_are_split_without_duplicates(tmp_path: Path) -> None:
    said: list[str] = []
    top, out = write_categories(tmp_path / "art"), tmp_path / "out"
    write_openclipart(top, out, said.append)
    train, test = (open_source(out / f"{half}.csv").rows for half in ("train", "test"))

    def counts(rows: list[Row]) -> list[int]:
        return [sum(row.labels["category"] == name for row in rows) for name in ("animals", "tools")]

    assert (counts(train), counts(test)) == ([30, 30], [31, 30])
    originals = [[row.labels["original"] for row in half] for half in (train, test)]
    named = sorted(path.relative_to(top).as_posix() for path in top.rglob("*.*"))
    assert sorted(originals[0] + originals[1]) == [
        name
        for name in named
        if name.startswith(("animals", "tools")) and not name.endswith(("again.png", "bmp", "both.png", "broken.png"))
    ]
    digests = [hashlib.sha256(name.encode()).digest() for name in originals[0] if name.startswith("animals")]
    others = [hashlib.sha256(name.encode()).digest() for name in originals[1] if name.startswith("animals")]
    assert max(digests) < min(others)
    contents = [row.image.read_bytes() for row in train + test]
    assert len(set(contents)) == len(contents)

    clear = next(row for row in train + test if row.labels["original"] == "tools/clear.png")
    assert (np.asarray(Image.open(clear.image)) == 255).all()
    facts = json.loads((out / "openclipart.json").read_text())
    assert facts["categories"] == {"animals": 61, "tools": 60}
    assert facts["too small"] == {"few": 59}
    assert facts["in several categories"] == 1
    assert [Path(one.partition(": ")[0]).name for one in facts["unreadable"]] == ["broken.png"]
    assert "1 images cannot be read" in said[-1]
    with pytest.raises(UserError, match=r"no images at .*nowhere; install Debian's package openclipart-png"):
        write_openclipart(tmp_path / "nowhere", out, said.append)
    shutil.rmtree(top / "tools")
    with pytest.raises(UserError, match="art has fewer than two category folders with 60 images"):
        write_openclipart(top, out, said.append)


@pytest.mark.slow
def test_missing_measurements_are_added_without_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DEFAULT_SOURCE", tmp_path / "not installed")
    write_pairs(tmp_path)
    sources = {"train": "train.csv", "val": "val.csv", "art": "openclipart:train.csv", "more": "openclipart:test.csv"}
    probe = {"name": "transfer", "task": "linear-probe", "data": "more", "train": "art", "label": "category"}
    config: dict[str, Any] = {
        "name": "small",
        "size": "tiny",
        "steps": 2,
        "seeds": [0],
        "data": sources,
        "set": ["optim.batch_size=4"],
        "arms": [{"name": "base", "preset": "clip"}],
        "measures": [{"name": "val", "task": "retrieval", "data": "val", "keep": ["R@1"]}, {**probe, "keep": ["acc1"]}],
    }
    said: list[str] = []
    study, out = Study.model_validate(config), StudyDir(tmp_path / "out")
    assert run_study(study, tmp_path, out, 1, said.append).done == 1
    assert "openclipart-png" in said[0]
    first = out.read_measures("base", 0)
    assert first is not None
    assert list(first["networks"]["student"]) == ["val/R@1"]
    assert "transfer of the student could not be measured: there are no images" in out.table.read_text()
    events = out.run("base", 0).events.read_bytes()

    first["networks"]["student"]["val/R@1"] = 0.125  # to see that it is taken over
    out.measures("base", 0).write_text(json.dumps(first))
    again = {"name": "again", "task": "retrieval", "data": "test", "keep": ["R@10"]}
    measures = [*config["measures"], again]
    longer = Study.model_validate({**config, "data": {**sources, "test": "val.csv"}, "measures": measures})
    art = write_categories(tmp_path / "art")
    assert run_study(longer, tmp_path, out, 1, said.append, art).done == 1
    second = out.read_measures("base", 0)
    assert second is not None
    values = second["networks"]["student"]
    assert list(values) == ["val/R@1", "transfer/acc1", "again/R@10"]
    assert values["val/R@1"] == 0.125
    assert second["notes"] == []
    assert out.run("base", 0).events.read_bytes() == events  # not trained again
    assert not out.missing_measures(longer, "base", 0)

    shorter = longer.model_copy(update={"steps": 1})
    with pytest.raises(StudyError, match="the training settings of the study have changed"):
        run_study(shorter, tmp_path, out, 1, said.append)
    moved = longer.model_copy(update={"data": {**longer.data, "test": "train.csv"}})
    with pytest.raises(StudyError, match="the training settings of the study have changed"):
        run_study(moved, tmp_path, out, 1, said.append)
