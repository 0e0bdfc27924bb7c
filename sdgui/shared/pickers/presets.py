"""The preset picker: presets by family with a search box; each with its description, paper and requirements.

Flow: a button opens it over the window; ``chosen`` carries preset and size. Enter chooses, arrow keys move the
selection while typing, Alt+1 to Alt+4 set the size, Escape closes.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QWidget,
)

from core.spec.presets import PRESETS, SIZES, Size
from sdgui.shared.pickers.preset_facts import FAMILIES, ICONS, matches, preset_needs
from sdgui.widgets.layouts.boxes import STYLE_SPACING, hbox, vbox
from sdgui.widgets.plain_text import PlainLabel, plain_tip
from sdgui.widgets.popovers.list_keys import handle_list_key, is_enter
from sdgui.widgets.style.theme import SPACE, set_role, theme

SIZE_TEXTS: dict[Size, str] = {
    "tiny": "tiny: seconds, for tests",
    "demo": "demo: minutes on a CPU",
    "base": "base: a GPU",
    "large": "large: several GPUs",
}
_NAME = Qt.ItemDataRole.UserRole


class PresetChooser(QFrame):
    """A popup with the list on the left and the selected preset on the right."""

    chosen = Signal(str, str)  # preset, size

    def __init__(self, parent: QWidget, button: str = "Choose") -> None:
        """``button``: label of the confirming button."""
        super().__init__(parent, Qt.WindowType.Popup)
        self._parent = parent
        self.setObjectName("preset_chooser")
        self.setAccessibleName("Choose a preset")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.line = QLineEdit(self)
        self.list = QListWidget(self)
        self.title = PlainLabel(self, wordWrap=True, role="heading")
        self.about = PlainLabel(self, wordWrap=True)
        self.paper = PlainLabel(self, wordWrap=True, role="small")
        self.needs = PlainLabel(self, wordWrap=True)
        self.sizes = QButtonGroup(self)
        self.button = QPushButton(button, self)
        self._families: list[tuple[QListWidgetItem, list[QListWidgetItem]]] = []  # heading, presets
        self._build()
        self.line.textChanged.connect(self._filter)
        self.line.installEventFilter(self)
        self.list.currentItemChanged.connect(self._describe)
        self.list.itemDoubleClicked.connect(self._choose)
        self.button.clicked.connect(self._choose)
        self.sizes.idClicked.connect(self._describe)
        theme().changed.connect(self._restyle)

    def _build(self) -> None:
        self.line.setPlaceholderText("Search presets by name, description, paper or requirement")
        self.line.setAccessibleName("Search presets")
        self.line.setClearButtonEnabled(True)
        self.list.setAccessibleName("Presets")
        self.list.setFixedWidth(38 * SPACE)
        self.list.setIconSize(QSize(16, 16))
        set_role(self.button, "primary")
        self.button.setToolTip("Use this preset (Enter)")
        text = QWidget(self)
        text.setProperty("role", "page")
        labels = (self.title, self.about, self.paper, self.needs)
        for label in labels:
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        vbox(*labels, None, into=text, margins=(SPACE, 0, SPACE, 0))
        area = QScrollArea(self)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(text)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        side = vbox((area, 1), spacing=STYLE_SPACING)
        for index, size in enumerate(SIZES):
            choice = QRadioButton(SIZE_TEXTS[size], self)
            choice.setToolTip(plain_tip(f"Alt+{index + 1}"))
            self.sizes.addButton(choice, index)
            side.addWidget(choice)
            QShortcut(QKeySequence(f"Alt+{index + 1}"), self).activated.connect(choice.click)
        side.addWidget(self.button)
        self.setTabOrder(self.sizes.buttons()[-1], self.button)  # in visual order
        body = hbox(self.list, (side, 1), spacing=2 * SPACE)
        vbox(self.line, (body, 1), into=self, margins=SPACE)

    def selected_size(self) -> Size:
        """The selected size."""
        return SIZES[max(0, self.sizes.checkedId())]

    def selected_preset(self) -> str:
        """The selected preset; "" for none."""
        item = self.list.currentItem()
        return str(item.data(_NAME)) if item is not None and item.data(_NAME) else ""

    def open(self, preset: str = "", size: str = "demo") -> None:
        """Open over the parent's window with ``preset`` and ``size`` selected."""
        if not self._families:
            self._fill()
        self.line.clear()
        self._filter()
        button = self.sizes.button(SIZES.index(size) if size in SIZES else 1)
        button.setChecked(True)
        for item in self._items():
            if item.data(_NAME) == preset:
                self.list.setCurrentItem(item)
        self._describe()
        window = self._parent.window()
        self.resize(min(96 * SPACE, window.width() - 4 * SPACE), min(72 * SPACE, window.height() - 8 * SPACE))
        self.move(window.mapToGlobal(QPoint((window.width() - self.width()) // 2, 5 * SPACE)))
        self.show()
        self.list.scrollToItem(self.list.currentItem(), QListWidget.ScrollHint.PositionAtCenter)
        self.line.setFocus(Qt.FocusReason.PopupFocusReason)

    def _fill(self) -> None:
        for family in FAMILIES:
            heading = QListWidgetItem(family.title)
            heading.setFlags(Qt.ItemFlag.NoItemFlags)
            heading.setFont(theme().font("small"))
            self.list.addItem(heading)
            self._families.append((heading, []))
            for preset in family.presets:
                item = QListWidgetItem(preset.title)
                item.setData(_NAME, preset.name)
                needs = ", ".join(need.label for need in preset_needs(preset.name))
                item.setToolTip(plain_tip(f"{preset.name}: needs {needs}" if needs else preset.name))
                spoken = f"{preset.title}, {family.title}{', ' + needs if needs else ''}"
                item.setData(Qt.ItemDataRole.AccessibleTextRole, spoken)
                self.list.addItem(item)
                self._families[-1][1].append(item)
        self._restyle()

    def _items(self) -> list[QListWidgetItem]:
        """The presets, without the headings."""
        return [item for _, items in self._families for item in items]

    def _restyle(self) -> None:
        """Update the icons to the colours of the theme."""
        dot = theme().icon("ph.circle-fill", "muted", scale=0.3)
        for item in self._items():
            needs = preset_needs(str(item.data(_NAME)))
            item.setIcon(theme().icon(ICONS[needs[0].kind], "muted") if needs else dot)

    def _filter(self) -> None:
        words = self.line.text().casefold().split()
        for heading, items in self._families:
            for item in items:
                item.setHidden(not matches(str(item.data(_NAME)), words))
            heading.setHidden(all(item.isHidden() for item in items))
        current = self.list.currentItem()
        if current is None or current.isHidden():
            first = next((item for item in self._items() if not item.isHidden()), None)
            self.list.setCurrentRow(self.list.row(first) if first is not None else -1)
        self._describe()

    def _describe(self, *_: object) -> None:
        name = self.selected_preset()
        self.button.setEnabled(bool(name))
        if not name:
            self.title.setText("No matching preset")
            for label in (self.about, self.paper, self.needs):
                label.clear()
            return
        preset = PRESETS[name]
        self.title.setText(preset.title)
        self.about.setText(preset.description)
        self.paper.setText(preset.paper)
        self.needs.setText("\n".join(f"• {need.sentence}" for need in preset_needs(name, self.selected_size())))

    def _choose(self, *_: object) -> None:
        name = self.selected_preset()
        if name:
            self.hide()
            self.chosen.emit(name, self.selected_size())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Move through the list with the arrow keys while the search box keeps the focus."""
        return handle_list_key(self.list, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if is_enter(event):
            self._choose()
        else:
            super().keyPressEvent(event)
