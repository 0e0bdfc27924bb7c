"""The window without experiments: its purpose, the demo as the next step, and New."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from sdgui.widgets.actions import Actions
from sdgui.widgets.empty_state import EmptyState
from sdgui.widgets.style.theme import set_role


class Welcome(QWidget):
    """The empty window."""

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = EmptyState(
            "ph.flask",
            "Train self-distilling image-language models and explore what they learn",
            "An experiment defines what is trained and how: data, model, teacher, "
            "views, objectives. Launch it, watch its "
            "curves, then search held-out pictures with it. The demo draws 3,900 captioned pictures and trains on them "
            "in a few minutes, without a GPU.",
            "Try the demo",
            actions["demo"].shortcut().toString(),
        )
        self.state.activated.connect(actions["demo"].trigger)
        self.new = QPushButton(f"New experiment   {actions['new'].shortcut().toString()}", self)
        self.new.setToolTip(actions["new"].toolTip())
        set_role(self.new, "flat")
        self.new.clicked.connect(actions["new"].trigger)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addStretch(2)
        layout.addWidget(self.state)
        layout.addWidget(self.new, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(3)
