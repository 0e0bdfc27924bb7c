"""An error that nobody expected: logged, shown once, copyable."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from sdgui.app import failures as failures_module
from sdgui.app.failures import Failures


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_an_exception_is_logged_and_shown_with_details(qtbot: QtBot, tmp_path: Path) -> None:
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


def test_a_user_error_is_shown_as_one_sentence(qtbot: QtBot, tmp_path: Path) -> None:
    failures = Failures(tmp_path / "sdgui.log")
    error = raised(UserError("the file x is empty; choose another."))
    failures.hook(type(error), error, error.__traceback__)
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert any(label.text() == "the file x is empty; choose another." for label in failures.dialog.findChildren(QLabel))
    assert not failures.dialog.details.isVisible()


def test_an_exception_in_a_thread_is_shown_in_the_main_thread(
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


def test_an_unwritable_log_does_not_hide_the_error(qtbot: QtBot, tmp_path: Path) -> None:
    failures = Failures(tmp_path / "missing" / "sdgui.log")
    error = raised(ValueError("x"))
    failures.hook(type(error), error, error.__traceback__)
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert "ValueError: x" in failures.dialog.details.toPlainText()


def test_errors_are_shown_one_at_a_time(qtbot: QtBot, tmp_path: Path) -> None:
    failures = Failures(tmp_path / "sdgui.log")

    def fail(text: str) -> None:
        error = raised(ValueError(text))
        failures.hook(type(error), error, error.__traceback__)

    fail("one")
    first = failures.dialog
    assert first is not None
    fail("two")
    assert failures.dialog is first
    assert f"See {failures.log}." in "".join(label.text() for label in first.findChildren(QLabel))
    first.close()
    qtbot.waitUntil(lambda: failures.dialog is None)
    fail("three")
    assert failures.dialog is not None
    qtbot.addWidget(failures.dialog)
    assert "three" in failures.dialog.details.toPlainText()
    assert [text in failures.log.read_text(encoding="utf-8") for text in ("one", "two", "three")] == [True] * 3


def test_a_long_log_is_rotated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "_MAX_LOG_BYTES", 10)
    failures = Failures(tmp_path / "sdgui.log")
    monkeypatch.setattr(failures, "_show", lambda *_: None)
    for text in ("first", "second", "third"):
        assert failures._write(text)
    assert "third" in failures.log.read_text(encoding="utf-8")
    assert "second" in (tmp_path / "sdgui.log.1").read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 2
