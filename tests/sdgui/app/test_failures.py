"""An error that nobody expected: logged, shown once, copyable."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from sdgui.app.failures import Failures


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_it_is_logged_and_shown_with_the_details(qtbot: QtBot, tmp_path: Path) -> None:
    failures = Failures(tmp_path / "sdgui.log")
    error = raised(ZeroDivisionError("by zero"))
    failures.hook(type(error), error, error.__traceback__)
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert "ZeroDivisionError: by zero" in failures.dialog.details.toPlainText()
    assert "ZeroDivisionError: by zero" in failures.log.read_text(encoding="utf-8")
    copy = next(b for b in failures.dialog.findChildren(QPushButton) if "Copy" in b.text())
    copy.click()
    assert "ZeroDivisionError: by zero" in QApplication.clipboard().text()


def test_a_users_error_is_its_sentence_alone(qtbot: QtBot, tmp_path: Path) -> None:
    failures = Failures(tmp_path / "sdgui.log")
    error = raised(UserError("the file x is empty; choose another."))
    failures.hook(type(error), error, error.__traceback__)
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert any(label.text() == "the file x is empty; choose another." for label in failures.dialog.findChildren(QLabel))
    assert not failures.dialog.details.isVisible()


def test_one_in_another_thread_is_shown_on_the_windows(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = Failures(tmp_path / "sdgui.log")
    monkeypatch.setattr(threading, "excepthook", lambda a: failures.hook(a.exc_type, a.exc_value, a.exc_traceback))

    def work() -> None:
        raise OSError("gone")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: failures.dialog is not None)
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert "OSError: gone" in failures.dialog.details.toPlainText()


def test_a_log_that_cannot_be_written_does_not_hide_the_error(qtbot: QtBot, tmp_path: Path) -> None:
    failures = Failures(tmp_path / "missing" / "sdgui.log")
    error = raised(ValueError("x"))
    failures.hook(type(error), error, error.__traceback__)
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert "ValueError: x" in failures.dialog.details.toPlainText()
