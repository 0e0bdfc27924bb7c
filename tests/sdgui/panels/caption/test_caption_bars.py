"""Parts of the Caption panel by themselves: find and replace, settings, the detail, refusals, and small choices."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.caption_files import Candidate
from sdgui.app.start import make_application
from sdgui.panels.caption.list.replace import Finder, ReplaceBar, finder, occurrences
from sdgui.panels.caption.model import ModelCaptions
from sdgui.panels.caption.refusals import CaptionsRefusals, not_added_text, refused_text
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.message_bar import MessageBar

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
