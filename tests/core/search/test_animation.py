"""The animated image of a query's results: a frame a step, from collections that each step opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.search.animation import Frame, Hit, save
from core.search.errors import QueryError
from core.spec.errors import UserError
from core.worker.searching import SearchSession
from core.worker.travelling import TravelSession


class Search(SearchSession):
    """At step s, by network n, the image ``{s}{n}.png`` is found."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[Any]()

    def open(
        self, progress: Any, index: str = "", model: str = "", weights: str = "", data: str = ""
    ) -> dict[str, Any]:
        progress("encoding", 1, 2)
        self.asked.append((Path(model).name, weights, data))
        return {"key": f"{model.rpartition('@')[2]}{weights}"}

    def query(self, progress: Any, key: str = "", **arguments: Any) -> dict[str, Any]:
        self.asked.append(arguments["texts"])
        return {"rows": [{"path": str(self.folder / f"{key}.png"), "above_cutoff": True}]}


def told(*_: Any) -> None:
    """Nobody watches."""


def test_each_step_is_a_frame_with_both_networks(tmp_path: Path) -> None:
    colours = {"3student": "red", "3teacher": "lime", "9student": "blue", "9teacher": "white"}
    for name, colour in colours.items():
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
    search, to = Search(tmp_path), tmp_path / "steps.webp"
    found = TravelSession(search).travel(
        told, "/runs/a", [9, 3], ["student", "teacher"], {"texts": [{"text": "x"}]}, str(to), data="d.csv", title="x"
    )
    assert found == {"path": str(to), "frames": 2}
    assert [one for one in search.asked if isinstance(one, tuple)] == [
        (f"a@{step}", network, "d.csv") for step in (3, 9) for network in ("student", "teacher")
    ]
    with Image.open(to) as film:
        assert (film.n_frames, film.format, film.info["loop"]) == (2, "WEBP", 0), "it repeats for ever"
        for number, sides in enumerate((("red", "lime"), ("blue", "white"))):
            film.seek(number)
            pixels = np.asarray(film.convert("RGB")).astype(int)
            half = pixels.shape[1] // 2
            for side, colour in enumerate(sides):
                wanted = np.array(Image.new("RGB", (1, 1), colour))[0, 0].astype(int)
                near = (np.abs(pixels[:, side * half : (side + 1) * half] - wanted).max(axis=2) < 40).sum()
                assert near > 40 * 40 / 2, f"{colour} is on side {side} of frame {number}"


def test_frames_that_cannot_be_drawn_or_written_are_reported(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"checkpoint\.keep_every"):
        TravelSession(Search(tmp_path)).travel(told, "/runs/a", [], ["student"], {}, str(tmp_path / "x.webp"))
    frames = [Frame(1, (("student", (Hit("/gone.png", "a \u4e2d caption"), Hit("/gone.png", below=True))),))]
    save(frames, tmp_path / "gone.webp", "title")
    with Image.open(tmp_path / "gone.webp") as film:
        assert film.size[0] > 100
    with pytest.raises(UserError, match="nowhere"):
        save(frames, tmp_path / "nowhere" / "x.webp", "title")
