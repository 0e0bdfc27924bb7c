"""The popups that actions open, each made once: Ctrl+K, shortcuts, tags and note, a preset, the basket."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from core.spec.run.folder import RunDir
from sdgui.actions.export.dialog import ExportDialog
from sdgui.actions.help_browser import HelpBrowser
from sdgui.actions.menus import palette_entries
from sdgui.actions.palette import CommandPalette
from sdgui.actions.shortcuts import ShortcutsDialog
from sdgui.experiments.activity import ActivityDialog
from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.describe import DescribeSheet
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.shared.fixing.dialog import FixingDialog
from sdgui.shared.pickers.presets import PresetChooser
from sdgui.shared.services import Services
from sdgui.widgets.actions import Actions


class Dialogs(QObject):
    """``window``: over which they open. ``changed``: what one of them has written to the store."""

    changed = Signal(object)  # Changes

    def __init__(
        self,
        actions: Actions,
        experiments: ExperimentsPanel,
        commands: ExperimentCommands,
        services: Services,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.window = parent
        self._actions, self._experiments, self._commands = actions, experiments, commands
        self._services = services
        self._shortcuts: ShortcutsDialog | None = None
        self._help: HelpBrowser | None = None
        self._export: ExportDialog | None = None
        self._basket: FixingDialog | None = None
        self.palette = CommandPalette(parent)
        self.sheet = DescribeSheet(parent)
        self.sheet.described.connect(self._described)
        self.activity = ActivityDialog(services.store, parent)
        self.chooser = PresetChooser(parent, "Create experiment")
        self.chooser.chosen.connect(commands.new)

    def open_palette(self, usual: str) -> None:
        """Offer everything that can be done or shown now, the group ``usual`` first."""
        experiments = self._experiments
        self.palette.open(
            palette_entries(
                self._actions,
                experiments.model,
                self._commands.new,
                experiments.select_experiment,
                experiments.select_run,
                usual,
            )
        )

    def open_shortcuts(self) -> None:
        """Show the shortcut list, or bring it to the front."""
        if self._shortcuts is None:
            self._shortcuts = ShortcutsDialog(self._actions, self.window)
            self._shortcuts.destroyed.connect(self._forget_shortcuts)
        self._shortcuts.show()
        self._shortcuts.raise_()
        self._shortcuts.activateWindow()

    def open_help(self, page: str) -> None:
        """Show a page of the documentation."""
        if self._help is None:
            self._help = HelpBrowser(self.window)
            self._help.shortcuts.clicked.connect(self.open_shortcuts)
        self._help.open_page(page)

    def open_export(self, run: RunDir, name: str) -> None:
        """Offer to export a model of ``run``."""
        if self._export is None:
            self._export = ExportDialog(self.window)
        self._export.open_for(run, name)

    def close_export(self) -> None:
        """The window closes: an export that is being written ends."""
        if self._export is not None:
            self._export.program.close()

    def open_basket(self) -> None:
        """Show what is in the basket."""
        if self._basket is None:
            self._basket = FixingDialog(self._services, self.window)
            self._basket.changed.connect(self.changed)
        self._basket.open_up()

    def _forget_shortcuts(self) -> None:
        self._shortcuts = None

    def _described(
        self, target: tuple[int, int | None], tags: list[str], note: str, before: tuple[list[str], str]
    ) -> None:
        self._commands.describe(*target, tags, note, before)
