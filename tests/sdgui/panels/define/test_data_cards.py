"""The cards of data below the fields of the form: which are shown, their inputs, and their signals."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.define.data_cards import DataCards
from sdgui.panels.define.panel import DefinePanel
from sdgui.shared.services import Services
from tests.sdgui.panels.define.defining import show

TRAIN, VAL, TEST = "data.train", "data.val", "data.test"


@pytest.fixture
def cards(define: DefinePanel, services: Services, tmp_path: Path) -> DataCards:
    for name in ("train", "val"):
        (tmp_path / f"{name}.csv").touch()
    show(define, services, "clip", f"data.train={tmp_path / 'train.csv'}")
    for field in (TRAIN, VAL, TEST):
        define.form.row(field)
    assert {card.widget.isHidden() for card in define.cards.cards.values()} == {True}, "nothing is known of them yet"
    assert define.cards._soon.isActive()
    define.cards._soon.stop()
    define.cards._follow()
    return define.cards


def test_a_card_stands_below_each_field_that_names_data(
    define: DefinePanel, services: Services, cards: DataCards, tmp_path: Path
) -> None:
    train, val = str(tmp_path / "train.csv"), str(tmp_path / "val.csv")

    def shown() -> list[str]:
        return [field for field, card in cards.cards.items() if not card.widget.isHidden()]

    assert shown() == [TRAIN]
    define.form.set_value(VAL, f" {val} ")
    assert (shown(), cards._soon.isActive()) == ([TRAIN], True), "a moment after it was typed"
    cards._follow()
    assert set(shown()) == {TRAIN, VAL}
    assert {field: cards.cards[field].facts.source for field in shown()} == {TRAIN: train, VAL: val}
    assert cards.cards[TRAIN].widget._other_splits == {"val": val}
    assert cards.cards[VAL].widget._other_splits == {"train": train}
    define.form.set_value(TEST, val)
    cards._follow()
    assert cards.cards[VAL].widget._other_splits == {"train": train}, "the same data are no other"
    define.form.set_value(VAL, "")
    define.form.set_value(TEST, "")
    cards._follow()
    assert shown() == [TRAIN]
    assert cards.cards[TRAIN].widget._other_splits == {}


def test_only_the_training_data_are_divided_and_not_where_the_form_is_read_only(
    define: DefinePanel, cards: DataCards, tmp_path: Path
) -> None:
    define.form.set_value(VAL, str(tmp_path / "val.csv"))
    cards._follow()
    assert [cards.cards[field].widget._writable for field in (TRAIN, VAL)] == [True, False]
    define.form.set_read_only(True)
    cards._follow()
    assert [cards.cards[field].widget._writable for field in (TRAIN, VAL)] == [False, False]


def test_data_are_looked_at_and_what_was_held_out_is_put_in(
    qtbot: QtBot, define: DefinePanel, cards: DataCards, tmp_path: Path
) -> None:
    requests: list[tuple[str, str]] = []
    held: list[object] = []
    define.source_asked.connect(lambda *args: requests.append(args))
    cards.held_out.connect(held.append)
    cards.cards[TRAIN].widget.look.click()
    assert requests == [("data", str(tmp_path / "train.csv"))]
    cards.cards[TRAIN].facts.held_out.emit("/kept.csv", "/held.csv")
    assert held == [{TRAIN: "/kept.csv", VAL: "/held.csv"}]
    texts = define.form.draft()
    assert (texts[TRAIN], texts[VAL]) == ("/kept.csv", "/held.csv")
