"""Checks, before a run is created, whether its data can be trained on.

Flow: Launch -> ``DataCheck.check(config, done)`` -> worker ``describe_source`` for each source in the config ->
``done`` with the problems by field (``sdgui.shared.pickers.refusals``). The window never waits.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject

from core.spec.config import RunConfig
from sdgui.shared.pickers.refusals import refusals, sources
from sdgui.worker.calls import WorkerCalls
from sdgui.worker.pool import DATA_WORKER, WorkerPool
from sdgui.worker.replies import Failure
from sdgui.worker.verbs import DESCRIBE_SOURCE, SourceFacts

Done = Callable[[dict[str, str]], object]  # problems by dotted field; empty if training is possible
_PURPOSE = "check"


class DataCheck(QObject):
    """Runs one check at a time; a new check replaces the previous one, whose ``done`` is never called.

    Only for data on this computer; another machine checks its own data.
    """

    def __init__(self, pool: WorkerPool, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._calls = WorkerCalls(pool.client(DATA_WORKER, "data"), self)

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._calls.busy(_PURPOSE)

    def check(self, config: RunConfig, done: Done) -> None:
        """Call ``done`` with the problems of ``config``; immediately if the config is itself invalid."""
        self.cancel()
        problems = refusals(config, {})
        if problems:
            done(problems)
        else:
            named_sources = dict.fromkeys(sources(config).values()) if not config.data.dataset else {}
            self._ask(config, list(named_sources), {}, done)

    def cancel(self) -> None:
        """Cancel the running check."""
        self._calls.drop(_PURPOSE)

    def _ask(
        self, config: RunConfig, remaining: list[str], facts_by_source: dict[str, SourceFacts | Failure], done: Done
    ) -> None:
        if not remaining:
            done(refusals(config, facts_by_source))
            return
        source, *later_sources = remaining

        def answered(answer: SourceFacts | Failure) -> None:
            self._ask(config, later_sources, facts_by_source | {source: answer}, done)

        self._calls.ask(_PURPOSE, DESCRIBE_SOURCE, answered, answered, None, source=source, images_only=True)
