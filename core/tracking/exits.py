"""Ends open runs when the process ends: after an unhandled exception, ``sys.exit`` or the end of the script.

``sys.excepthook`` gets the exception and ``atexit`` runs at every regular exit, but neither gets the exit status, so
``sys.exit`` is wrapped too. Each hook calls the previously installed one.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from types import TracebackType
from typing import NoReturn, Protocol


class EndsWithProcess(Protocol):
    def end_with_process(self, error: BaseException | None) -> None: ...


_watched: weakref.WeakSet[EndsWithProcess] = weakref.WeakSet()
_error: BaseException | None = None
_installed = False


def watch(run: EndsWithProcess) -> None:
    """Call ``run.end_with_process`` when the process ends, unless ``unwatch`` is called before."""
    global _installed
    _watched.add(run)
    if _installed:
        return
    _installed = True
    previous_hook, previous_exit = sys.excepthook, sys.exit

    def hook_with_record(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _record_error(error)
        previous_hook(kind, error, trace)

    def exit_with_record(status: object = None, /) -> NoReturn:
        _record_error(SystemExit(status))
        previous_exit(status)  # type: ignore[arg-type]

    sys.excepthook, sys.exit = hook_with_record, exit_with_record
    atexit.register(_end_all)


def unwatch(run: EndsWithProcess) -> None:
    _watched.discard(run)


def _record_error(error: BaseException) -> None:
    global _error
    _error = error


def _end_all() -> None:
    for run in list(_watched):
        run.end_with_process(_error)
