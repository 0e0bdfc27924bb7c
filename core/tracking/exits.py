"""How a process ends that has runs open: by an unhandled exception, by ``sys.exit``, or at the script's end.

``sys.excepthook`` is called for exceptions and ``atexit`` at every regular end, but neither learns an exit status, so
``sys.exit`` is wrapped too. Each hook calls the one that was there before.
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
    """``run.end_with_process`` is called when the process ends, unless ``unwatch`` is called before."""
    global _installed
    _watched.add(run)
    if _installed:
        return
    _installed = True
    before_hook, before_exit = sys.excepthook, sys.exit

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _remember(error)
        before_hook(kind, error, trace)

    def leave(status: object = None, /) -> NoReturn:
        _remember(SystemExit(status))
        before_exit(status)  # type: ignore[arg-type]

    sys.excepthook, sys.exit = hook, leave
    atexit.register(_end_all)


def unwatch(run: EndsWithProcess) -> None:
    _watched.discard(run)


def _remember(error: BaseException) -> None:
    global _error
    _error = error


def _end_all() -> None:
    for run in list(_watched):
        run.end_with_process(_error)
