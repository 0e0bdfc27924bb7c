"""Data that cannot train are refused at their field; data that nobody could judge are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.shared.pickers.data_check import DataCheck
from sdgui.shared.pickers.refusals import refusals, sources
from sdgui.worker.pool import WorkerPool
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import SourceFacts


def config(*settings: str) -> RunConfig:
    return override(preset_config("clip", "tiny"), ["data.train=/t.csv", "optim.batch_size=8", *settings])


def facts(**changed: Any) -> SourceFacts:
    values: Any = {"source": "/t.csv", "format": "CSV", "pairs": 90, "images": 80, "labels": {"kind": 3, "one": 1}}
    values |= {"bad": 0, "reasons": []}
    return values | changed  # type: ignore[no-any-return]


def test_only_what_is_known_to_be_wrong_is_refused() -> None:
    assert list(refusals(config("data.train="), {})) == ["data.train"]
    assert refusals(config(), {}) == {}
    assert refusals(config(), {"/t.csv": facts()}) == {}
    assert sources(config("data.val=/v.csv")) == {"data.train": "/t.csv", "data.val": "/v.csv"}


@pytest.mark.parametrize(
    ("settings", "known", "field", "words"),
    [
        ((), Failure("There is no data at /t.csv; check the path."), "data.train", "no data at"),
        ((), facts(pairs=0, images=7), "data.train", "no caption"),
        ((), facts(bad=20, reasons=["line 2: gone"]), "data.train", "20 of the 100 rows"),
        (("data.label=sort",), facts(), "data.label", "'kind'"),
        (("data.label=one",), facts(), "data.label", "needs two"),
        (("optim.batch_size=81",), facts(), "optim.batch_size", "at most 80"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(settings: tuple[str, ...], known: Any, field: str, words: str) -> None:
    problems = refusals(config(*settings), {"/t.csv": known})
    assert list(problems) == [field]
    assert words in problems[field]


def test_bad_validation_data_are_refused_too() -> None:
    problems = refusals(
        config("data.val=/v.csv"), {"/t.csv": facts(), "/v.csv": Failure("/v.csv is empty; give data.")}
    )
    assert problems == {"data.val": "/v.csv is empty; give data."}


@pytest.mark.parametrize("known", [Cancelled(), Lost("The worker exited."), Failure("KeyError: 'x'", "Traceback")])
def test_a_worker_that_fails_says_nothing_about_the_data(known: Failure) -> None:
    assert refusals(config(), {"/t.csv": known}) == {}


def test_labels_of_shards_are_not_known() -> None:
    assert refusals(config("data.label=kind"), {"/t.csv": facts(labels={}, sampled=True)}) == {}


def test_a_worker_is_asked_about_every_source(qtbot: QtBot, tmp_path: Path) -> None:
    """With the worker itself: an empty table, one that is not there, and none named at all."""
    pool = WorkerPool()
    check, said = DataCheck(pool), list[dict[str, str]]()
    check.check(config("data.train="), said.append)
    assert list(said[0]) == ["data.train"]
    (tmp_path / "empty.csv").write_text("filepath,title\n")
    named = config(f"data.train={tmp_path}/empty.csv", f"data.val={tmp_path}/gone.csv")
    check.check(config(), said.append)  # superseded, and never heard of
    check.check(named, said.append)
    qtbot.waitUntil(lambda: len(said) > 1)
    pool.close()
    assert len(said) == 2
    assert "is empty" in said[1]["data.train"]
    assert "no data at" in said[1]["data.val"]
