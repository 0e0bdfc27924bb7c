"""Parts of the Caption panel by themselves: find and replace, settings, the detail, refusals, and small choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QPushButton, QWidget
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from core.spec.generation import GenerationSettings
from sdgui.app.start import make_application
from sdgui.panels.caption.detail import CaptionsDetail, about_text, model_text
from sdgui.panels.caption.list.commands import RemoveImages, WriteTexts
from sdgui.panels.caption.list.replace import Finder, ReplaceBar, finder, occurrences
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.model import HAND, Entry, ModelCaptions, number
from sdgui.panels.caption.refusals import CaptionsRefusals, not_added_text, refused_text
from sdgui.panels.caption.settings import DEFAULTS, CaptionSettings, read_settings, settings_text
from sdgui.shared.pickers.entries import choice_of
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.style.theme import theme

A, B = (ModelCaptions(key, (Candidate(f"{key} best", -1.0, -0.5), Candidate(f"{key} next"))) for key in ("a", "b"))


def test_find_and_replace_counts_while_typing_and_asks_once(qtbot: QtBot) -> None:
    make_application()
    texts = ["a cat", "a hat, a Cat"]
    bar = ReplaceBar(lambda: texts)
    qtbot.addWidget(bar)
    asked, opened = list[Finder](), list[bool]()
    bar.replace_requested.connect(asked.append)
    bar.open_changed.connect(opened.append)
    assert (bar.isVisible(), bar.is_open, bar.button.isEnabled(), bar.count_label.text()) == (False, False, False, "")
    bar.words.setText("cat")
    bar.open()
    assert (bar.isVisible(), bar.is_open, opened, bar.words.selectedText()) == (True, True, [True], "cat")
    assert (bar.count_label.text(), bar.button.isEnabled()) == ("2 in 2 captions", True)
    qtbot.keyClick(bar.words, Qt.Key.Key_Return)
    bar.button.click()
    qtbot.keyClick(bar.replacement, Qt.Key.Key_Return)
    assert len(asked) == 3
    bar.words.setText("dog")
    assert bar._typing.isActive(), "it counts when typing pauses"
    bar.button.click()
    assert (len(asked), bar.count_label.text(), bar.button.isEnabled()) == (3, "none", False)
    assert not bar._typing.isActive()
    bar.regular.setChecked(True)
    bar.words.setText("(c)at")
    bar.replacement.setText(r"\2")
    bar.recount()
    assert (bar.count_label.text(), bar.button.isEnabled(), bar.finder()) == ("invalid pattern", False, None)
    bar.replacement.setText(r"\1")
    assert bar._typing.isActive()
    bar.recount()
    found = bar.finder()
    assert found is not None
    assert found.replaced("a Cat") == ("a C", 1)
    bar.case.setChecked(True)
    assert bar.count_label.text() == "1 in 1 captions"
    bar.words.setText("")
    bar.recount()
    assert (bar.count_label.text(), bar.button.isEnabled()) == ("", False)
    other = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_A, Qt.KeyboardModifier.NoModifier)
    bar.keyPressEvent(other)
    assert (bar.is_open, other.isAccepted()) == (True, False), "other keys are for what is around it"
    qtbot.keyClick(bar, Qt.Key.Key_Escape)
    assert (bar.isVisible(), bar.is_open, opened) == (False, False, [True, False])
    assert occurrences(finder("a", "", False, False, False), ["aa", "b", "A"]) == (3, 2)


def visible(sheet: CaptionSettings) -> set[str]:
    return {name for name, row in sheet.rows.items() if not row.isHidden()}


def put(sheet: CaptionSettings, **texts: str) -> None:
    for name, text in texts.items():
        sheet.rows[name].set_text(text)
        sheet.rows[name].edited.emit(name)


def test_settings_show_the_fields_of_their_search_and_report_validity(qtbot: QtBot) -> None:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    sheet = CaptionSettings(host)
    told: list[GenerationSettings] = []
    sheet.changed.connect(told.append)
    sheet.set_settings(DEFAULTS.model_copy(update={"beams": 5}))
    assert sheet._rows == {}, "its form is made when it is first seen"
    sheet.open_at(QPoint(900, 10), 300)
    assert abs(sheet.geometry().right() - 900) < 4, "its right upper corner is where it was asked for"
    assert abs(sheet.y() - 10) < 4
    assert sheet.rows["beams"].text() == "5"
    assert sheet.rows["beams"].differs
    assert told == []
    common = {"search", "captions", "max_tokens"}
    assert common | {"beams"} <= visible(sheet)
    assert not {"temperature", "seed", "top_k"} & visible(sheet)
    put(sheet, search="sample")
    assert {"temperature", "seed"} <= visible(sheet)
    assert "beams" not in visible(sheet)
    put(sheet, search="greedy")
    assert "captions" not in visible(sheet), "greedy search finds one"
    assert (told[-1].search, told[-1].captions) == ("greedy", 1)
    assert settings_text(told[-1]) == "greedy · 1 caption"
    put(sheet, search="beam")
    before = len(told)
    put(sheet, captions="x")
    assert "captions" in sheet.errors()
    assert sheet.rows["captions"].differs
    assert len(told) == before, "what is wrong is not told"
    assert sheet.settings.captions == told[-1].captions
    put(sheet, captions="2")
    assert (sheet.errors(), told[-1].captions, len(told)) == ({}, 2, before + 1)
    put(sheet, captions="2")
    assert len(told) == before + 1, "the same is no change"
    assert settings_text(told[-1]) == "beam 5 · 2 captions"
    put(sheet, beams=str(DEFAULTS.beams), captions=str(DEFAULTS.captions))
    assert not sheet.rows["beams"].differs
    advanced = next(name for name, row in sheet.rows.items() if row.spec.advanced and name == "length_penalty")
    assert advanced not in visible(sheet)
    sheet._more.click()
    assert advanced in visible(sheet)
    put(sheet, **{advanced: "0.5"})
    sheet._more.click()
    assert advanced in visible(sheet), "what was changed stays in view"
    sheet.set_settings(DEFAULTS)
    assert advanced not in visible(sheet)
    assert told[-1] != DEFAULTS, "who sets it knows it"
    assert sheet.settings == DEFAULTS
    assert sheet.rows["search"].isAncestorOf(sheet.focusWidget()), "where one begins"
    row = sheet.rows["search"]
    assert row.width() > sheet.width() - 80, "fields are as wide as the sheet"
    named = {child.text().replace("&", ""): child for child in sheet.findChildren(QPushButton)}
    put(sheet, beams="5")
    before = len(told)
    named["Reset all"].click()
    assert (told[before:], sheet.rows["beams"].text()) == ([DEFAULTS], str(DEFAULTS.beams))
    named["Close"].click()
    assert not sheet.isVisible()
    assert read_settings('{"beams": 9}').captions == DEFAULTS.captions


def test_the_detail_shows_candidates_of_both_models_and_their_origin(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    detail = CaptionsDetail()
    qtbot.addWidget(detail)
    detail.show()
    shown: list[Path | None] = []
    detail.image.show_image = shown.append  # type: ignore[method-assign, assignment]
    detail.show_entry(None)
    assert (detail.state.text(), detail.name.text(), detail.origin.text(), detail.candidates.count()) == (
        "Select an image in the list.", "", "", 0,
    )  # fmt: skip
    entry = Entry("/p/two\nwords.png", 0).with_captions("a", A)
    detail.set_origins({"a": {"model": "/runs/one@best", "step": 5, "settings": {"search": "greedy"}}})
    detail.show_entry(entry)
    assert (detail.name.text(), detail.state.text()) == ("two words.png", "Captioned")
    assert detail.name.toolTip() == "/p/two\nwords.png"
    assert detail.origin.text() == "one · step 5 · greedy"
    assert detail.origin.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
    rows = [detail.candidates.item(row) for row in range(detail.candidates.count())]
    assert [row.text() for row in rows] == ["a best\nmean log-prob per token −0.500 · log p −1.000", "a next\n"]
    assert rows[0].toolTip() == "a best\nAlt+1 uses it\nlog p: log-probability of this caption"
    assert rows[0].icon().cacheKey() != rows[1].icon().cacheKey(), "the one that is the caption"
    detail.show_entry(entry.with_text("mine", HAND))
    assert shown == [None, Path(entry.path)], "the same image is not read again"
    assert detail.state.text() == "Edited by hand"
    taken: list[tuple[str, str, str]] = []
    detail.candidate_accepted.connect(lambda *what: taken.append(what))
    both = entry.with_captions("b", B)
    detail.set_titles({"a": "One", "b": "Two"})
    detail.show_entry(both)
    texts = [item.text().splitlines()[0] for item in detail._items()]
    assert texts == ["one · step 5", "a best", "a next", "Two", "b best", "b next"]
    heads = [item for item in detail._items() if not item.flags() & Qt.ItemFlag.ItemIsSelectable]
    assert [item.foreground().color() for item in heads] == [theme().color("muted")] * 2
    detail.candidates.itemActivated.emit(heads[0])
    detail.candidates.setCurrentRow(4)
    qtbot.keyClick(detail.candidates, Qt.Key.Key_Return)
    detail.take(1)
    detail.take(4)
    assert taken == [(entry.path, "b best", "b"), (entry.path, "a next", "a")]
    detail.candidates.clear()
    theme().changed.emit()
    assert len(detail._items()) == 6, "with the icons of the theme"
    detail.set_titles({"a": "One", "b": "Another"})
    assert detail._items()[3].text() == "Another"
    many = ModelCaptions("a", tuple(Candidate(f"{at}") for at in range(10)))
    detail.show_entry(Entry("/p/y.png", 1).with_captions("a", many))
    tips = [detail.candidates.item(row).toolTip() for row in range(10)]
    assert ["Alt+" in tip for tip in tips] == [True] * 9 + [False]
    detail.show_entry(Entry("/p/z.png", 1).with_captions("a", ModelCaptions("a", (Candidate(""),))))
    assert detail.candidates.item(0).text().startswith("(empty)")


def test_the_origin_of_a_caption_omits_unknown_parts() -> None:
    assert model_text({}) == ""
    assert model_text({"model": "open_clip:coca", "pretrained": "laion", "step": "x"}) == "open_clip:coca · laion"
    assert about_text({"model": "m", "settings": {"search": "greedy"}}) == "m · greedy"
    assert about_text({"model": "m", "digest": "", "settings": None}) == "m"
    assert [number(raw) for raw in (1, -1e300, 1e301, True, "1", None, float("nan"))] == [
        1, -1e300, None, None, None, None, None,
    ]  # fmt: skip


def test_files_refused_on_drop_and_while_captioning_are_one_message(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    target, bar, shown = DropTarget(tmp_path, "Drop", host), MessageBar(host), list[str]()
    refusals = CaptionsRefusals(target, bar, bar.show_message, lambda: shown.append("filtered"), host)
    refusals._drop_checked()
    assert bar.message is None
    target.refused.emit([("a.doc", "it is not an image"), ("b.doc", "it is empty")])
    assert bar.text == "Not added: a.doc: it is not an image. And 1 more."
    assert bar._details.toPlainText() == "a.doc: it is not an image\nb.doc: it is empty"
    assert bar._action.isHidden(), "there is nothing to show of them"
    refusals.report_uncaptioned(2)
    assert bar.text == "Not added: a.doc: it is not an image. And 1 more. 2 images could not be captioned."
    bar.press_remedy()
    assert shown == ["filtered"]
    refusals.report_uncaptioned(1)
    assert bar.text == "1 image could not be captioned.", "what was read is not said again"
    bar._close.click()
    target.refused.emit([(f"{at}.doc", "it is empty") for at in range(60)])
    assert bar.text == "Not added: 0.doc: it is empty. And 59 more."
    assert len(bar._details.toPlainText().splitlines()) == 50
    assert (not_added_text([]), refused_text(0)) == ("", "")
    target.close_threads()


def test_undo_steps_have_names(qapp: object) -> None:
    model = CaptionsModel()
    model.add([Entry(f"/p/{name}.png", at).with_captions("a", A) for at, name in enumerate("xyz")])
    assert WriteTexts(model, {"/p/x.png": ("mine", HAND)}, "Edit").text() == "Edit: x.png"
    both = {f"/p/{name}.png": ("mine", HAND) for name in "xy"}
    assert WriteTexts(model, both, "Replace in 2 captions").text() == "Replace in 2 captions"
    assert RemoveImages(model, ["/p/x.png"]).text() == "Remove 1 image"
    assert RemoveImages(model, ["/p/x.png", "/p/y.png"]).text() == "Remove 2 images"


@pytest.mark.parametrize("text", [None, "", "{", "5", "[]", '{"model": "m"}', '{"x": 1}'])
def test_an_unreadable_filter_is_ignored(text: Any) -> None:
    assert choice_of(text) is None
