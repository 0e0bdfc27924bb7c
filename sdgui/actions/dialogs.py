"""The popups opened by actions, each created once: Ctrl+K, shortcuts, tags and note, a preset, the basket."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from core.spec.run.folder import RunDir
from core.spec.run.model_names import run_and_checkpoint
from sdgui.actions.failure_dialog import FailureDialog
from sdgui.actions.menus import palette_entries
from sdgui.actions.palette import CommandPalette
from sdgui.experiments.commands import ExperimentCommands
from sdgui.experiments.panel import ExperimentsPanel
from sdgui.runs.background_tasks import BackgroundTasks
from sdgui.runs.models import is_saved_model
from sdgui.shared.services import Services
from sdgui.widgets.actions import Actions
from sdgui.widgets.popovers.placing import bring_to_front

if TYPE_CHECKING:  # a popup's code is loaded when it is first opened
    from sdgui.actions.alerts import AlertsDialog
    from sdgui.actions.export.dialog import ExportDialog
    from sdgui.actions.report import ReportDialog
    from sdgui.actions.shortcuts import ShortcutsDialog
    from sdgui.experiments.activity import ActivityDialog
    from sdgui.experiments.describe import DescribeSheet
    from sdgui.shared.fixing.dialog import BasketDialog
    from sdgui.shared.pickers.entries import ModelChoice
    from sdgui.shared.pickers.presets import PresetChooser


class Dialogs(QObject):
    """Creates and opens the popups. ``window``: their parent; ``changed``: changes that a dialog wrote to the store."""

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
        self._tasks = BackgroundTasks(self)
        self._export: ExportDialog | None = None
        self._basket: BasketDialog | None = None
        self.palette = CommandPalette(parent)

    @cached_property
    def sheet(self) -> DescribeSheet:
        """The popup for tags and note."""
        from sdgui.experiments.describe import DescribeSheet

        sheet = DescribeSheet(self.window)
        sheet.described.connect(self._on_described)
        return sheet

    @cached_property
    def activity(self) -> ActivityDialog:
        """The dialog with the history of changes."""
        from sdgui.experiments.activity import ActivityDialog

        return ActivityDialog(self._services.store, self.window)

    @cached_property
    def alerts(self) -> AlertsDialog:
        """The dialog of alert rules."""
        from sdgui.actions.alerts import AlertsDialog

        return AlertsDialog(self._services.store, self.window)

    @cached_property
    def report(self) -> ReportDialog:
        """The dialog with the report of an experiment or a study."""
        from sdgui.actions.report import ReportDialog

        return ReportDialog(self._services.store, self.window)

    @cached_property
    def chooser(self) -> PresetChooser:
        """The dialog to choose a preset for a new experiment."""
        from sdgui.shared.pickers.presets import PresetChooser

        chooser = PresetChooser(self.window, "Create experiment")
        chooser.chosen.connect(self._commands.new)
        return chooser

    def open_palette(self, first_group: str) -> None:
        """Open the command palette with all available entries, those of ``first_group`` first."""
        experiments = self._experiments
        self.palette.open(
            palette_entries(
                self._actions,
                experiments.model,
                self._commands.new,
                experiments.select_experiment,
                experiments.select_run,
                first_group,
            )
        )

    def open_shortcuts(self) -> None:
        """Show the shortcut list, or bring it to the front."""
        if self._shortcuts is None:
            from sdgui.actions.shortcuts import ShortcutsDialog

            self._shortcuts = ShortcutsDialog(self._actions, self.window)
            self._shortcuts.destroyed.connect(self._forget_shortcuts)
        bring_to_front(self._shortcuts)

    def open_help(self, page: str) -> None:
        """Show a page of the documentation in the user's browser."""
        from sdgui.actions.help_pages import help_page

        self._tasks.run(lambda: help_page(page), self._open_in_browser, self._report)

    def _open_in_browser(self, path: Path) -> None:
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self._report(f"No browser could be opened. The page is {path}.")

    def _report(self, text: str) -> None:
        FailureDialog(text, "", self.window).show()

    def export_choice(self, choice: ModelChoice) -> None:
        """Open the export dialog for the interpolated weights of a panel."""
        self.open_export(RunDir(Path(run_and_checkpoint(choice.model)[0])), choice.title, choice)

    def open_export(self, run: RunDir, name: str, choice: ModelChoice | None = None) -> None:
        """Open the export dialog for a model of ``run``, or for the interpolated weights of ``choice`` if given."""
        if self._export is None:
            from sdgui.actions.export.dialog import ExportDialog

            self._export = ExportDialog(self.window)
            self._export.program.done.connect(self._remember)
        self._export.open_for(run, name, choice)

    def _remember(self, folder: Path) -> None:
        """List an exported model among the recent ones of every panel that can open it."""
        from sdgui.shared.pickers.entries import ModelChoice, remember

        if is_saved_model(folder):
            remember(self._services.settings, ModelChoice(str(folder), "", folder.name))

    def close_export(self) -> None:
        """Cancel a running export because the window closes."""
        if self._export is not None:
            self._export.program.close()

    def open_basket(self) -> None:
        """Open the dialog of the basket."""
        if self._basket is None:
            from sdgui.shared.fixing.dialog import BasketDialog

            self._basket = BasketDialog(self._services, self.window)
            self._basket.changed.connect(self.changed)
        self._basket.open_current()

    def _forget_shortcuts(self) -> None:
        self._shortcuts = None

    def _on_described(
        self, target: tuple[int, int | None], tags: list[str], note: str, before: tuple[list[str], str]
    ) -> None:
        self._commands.describe(*target, tags, note, before)
