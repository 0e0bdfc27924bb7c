"""Files and images that the Caption panel refuses, by themselves."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application
from sdgui.panels.caption.refusals import CaptionsRefusals
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.message_bar import MessageBar


def test_files_refused_on_drop_and_while_captioning_are_one_message(qtbot: QtBot, tmp_path: Path) -> None:
    make_application()
    host = QWidget()
    qtbot.addWidget(host)
    target, bar, shown = DropTarget(tmp_path, "Drop", host), MessageBar(host), list[str]()
    refusals = CaptionsRefusals(target, bar, bar.show_message, lambda: shown.append("filtered"), host)
    refusals._on_drop_checked()
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
    assert len(bar._details.toPlainText().splitlines()) == 60
    target.close_threads()
