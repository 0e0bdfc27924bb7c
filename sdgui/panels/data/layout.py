"""The Data panel's widgets: the source, its filters, and five pages; ``DataPanel`` controls them."""

from __future__ import annotations

from functools import cached_property, partial

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QLineEdit, QMenu, QPushButton, QSizePolicy, QStackedWidget, QTabWidget, QWidget

from sdgui.panels.data.broken import BrokenPage
from sdgui.panels.data.figures import FiguresPage
from sdgui.panels.data.groups import GroupsPage
from sdgui.panels.data.model import Filter, SourceRows, Subset
from sdgui.panels.data.views_page import ViewsPage
from sdgui.shared.pickers.data import DataPicker
from sdgui.shared.services import Services
from sdgui.shared.stored_json import parse_number
from sdgui.widgets.elided_label import ElidedLabel
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.formats import count
from sdgui.widgets.gallery.gallery import Gallery
from sdgui.widgets.input_boxes import ListOnlyComboBox
from sdgui.widgets.late_parts import page_parent, replace_page
from sdgui.widgets.layouts.boxes import hbox, vbox
from sdgui.widgets.layouts.over import lay_over
from sdgui.widgets.layouts.splits import remember_sizes
from sdgui.widgets.message_bar import MessageBar
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.progress_strip import ProgressStrip
from sdgui.widgets.style.theme import SPACE, set_role

_SUBSETS: tuple[tuple[str, Subset], ...] = (
    ("All images", "all"),
    ("Kept", "kept"),
    ("Excluded", "excluded"),
    ("Without captions", "uncaptioned"),
    ("Duplicates and leaks", "duplicates"),
    ("Cannot be decoded", "broken"),
)
_TITLE, _OPEN = "Look at your data", "&Open data…"
_OPENING = ("Opening the data", "Images are shown as they are read.")
_FAILED = ("The data could not be opened", "Try again, or choose other data above.")
_EMPTY = (
    "Choose or drop a table, a folder of images or shards to see images with captions and labels, duplicates, "
    "leaks between splits, broken rows, and the views of student and teacher."
)
_HINT = "X exclude or include · Ctrl+Z undo · Space preview · Ctrl+F search captions"
_MAX_VALUES = 1000  # listed values of a label
IMAGES, FIGURES, GROUPS, BROKEN, VIEWS = range(5)


class DataView(QWidget):
    """Two rows of controls above the pages. ``filtered``: the filter changed; ``action_requested``: its name."""

    filtered = Signal()
    views_made = Signal(object)  # ViewsPage, emitted on first use
    action_requested = Signal(str)  # save, use, search, hold out, selection, exclude, basket, undo

    def __init__(self, services: Services, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._services = services
        self.source = DataPicker(services, images_only=True, parent=self)
        self.save_button = QPushButton("&Save as new data…", self)
        self.save_button.setToolTip("Save the remaining rows and their provenance as a new table (Ctrl+S)")
        self.save_button.setShortcut(QKeySequence("Ctrl+S"))
        set_role(self.save_button, "primary")
        self.more_button = QPushButton("&More", self)
        self.more_button.setToolTip("Search these images, train on them, hold out a validation set, save the selection")
        self.filter_box = QLineEdit(self, placeholderText="Search the captions", clearButtonEnabled=True)
        self.filter_box.setAccessibleName(self.filter_box.placeholderText())
        self.label, self.value, self.subset = (ListOnlyComboBox(self) for _ in range(3))
        self.label.setPlaceholderText("Any label")  # shown until data is chosen
        self.value.setPlaceholderText("Any value")
        self.counts = ElidedLabel("", self, role="small")
        self.bar = MessageBar(self)
        self.strip = ProgressStrip(self)
        self.tabs = QTabWidget(self)
        self.empty = EmptyState("ph.stack", _TITLE, _EMPTY, _OPEN, "", self)
        self.demo_button = QPushButton(self.empty)
        set_role(self.demo_button, "flat")
        self.empty.add_widget(self.demo_button)
        self.stack = QStackedWidget(self)
        self._build_pages()
        self._arrange()
        self._connect()
        self._restore()

    def _build_pages(self) -> None:
        thumbnails = self._services.store.home / "thumbnails"
        self.gallery = Gallery(thumbnails, "No image matches the filter.", self.tabs)
        self.gallery.view.setToolTip(plain_tip(_HINT))
        self.figures = FiguresPage(self.tabs)
        self.groups = GroupsPage(thumbnails, self.tabs)
        self.broken = BrokenPage(self.tabs)
        self._no_views = QWidget(self.tabs)  # created on first use: its form takes a while to build
        for title, page, tip in (
            ("Ima&ges", self.gallery, "Images with captions"),
            ("S&tatistics", self.figures, "Words per caption, captions per image, labels with counts"),
            ("&Duplicates and leaks", self.groups, "Images that occur twice or are also in another split"),
            ("Bro&ken", self.broken, "Rows and files that cannot be used, with the reasons"),
            ("&What the model sees", self._no_views, "Random views of student and teacher, generated as in training"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(page, title), plain_tip(tip))

    @cached_property
    def views(self) -> ViewsPage:
        """The page "What the model sees", created on first use."""
        page = ViewsPage(self._services, page_parent(self.tabs))
        replace_page(self.tabs, VIEWS, page)
        remember_sizes(page.split, self._services.settings, "data/split")
        self.views_made.emit(page)
        return page

    def show_failed(self) -> None:
        """Instead of rows, show that the data could not be opened; the message bar has the reason."""
        self.empty.set_content(*_FAILED)

    def _arrange(self) -> None:
        for box, name, tip in (
            (self.label, "Label", "Label to filter the images by"),
            (self.value, "Label value", "Show only images with this value of the label"),
            (self.subset, "Which images", "Show all images or a subset"),
        ):
            box.setAccessibleName(name)
            box.setToolTip(plain_tip(tip))
            box.setSizeAdjustPolicy(ListOnlyComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(12)
        for text, key in _SUBSETS:
            self.subset.addItem(text, key)
        top = Qt.AlignmentFlag.AlignTop
        first = hbox((self.source, 1), (self.more_button, 0, top), (self.save_button, 0, top))
        self.filter_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        second = hbox((self.filter_box, 2), self.label, self.value, self.subset, (self.counts, 1))
        self.stack.addWidget(self.empty)
        self.stack.addWidget(self.tabs)
        column = vbox(first, second, (self.stack, 1), margins=(2 * SPACE, SPACE, 2 * SPACE, SPACE))
        lay_over(self, column, self.bar)

    def _connect(self) -> None:
        self.filter_box.textChanged.connect(self.filtered)
        self.value.activated.connect(self.filtered)
        self.subset.activated.connect(self.filtered)
        self.save_button.clicked.connect(lambda: self.action_requested.emit("save"))
        self.more_button.clicked.connect(self.open_more)
        self.gallery.view.installEventFilter(self)

    def open_more(self) -> None:
        """Open the menu of further actions."""
        menu = QMenu(self)
        has_selection = bool(self.gallery.selected())
        for text, name, on in (
            ("Search &these images", "search", True),
            ("&Use in a new experiment", "use", True),
            ("&Hold out 10 %", "hold out", True),
            ("Save the se&lection as new data…", "selection", has_selection),
            ("E&xclude the selection\tX", "exclude", has_selection),
            ("Add excluded images to the &basket", "basket", True),
            ("&Undo\tCtrl+Z", "undo", True),
        ):
            action = menu.addAction(text)
            action.setEnabled(on and bool(self.source.source()))
            action.triggered.connect(partial(self.action_requested.emit, name))
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.more_button.mapToGlobal(self.more_button.rect().bottomLeft()))

    # Display
    def filter(self) -> Filter:
        """The filter set by the controls."""
        subset: Subset = self.subset.currentData()
        label = str(self.label.currentData() or "")
        return Filter(self.filter_box.text(), label, str(self.value.currentData() or "") if label else "", subset)

    def set_filter(self, label: str, value: str) -> None:
        """Show the images with this value."""
        self.label.setCurrentIndex(max(0, self.label.findData(label)))
        self.label.activated.emit(self.label.currentIndex())
        if self.value.findData(value) < 0:
            self.value.addItem(value, value)
        self.value.setCurrentIndex(self.value.findData(value))
        self.filtered.emit()

    def offer_labels(self, rows: SourceRows, split: str) -> None:
        """List the labels of ``rows``, starting with the label that names splits."""
        names = sorted(rows.labels, key=lambda name: name != split)
        self.label.clear()
        self.label.addItem("Any label" if names else "No labels", "")
        for name in names:
            self.label.addItem(name, name)
        self.label.setEnabled(bool(names))
        self.offer_values([])

    def offer_values(self, values: list[str]) -> None:
        """List the values of the chosen label."""
        self.value.clear()
        self.value.addItem("Any value", "")
        for value in values[:_MAX_VALUES]:
            self.value.addItem(value, value)
        self.value.setEnabled(bool(values))

    def show_counts(self, shown_count: int, rows: SourceRows) -> None:
        """Show how many rows pass the filter, if not all, and how many are excluded."""
        excluded_count = len(rows.excluded)
        parts = [f"{count(shown_count)} of {count(len(rows))}"] if shown_count != len(rows) else []
        self.counts.setText(" · ".join([*parts, *([f"{count(excluded_count)} excluded"] if excluded_count else [])]))

    def show_problem_counts(self, groups: int | None, broken: int) -> None:
        """Append the numbers of problems to the page titles."""
        self.tabs.setTabText(GROUPS, "&Duplicates and leaks" + (f" ({count(groups)})" if groups else ""))
        self.tabs.setTabText(BROKEN, "Bro&ken" + (f" ({count(broken)})" if broken else ""))

    def show_controls(self, has_rows: bool) -> None:
        """Enable the controls that need rows; without rows, show the page that offers to open data."""
        self.stack.setCurrentIndex(1 if has_rows else 0)
        has_source = has_rows or bool(self.source.source())
        self.empty.set_content(*(_OPENING if has_source else (_TITLE, _EMPTY, _OPEN)))
        self.demo_button.setText(f"{'Open' if self._services.demo.complete else 'Create'} the demo images")
        self.demo_button.setVisible(not has_source)
        for widget in (self.filter_box, self.label, self.value, self.subset, self.save_button, self.more_button):
            widget.setEnabled(has_rows)
            widget.setVisible(has_source)
        self.counts.setVisible(has_source)

    # Keys
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Handle X (exclude) and Ctrl+Z (undo) in the gallery."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() == Qt.Key.Key_X and event.modifiers() == Qt.KeyboardModifier.NoModifier:
                self.action_requested.emit("exclude")
                return True
            if event.matches(QKeySequence.StandardKey.Undo):
                self.action_requested.emit("undo")
                return True
        return super().eventFilter(watched, event)

    # Sizes
    def save_layout(self) -> None:
        """Save the tab and the thumbnail size to the settings."""
        settings = self._services.settings
        settings.setValue("data/images", self.gallery.thumbnail_size())
        settings.setValue("data/tab", self.tabs.currentIndex())

    def _restore(self) -> None:
        settings = self._services.settings
        self.gallery.set_thumbnail_size(parse_number(settings.value("data/images"), 128))
        self.tabs.setCurrentIndex(parse_number(settings.value("data/tab"), IMAGES))
