"""Messages over the lower edge of a panel, so that nothing moves when they appear.

Flow: a panel calls ``lay_over`` once; after that, it only shows and hides the notices.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLayout, QVBoxLayout, QWidget

from sdgui.widgets.layouts.boxes import vbox
from sdgui.widgets.style.theme import SPACE

FOOT_HEIGHT = 5 * SPACE  # height of a row of buttons, or of a gallery's slider, at the lower edge


def lay_over(area: QWidget, content: QLayout, *notices: QWidget, lift: int = FOOT_HEIGHT) -> QVBoxLayout:
    """Fill ``area`` with ``content``, and lay ``notices`` over its lower edge, one below the other.

    ``lift``: distance in pixels from the edge, by default above a row of buttons; ``set_lift`` changes it in the
    returned layout. A notice raises itself (``raise_``) when it is shown.
    """
    grid = QGridLayout(area)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.addLayout(content, 0, 0)
    column = vbox(*notices, spacing=SPACE // 2)
    set_lift(column, lift)
    grid.addLayout(column, 0, 0, Qt.AlignmentFlag.AlignBottom)
    return column


def set_lift(notices: QVBoxLayout, lift: int) -> None:
    """Lay the notices ``lift`` pixels above the lower edge."""
    notices.setContentsMargins(2 * SPACE, 0, 2 * SPACE, 2 * SPACE + lift)
