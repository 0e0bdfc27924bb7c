"""The file with the weight path of a run: round trip, and refusal of damaged or hostile files."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.run.weight_path import PATH_FILE, PathPoint, WeightPath, read_path, write_path


def point(alpha: float, gain: float, old: float, other: float = 0.0) -> dict[str, Any]:
    scores = {"gain": gain, "old": old, "other": other}
    return {"alpha": alpha, "metrics": {name: {"mean_recall": value} for name, value in scores.items()}}


CONTENT: dict[str, Any] = {
    "step": 40,
    "keep": 0.9,
    "alpha": 0.5,
    "points": [point(0, 0.1, 0.8), point(0.5, 0.3, 0.76), point(1, 0.6, 0.4)],
}


def write(folder: Path, content: Any) -> None:
    (folder / PATH_FILE).write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_written_path_is_read_again(tmp_path: Path) -> None:
    assert read_path(tmp_path) is None
    points = [PathPoint(raw["alpha"], raw["metrics"]) for raw in CONTENT["points"]]
    write_path(tmp_path, WeightPath(40, 0.9, 0.5, points))
    assert json.loads((tmp_path / PATH_FILE).read_text()) == CONTENT
    path = read_path(tmp_path)
    assert path == WeightPath(40, 0.9, 0.5, points)
    assert path.chosen.gained == 0.3
    assert path.chosen.shares(path.initial) == {"old": pytest.approx(0.95)}, (
        "an initial value of 0 has no relative retention"
    )
    assert path.points[2].retained(path.initial) == pytest.approx(0.5)


def changed(where: tuple[Any, ...], value: Any) -> dict[str, Any]:
    content: Any = copy.deepcopy(CONTENT)
    part = content
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    return dict(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[" * 5000, "nested"),
        (json.dumps(CONTENT).replace("0.76", "NaN"), "not finite"),
        (json.dumps(CONTENT).replace("0.76", "1e999"), "not finite"),
        (json.dumps(CONTENT).replace("0.76", "9" * 5000), "64 bits"),
        ("x" * (9 << 20), "larger than 8 MB"),
        ([], "Evaluate the path again"),
        (changed(("keep",), 1.5), "keep: .*less than or equal to 1"),
        (changed(("alpha",), 0.4), "0.4 is not one of the points"),
        (changed(("points",), []), "points: "),
        (changed(("points",), [point(0, 0.1, 0.8)] * 1002), "points: "),
        (changed(("points", 0, "alpha"), 0.1), "do not ascend from 0"),
        (changed(("points", 2, "alpha"), 0.5), "do not ascend from 0"),
        (changed(("points", 1, "metrics", "old"), {}), "no mean_recall from 0 to 1 on old"),
        (changed(("points", 1, "metrics", "old", "mean_recall"), -0.1), "no mean_recall from 0 to 1 on old"),
        (changed(("points", 1, "metrics", "\x1b]0;pwned"), {"mean_recall": 0.1}), "has other data sets"),
        (changed(("points", 0, "metrics"), {"gain": {"mean_recall": 0.1}}), "1 to 99 retained data sets"),
    ],
)
def test_damaged_and_hostile_files_are_refused_in_a_sentence(content: Any, words: str, tmp_path: Path) -> None:
    write(tmp_path, content)
    with pytest.raises(UserError, match=words) as refusal:
        read_path(tmp_path)
    text = str(refusal.value)
    assert PATH_FILE in text
    assert text.isprintable()
    assert len(text) < 1000


def test_pipes_and_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    write(tmp_path, CONTENT)
    (run / PATH_FILE).symlink_to(tmp_path / PATH_FILE)
    with pytest.raises(UserError, match="is a link out of"):
        read_path(run)
    (run / PATH_FILE).unlink()
    os.mkfifo(run / PATH_FILE)
    with pytest.raises(UserError, match="named pipe"):
        read_path(run)
