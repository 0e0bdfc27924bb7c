"""The bar of advice: when the data are asked for, what it says of them, and when *Apply* is offered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from sdgui.panels.define.advice import AdviceBar
from sdgui.panels.define.data_cards import DataCards
from sdgui.panels.define.panel import DefinePanel
from sdgui.shared.services import Services
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import SourceFacts
from tests.sdgui.panels.define.defining import show

FACTS: SourceFacts = {
    "source": "", "format": "CSV", "pairs": 2555, "images": 2555, "labels": {"concept": 55}, "bad": 0, "reasons": [],
}  # fmt: skip


class Harness:
    """The bar, with a worker that the test answers for."""

    def __init__(self, bar: AdviceBar, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bar = bar
        self.sources: list[str] = []
        self._answers: list[Any] = []
        monkeypatch.setattr(bar._calls, "ask", self._ask)

    def _ask(self, _purpose: str, _verb: object, done: Any, failed: Any, _partial: object, **arguments: Any) -> None:
        assert not arguments["images_only"]
        self.sources.append(arguments["source"])
        self._answers.append((done, failed))

    def show(self, source: Path | str, *settings: str) -> RunConfig:
        config = override(preset_config("sd-clip", "demo"), [f"data.train={source}", *settings])
        self.bar.show_config(config, read_only=False)
        return config

    def wait(self) -> None:
        """As if nothing were typed for a while."""
        assert self.bar._timer.isActive()
        self.bar._timer.stop()
        self.bar._request_facts()

    def answer(self, facts: SourceFacts | Failure) -> None:
        done, failed = self._answers.pop(0)
        (failed if isinstance(facts, Failure) else done)(facts)


@pytest.fixture
def harness(qtbot: QtBot, services: Services, monkeypatch: pytest.MonkeyPatch) -> Harness:
    bar = AdviceBar(services)
    qtbot.addWidget(bar)
    return Harness(bar, monkeypatch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "train.csv"
    path.touch()
    return path


def test_data_are_requested_once_until_they_change(harness: Harness, source: Path, tmp_path: Path) -> None:
    bar, described = harness.bar, []
    bar.described.connect(described.append)
    harness.show(source)
    harness.wait()
    assert (harness.sources, bar.isHidden(), bar._facts) == ([str(source)], True, None)
    harness.answer(FACTS)
    assert (described, bar.isHidden(), bar._facts) == ([FACTS], False, FACTS)
    harness.show(source, "optim.epochs=3")
    assert not bar._timer.isActive(), "the data are the same"
    second_source = tmp_path / "other.csv"
    second_source.touch()
    harness.show(second_source)
    assert (bar.isHidden(), bar._facts) == (True, None)
    harness.wait()
    harness.answer({**FACTS, "pairs": 7})
    harness.show(source)
    harness.wait()
    assert harness.sources == [str(source), str(second_source)], "they are known"
    assert (described[-1], bar.isHidden()) == (FACTS, False)
    os.utime(source, (1, 1))
    harness.show(second_source)
    harness.show(source)
    harness.wait()
    assert harness.sources[2:] == [str(source)], "they have changed"


def test_data_that_is_created_later_is_described(harness: Harness, tmp_path: Path) -> None:
    later = tmp_path / "later.csv"
    harness.show(later)
    harness.wait()
    assert harness.sources == [], "the file is missing"
    later.touch()
    harness.show(later, "optim.epochs=3")
    harness.wait()
    harness.answer(FACTS)
    assert (harness.sources, harness.bar.isHidden()) == ([str(later)], False)


def test_nothing_is_shown_after_the_experiment_was_closed(harness: Harness, source: Path) -> None:
    harness.show(source)
    harness.bar.clear()
    assert not harness.bar._timer.isActive()
    harness.show(source)
    harness.wait()
    harness.answer(FACTS)
    harness.bar.clear()
    assert harness.bar.isHidden()
    harness.show(source)
    harness.wait()
    assert (len(harness.sources), harness.bar.isHidden()) == (1, False), "the facts are still known"


def advised(source: Path) -> RunConfig:
    settings = [f"data.train={source}", "objectives.distill_prototypes.prototypes=64"]
    return override(preset_config("sd-clip", "demo"), settings)


def test_advice_is_applied_unless_the_form_has_errors_or_is_read_only(harness: Harness, source: Path) -> None:
    bar, applied = harness.bar, []
    bar.applied.connect(applied.append)
    bar.show_config(advised(source), read_only=False)
    harness.wait()
    harness.answer(FACTS)
    lines = bar.text.text().splitlines()
    assert lines[0] == "For 2,555 pairs:"
    assert lines[-1].startswith("• With the same compute"), "and what else would pay"
    assert (bar.text.property("role"), bar.apply.isHidden(), bar.apply.isEnabled()) == ("", False, True)
    bar.show_config(None, read_only=False)
    assert (bar.text.text().splitlines(), bar.apply.isEnabled()) == (lines, False)
    bar.show_config(advised(source), read_only=False)
    assert bar.apply.isEnabled()
    bar.apply.click()
    assert [changes["objectives.distill_prototypes.prototypes"] for changes in applied] == [1024]
    bar.show_config(advised(source), read_only=True)
    assert bar.apply.isHidden()


def test_without_advice_the_form_gets_the_space(harness: Harness, source: Path) -> None:
    harness.bar.show_config(override(preset_config("clip", "demo"), [f"data.train={source}"]), read_only=False)
    harness.wait()
    harness.answer(FACTS)
    assert (harness.bar._advice, harness.bar.isHidden()) == ([], True)


def test_unreadable_data_give_the_reason_without_outdated_advice(
    harness: Harness, source: Path, tmp_path: Path
) -> None:
    bar = harness.bar
    bar.show_config(advised(source), read_only=False)
    harness.wait()
    harness.answer(FACTS)
    assert not bar.apply.isHidden()
    for name, failure, role in (
        ("bad", Failure("It is no table."), "error"),
        ("lost", Lost("The process is gone."), "muted"),
    ):
        path = tmp_path / f"{name}.csv"
        path.touch()
        bar.show_config(advised(path), read_only=False)
        harness.wait()
        harness.answer(failure)
        assert bar.text.text() == f"Training data: {failure.text}"
        assert (bar.text.property("role"), bar.isHidden(), bar.apply.isHidden()) == (role, False, True)
    path = tmp_path / "cancelled.csv"
    path.touch()
    bar.show_config(advised(path), read_only=False)
    harness.wait()
    harness.answer(Cancelled())
    assert bar.isHidden()


TRAIN, VAL, TEST = "data.train", "data.val", "data.test"


@pytest.fixture
def cards(define: DefinePanel, services: Services, tmp_path: Path) -> DataCards:
    for name in ("train", "val"):
        (tmp_path / f"{name}.csv").touch()
    show(define, services, "clip", f"data.train={tmp_path / 'train.csv'}")
    for field in (TRAIN, VAL, TEST):
        define.form.row(field)
    assert {card.isHidden() for card in define.cards.cards.values()} == {True}, "nothing is known of them yet"
    assert define.cards._typing_timer.isActive()
    define.cards._typing_timer.stop()
    define.cards._update_cards()
    return define.cards


def test_training_data_are_inspected_and_split_unless_read_only(
    define: DefinePanel, cards: DataCards, tmp_path: Path
) -> None:
    requests: list[tuple[str, str]] = []
    define.source_requested.connect(lambda *args: requests.append(args))
    cards.cards[TRAIN].open_button.click()
    assert requests == [("data", str(tmp_path / "train.csv"))]
    cards.cards[TRAIN].facts.held_out.emit("/kept.csv", "/held.csv")
    texts = define.form.draft()
    assert (texts[TRAIN], texts[VAL]) == ("/kept.csv", "/held.csv")
    define.form.set_value(VAL, str(tmp_path / "val.csv"))
    cards._update_cards()
    assert [cards.cards[field]._writable for field in (TRAIN, VAL)] == [True, False]
    define.form.set_read_only(True)
    cards._update_cards()
    assert [cards.cards[field]._writable for field in (TRAIN, VAL)] == [False, False]
