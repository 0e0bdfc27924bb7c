"""The question about a run folder's code: the file is shown, a yes is remembered by its digest, a no is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.run.code import digest_of, read_allowed_digests
from sdgui.shared.code_question import ask_to_run


@pytest.mark.parametrize("yes", [True, False])
def test_the_answer_is_passed_on_and_a_yes_is_remembered(yes: bool, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "my_towers.py"
    path.write_text("print('hello')\n")
    digest = digest_of(path.read_bytes())
    parent = QWidget()
    qtbot.addWidget(parent)
    answers: list[bool] = []
    box = ask_to_run(parent, {digest: path}, answers.append)
    assert "my_towers.py" in box.text()
    assert "print('hello')" in box.detailedText()
    (button,) = [one for one in box.buttons() if one.text() == ("&Run this code" if yes else "&Do not run")]
    assert box.defaultButton().text() == "&Do not run"
    button.click()
    qtbot.waitUntil(lambda: answers == [yes])
    assert read_allowed_digests() == (frozenset({digest}) if yes else frozenset())


def test_a_file_changed_since_is_not_shown_as_the_one_to_run(qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "my_towers.py"
    path.write_text("another text")
    parent = QWidget()
    qtbot.addWidget(parent)
    box = ask_to_run(parent, {"0" * 64: path}, lambda _: None)
    assert "another text" not in box.detailedText()
    box.close()
