"""Unexpected errors: logged, and shown to the user.

Flow: ``__main__`` installs ``Failures.hook`` as the excepthook; an error is logged to ``sdgui.log`` under the home
folder and shown once in a non-blocking dialog, with collapsed details that can be copied.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication

from core.spec.errors import UserError
from sdgui.actions.failure_dialog import FailureDialog

_MAX_LOG_BYTES = 2 << 20  # size at which the log is renamed; one older log is kept


class Failures(QObject):
    """Catches uncaught exceptions of any thread: logs them, and shows them on the window's thread."""

    _happened = Signal(str, str)

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log = log
        self.dialog: FailureDialog | None = None
        self._happened.connect(self._show)

    def install(self) -> None:
        """Install as the excepthook of the program, including threads."""
        sys.excepthook = self.hook
        threading.excepthook = lambda args: self.hook(
            args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
        )

    def hook(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Log and show one error; an interrupt from the keyboard ends the program as usual."""
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        details = "".join(traceback.format_exception(kind, error, trace))
        is_logged = self._write(details)
        print(details, file=sys.stderr, end="")
        if isinstance(error, UserError):
            self._happened.emit(str(error), "")
            return
        log_hint = f" See {self.log}." if is_logged else ""
        text = f"Unexpected error: {error or kind.__name__}. Running experiments are not affected.{log_hint}"
        self._happened.emit(text, details)

    def _write(self, details: str) -> bool:
        try:
            if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.1"))
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}\n{details}\n")
        except OSError as problem:  # the dialog still shows everything
            print(f"cannot write {self.log}: {problem}", file=sys.stderr)
            return False
        return True

    def _show(self, sentence: str, details: str) -> None:
        if self.dialog is not None and self.dialog.isVisible():
            return  # one dialog is enough; other errors are in the log
        self.dialog = FailureDialog(sentence, details, QApplication.activeWindow())
        self.dialog.destroyed.connect(self._forget)
        self.dialog.show()

    def _forget(self) -> None:
        self.dialog = None
