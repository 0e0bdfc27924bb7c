"""Problems of background threads, shown in the window's message bar and removed when solved.

Flow: threads that follow runs, studies, chains and machines emit ``trouble`` -> `ProblemReports` -> the message bar.
"""

from __future__ import annotations

from PySide6.QtCore import QObject

from sdgui.shared.registry_changes import RegistryChanges
from sdgui.shared.services import Services
from sdgui.widgets.message import Message, error, warning
from sdgui.widgets.message_bar import MessageBar


class ProblemReports(QObject):
    """Shows each problem when it is reported."""

    def __init__(self, services: Services, registry_changes: RegistryChanges, bar: MessageBar, parent: QObject) -> None:
        super().__init__(parent)
        self._bar = bar
        self._last_trouble: tuple[int, Message] | None = None  # the follower's last message, with its run
        services.follower.trouble.connect(self._show_trouble)
        services.writer.trouble.connect(lambda sentence: bar.show_message(error(sentence)))
        for poller in (services.hosts, services.studies, services.launcher.chains, registry_changes):
            poller.trouble.connect(self._warn)

    def _warn(self, sentence: str) -> None:
        self._bar.show_message(warning(sentence))

    def _show_trouble(self, run_id: int, sentence: str) -> None:
        """Show why a run (0: the store) cannot be read; "" removes the message."""
        if sentence:
            self._last_trouble = run_id, warning(sentence)
            self._bar.show_message(self._last_trouble[1])
        elif (
            self._last_trouble is not None
            and self._last_trouble[0] == run_id
            and self._bar.message is self._last_trouble[1]
        ):
            self._bar.clear()
