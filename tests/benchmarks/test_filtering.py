"""What is said of the caption filter: the page has the numbers of the file, and the file those of the program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks.filtering import CASES, DRAWS, PUBLISHED, main, read_rows, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "caption-filter.md"
COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "grey": (120, 120, 120)}


def test_the_page_matches_the_results_file() -> None:
    rows = read_rows()
    assert PUBLISHED.stat().st_size < 100_000
    assert table(rows) in PAGE.read_text(encoding="utf-8"), "python docs/figures.py writes it"
    assert {(row["kind"], row["rate"]) for row in rows} == set(CASES)


def test_a_line_is_the_mean_over_draws_with_students_interval() -> None:
    row = {"data": "Icons", "kind": "shuffled", "rate": 0.2, "pairs": 100, "mismatched": 20}
    rows = [row | {"draw": 1, "dropped": 10, "precision": 90.0, "found": 45.0}]
    rows.append(row | {"draw": 2, "dropped": 12, "precision": 100.0, "found": 60.0})
    line = table(rows).splitlines()[-1]
    # t(0.975, 1) = 12.706; standard errors 1, 5, 7.5 and half of 12.22 - 9.09
    cells = ["11.0 (-1.7 to 23.7)", "95.0 (31.5 to 158.5)", "52.5 (-42.8 to 147.8)", "10.7 (-9.2 to 30.6)"]
    assert line == f"| Icons | 20 % shuffled | 2 | {' | '.join(cells)} |"


def test_every_draw_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    lines = ["filepath,title"]
    for i in range(160):
        name, colour = list(COLOURS.items())[i % len(COLOURS)]
        pixels = (np.array(colour) + draw.integers(-25, 26, (40, 40, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,a {name} image")
    (tmp_path / "icons.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr("tests.benchmarks.filtering.CASES", (("shuffled", 0.0), ("shuffled", 0.4), ("in-group", 0.4)))
    out = tmp_path / "draws.json"
    for _ in range(2):
        assert main([str(out), f"Icons={tmp_path / 'icons.csv'}"]) == 0
        rows = json.loads(out.read_text())
        assert [(row["rate"], row["draw"]) for row in rows] == [(0.0, DRAWS[0]), *((0.4, one) for one in DRAWS)]
    assert rows[0]["dropped"] == 0
    assert all(row["precision"] > 80 for row in rows[1:]), rows
    assert sum(row["found"] for row in rows[1:]) / len(DRAWS) > 60, "of few pairs not in every draw"
