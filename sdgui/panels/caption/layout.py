"""The Caption panel's widgets: models and tools above, the list in the middle, the selected image on the right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QSplitter, QStackedWidget, QWidget

from sdgui.panels.caption.bar import CaptionsBar
from sdgui.panels.caption.detail import CaptionsDetail
from sdgui.panels.caption.examples import Examples
from sdgui.panels.caption.list.replace import ReplaceBar
from sdgui.panels.caption.list.rows import CaptionsModel
from sdgui.panels.caption.list.table import CaptionsList
from sdgui.panels.caption.model import STATE_TEXTS
from sdgui.panels.caption.next_step import CHOOSE_IMAGES_STEP, TRAIN_DEMO_STEP
from sdgui.panels.caption.settings import CaptionSettings, read_settings, settings_text
from sdgui.shared.services import Services
from sdgui.widgets.drop_target import DropTarget
from sdgui.widgets.dropped_files import IMAGE_FILTER
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.file_dialogs import ask_folder, ask_open_several
from sdgui.widgets.formats import count, count_with_unit
from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE


class CaptionView(QWidget):
    """The panel's widgets; ``CaptionsPanel`` controls them. ``texts`` returns the captions that replacing changes."""

    def __init__(
        self, services: Services, model: CaptionsModel, texts: Callable[[], list[str]], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._model = model
        home: Path = services.store.home
        # Outer widgets first: reparenting a widget restyles all its children.
        self.target = DropTarget(home / "pasted", "Caption these images", self)
        self.target.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        inside = QWidget(self.target)
        self.target.set_content(inside)
        self.tools = CaptionsBar(services, inside)
        self.settings = CaptionSettings(self)
        self.strip, self.export_strip = (ProgressStrip(inside) for _ in range(2))  # captioning, exporting
        self.bar = MessageBar(inside)
        self.stack = QStackedWidget(inside)
        self.split = QSplitter(Qt.Orientation.Horizontal, self.stack, childrenCollapsible=False)
        self.list = CaptionsList(model, home / "thumbnails", self.split)
        self.replace = ReplaceBar(texts, inside)
        self.detail = CaptionsDetail(self.split)
        self.empty = EmptyState("ph.closed-captioning", "", "", parent=self.stack)
        self.examples = Examples(services.demo, self.empty)
        self.empty.add_widget(self.examples)
        self.counts = PlainLabel(inside, role="small")
        self._arrange(inside)
        remember_sizes(self.split, services.settings, "captions/split")
        self.settings.set_settings(read_settings(services.settings.value("captions/settings")))
        self.show_settings()
        self.show_empty()

    def _arrange(self, inside: QWidget) -> None:
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([640, 280])
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.split)
        margins = (2 * SPACE, SPACE, 2 * SPACE, SPACE // 2)
        column = vbox(self.tools, (self.stack, 1), self.counts, margins=margins)
        lay_over(inside, column, self.bar)
        self.tools.second_row.addWidget(self.replace)
        self.replace.open_changed.connect(self.tools.second_row.setCurrentIndex)  # 1: find and replace
        self.replace.open_changed.connect(lambda on: None if on else self.list.setFocus())
        vbox(self.target, into=self)

    # --- content

    def show_settings(self) -> None:
        """Show a summary of the generation settings on their button."""
        self.tools.settings_button.setText(settings_text(self.settings.settings))

    def show_current(self) -> None:
        """Show the list's current image with its candidates."""
        self.detail.show_entry(self._model.entry(self.list.current_path()))

    def show_empty(self) -> None:
        """Show the list, or if it is empty, the purpose of the panel and the next step."""
        self.stack.setCurrentIndex(1 if len(self._model) else 0)
        if not len(self._model):
            has_model = self.tools.pickers["a"].choice() is not None
            self.empty.set_content(*(CHOOSE_IMAGES_STEP if has_model else TRAIN_DEMO_STEP))
            self.examples.setVisible(has_model and self.examples.fill())

    def show_counts(self) -> None:
        """Show the counts, such as ``12 images · 3 shown · 10 captioned · 2 selected``."""
        number, states = len(self._model), self._model.states()
        parts = [count_with_unit(number, "image")]
        if self._model.rowCount() != number:
            parts.append(f"{count(self._model.rowCount())} shown")
        parts += [f"{count(states[state])} {text}" for state, text in STATE_TEXTS.items() if states[state]]
        selected = self.list.selected_count()
        if selected > 1:
            parts.append(f"{count(selected)} selected")
        self.counts.setText(" · ".join(parts) if number else "")
        self.show_empty()
        if self.replace.is_open:
            self.replace.recount()

    def take_focus(self) -> None:
        """Focus the list, or if it is empty, the drop target, so that images can be pasted."""
        focused = QApplication.focusWidget()
        if focused is None or not self.isAncestorOf(focused):
            (self.list if len(self._model) else self.target).setFocus()

    # --- dialogs

    def ask_files(self) -> None:
        """Add images chosen in a dialog."""
        self.target.accept_paths(ask_open_several(self, "Images to caption", IMAGE_FILTER))

    def ask_folder(self) -> None:
        """Add a folder of images chosen in a dialog."""
        if folder := ask_folder(self, "Folder of images to caption"):
            self.target.accept_paths([folder])

    def open_settings(self) -> None:
        """Show the generation settings: search, beams, sampling, lengths, prompt, seed."""
        button = self.tools.settings_button
        corner = button.mapToGlobal(QPoint(button.width(), button.height() + SPACE // 2))
        self.settings.open_at(corner, self.window().mapToGlobal(self.window().rect().bottomLeft()).y() - corner.y())
