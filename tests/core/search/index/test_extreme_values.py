"""Values that are not numbers or beyond measure, and a disk without room: a sentence, and nothing is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.checkpoint.opening import open_model
from core.search.collection import open_index
from core.search.index import build as build_module
from core.search.index import encoding
from core.search.index.manifest import read_manifest
from core.search.queries import Query, Term
from core.search.results import Options, Searcher
from core.spec.errors import UserError
from tests.core.search.samples import MODEL, build, quiet, write_images


@pytest.mark.parametrize("weight", [-2e6, float("nan"), float("inf")])
def test_overflowing_weights_are_refused(made: tuple[Path, Path], weight: float) -> None:
    searching = Searcher(open_index(made[1], quiet))
    with pytest.raises(UserError, match=r"the weight .* is above 1,000,000; use a weight such as 0\.5"):
        searching.search(Query((Term(text="dog", weight=weight),)), Options())
    assert searching.search(Query((Term(text="dog", weight=1e6),)), Options(k=1))["rows"][0]["cosine"] < 1


@pytest.fixture
def diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of a training that came to nothing: each weight is a NaN."""
    model = open_model(MODEL)
    for parameter in model.network.parameters():
        parameter.data.fill_(float("nan"))
    monkeypatch.setattr(encoding, "open_model", lambda *_: model)


@pytest.mark.usefixtures("diverged")
def test_a_model_returning_nan_builds_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(tmp_path / "images")
    assert main(["index", MODEL, str(tmp_path / "images"), str(tmp_path / "index")]) == 1
    assert f"{MODEL} produces NaN or infinite embeddings: its weights are damaged" in capsys.readouterr().err
    assert read_manifest(tmp_path / "index") is None


def test_a_query_that_becomes_nan_is_refused(made: tuple[Path, Path]) -> None:
    searching = Searcher(open_index(made[1], quiet))
    searching.embedder._cache["dog", "", "raw"] = (np.full(64, np.nan, np.float32), [])
    with pytest.raises(UserError, match="computes non-finite values for the query"):
        searching.search(Query((Term(text="dog"),)), Options())


def test_the_verb_refuses_an_invalid_weight_and_a_pipe(made: tuple[Path, Path], tmp_path: Path, capsys: Any) -> None:
    os.mkfifo(tmp_path / "x.png")
    assert main(["search", str(made[1]), "--text", "dog", "--weight", "1e308"]) == 1
    assert "the weight 1e+308 is above 1,000,000" in capsys.readouterr().err
    assert main(["search", str(made[1]), "--image", str(tmp_path / "x.png")]) == 1
    assert "x.png cannot be searched for: it cannot be opened: it is a folder, a pipe" in capsys.readouterr().err
    for words in ("~nobody-has-this-name/a.png", "many words " * 40):  # any words may be avoided
        assert main(["search", str(made[1]), "--text", "red", "--minus", words, "--weight", "0.5"]) == 0
    assert main(["search", str(made[1]), "--text", "red", "--minus", "blue", "--weight", "nan"]) == 1
    assert "--weight nan is not a finite number; use a number such as 0.5" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_a_damaged_segment_with_nan_leaves_the_others_searchable(
    made: tuple[Path, Path], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "SEGMENT_ROWS", 16)
    monkeypatch.setattr(encoding, "BATCH", 16)
    build(made[0], tmp_path / "index")
    file = tmp_path / "index" / f"{kind}-0001.bin"
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2] = b"\xff\xff"
    file.write_bytes(content)
    collection = open_index(tmp_path / "index", quiet)
    assert collection.alive.sum() == 32
    assert "damaged" in collection.notes[0]
    found = Searcher(collection).search(Query((Term(text="red"),)), Options(k=48, group=False))
    assert sorted(row["row"] for row in found["rows"]) == [*range(16), *range(32, 48)]
