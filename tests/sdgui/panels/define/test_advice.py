"""The bar of advice: when the data are asked for, what it says of them, and when *Apply* is offered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.panels.define.advice import AdviceBar
from sdgui.shared.services import Services
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import SourceFacts

FACTS: SourceFacts = {
    "source": "", "format": "CSV", "pairs": 2555, "pictures": 2555, "labels": {"concept": 55}, "bad": 0, "reasons": [],
}  # fmt: skip


class Asked:
    """The bar, with a worker that answers when it is told to."""

    def __init__(self, bar: AdviceBar, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bar = bar
        self.sources: list[str] = []
        self._answers: list[Any] = []
        monkeypatch.setattr(bar._calls, "ask", self._ask)

    def _ask(self, _purpose: str, _verb: object, done: Any, failed: Any, _partial: object, **arguments: Any) -> None:
        assert not arguments["pictures_only"]
        self.sources.append(arguments["source"])
        self._answers.append((done, failed))

    def show(self, source: Path | str, *settings: str) -> RunConfig:
        config = override(preset_config("clip", "demo"), [f"data.train={source}", *settings])
        self.bar.show_config(config, read_only=False)
        return config

    def wait(self) -> None:
        """As if nothing were typed for a while."""
        assert self.bar._timer.isActive()
        self.bar._timer.stop()
        self.bar._ask()

    def answer(self, facts: SourceFacts | Failure) -> None:
        done, failed = self._answers.pop(0)
        (failed if isinstance(facts, Failure) else done)(facts)


@pytest.fixture
def asked(qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch) -> Asked:
    bar = AdviceBar(services)
    qtbot.addWidget(bar)
    return Asked(bar, monkeypatch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.touch()
    return path


def test_data_are_asked_for_once_until_they_change(asked: Asked, source: Path, tmp_path: Path) -> None:
    bar, told = asked.bar, []
    bar.described.connect(told.append)
    asked.show(source)
    asked.wait()
    assert (asked.sources, bar.isHidden(), bar.facts()) == ([str(source)], True, None)
    asked.answer(FACTS)
    assert (told, bar.isHidden(), bar.facts()) == ([FACTS], False, FACTS)
    asked.show(source, "optim.epochs=3")
    assert not bar._timer.isActive(), "the data are the same"
    other = tmp_path / "other.csv"
    other.touch()
    asked.show(other)
    assert (bar.isHidden(), bar.facts()) == (True, None)
    asked.wait()
    asked.answer({**FACTS, "pairs": 7})
    asked.show(source)
    asked.wait()
    assert asked.sources == [str(source), str(other)], "they are known"
    assert (told[-1], bar.isHidden()) == (FACTS, False)
    os.utime(source, (1, 1))
    asked.show(other)
    asked.show(source)
    asked.wait()
    assert asked.sources[2:] == [str(source)], "they have changed"


def test_data_that_are_not_there_are_not_asked_for_and_shards_are(asked: Asked, tmp_path: Path) -> None:
    asked.show(tmp_path / "none.csv")
    asked.wait()
    assert asked.sources == []
    shards = "https://example.org/shard-{000..009}.tar"
    asked.show(shards)
    asked.wait()
    assert asked.sources == [shards]


def test_figures_alone_are_muted_and_advice_is_not(asked: Asked, source: Path) -> None:
    bar = asked.bar
    asked.show(source)
    asked.wait()
    asked.answer(FACTS)
    assert bar.text.text() == "2\u2009555 pairs · 2\u2009555 pictures · concept: 55 classes · CSV"
    assert (bar.text.property("role"), bar.apply.isHidden()) == ("muted", True)
    assert bar.accessibleName() == bar.text.text()
    assert bar.text.wordWrap()
    assert bar.text.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
    asked.show(source, "data.label=colour")
    assert bar.text.text().splitlines()[1].startswith("The training data has no column “colour”")
    assert (bar.text.property("role"), bar.apply.isHidden()) == ("", True), "there is nothing to apply"


def advised(source: Path) -> RunConfig:
    settings = [f"data.train={source}", "objectives.distill_prototypes.prototypes=64"]
    return override(preset_config("sd-clip", "demo"), settings)


def test_advice_is_applied_unless_the_form_has_errors_or_is_only_read(asked: Asked, source: Path) -> None:
    bar, applied = asked.bar, []
    bar.applied.connect(applied.append)
    bar.show_config(advised(source), read_only=False)
    asked.wait()
    asked.answer(FACTS)
    lines = bar.text.text().splitlines()
    assert lines[0] == "For 2\u2009555 pairs:"
    assert lines[-1].startswith("• In the time of these"), "and what else would pay"
    assert (bar.text.property("role"), bar.apply.isHidden(), bar.apply.isEnabled()) == ("", False, True)
    bar.show_config(None, read_only=False)
    assert (bar.text.text().splitlines(), bar.apply.isEnabled()) == (lines, False)
    bar.show_config(advised(source), read_only=False)
    assert bar.apply.isEnabled()
    bar.apply.click()
    assert [one["objectives.distill_prototypes.prototypes"] for one in applied] == [1024]
    bar.show_config(advised(source), read_only=True)
    assert bar.apply.isHidden()


def test_why_data_could_not_be_read_is_said_without_the_advice_for_others(
    asked: Asked, source: Path, tmp_path: Path
) -> None:
    bar = asked.bar
    bar.show_config(advised(source), read_only=False)
    asked.wait()
    asked.answer(FACTS)
    assert not bar.apply.isHidden()
    for name, failure, role in (
        ("bad", Failure("It is no table."), "error"),
        ("lost", Lost("The process is gone."), "muted"),
    ):
        path = tmp_path / f"{name}.csv"
        path.touch()
        bar.show_config(advised(path), read_only=False)
        asked.wait()
        asked.answer(failure)
        assert bar.text.text() == f"Training data: {failure.text}"
        assert (bar.text.property("role"), bar.isHidden(), bar.apply.isHidden()) == (role, False, True)
    path = tmp_path / "cancelled.csv"
    path.touch()
    bar.show_config(advised(path), read_only=False)
    asked.wait()
    asked.answer(Cancelled())
    assert bar.isHidden()
