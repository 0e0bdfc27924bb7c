"""Aligns form labels with their fields; Qt limits labels to 7/4 of a line from the row's top."""

from __future__ import annotations

from PySide6.QtWidgets import QFormLayout, QLabel, QLayoutItem

from sdgui.widgets.style.theme import SPACE

_LABEL, _FIELD = QFormLayout.ItemRole.LabelRole, QFormLayout.ItemRole.FieldRole
_LINE = 5 * SPACE  # px; taller fields have their label at the top


def align_labels(form: QFormLayout) -> None:
    """Make the label of each one-line field as high as the field; call this after adding all rows."""
    for row in range(form.rowCount()):
        label, field = form.itemAt(row, _LABEL), form.itemAt(row, _FIELD)
        widget = label.widget() if label is not None else None
        if isinstance(widget, QLabel) and field is not None and (height := _height(field)) <= _LINE:
            widget.setMinimumHeight(height)


def _height(field: QLayoutItem) -> int:
    """The height after styling, which Qt otherwise applies only when the field is about to be shown."""
    if (widget := field.widget()) is not None:
        widget.ensurePolished()
    elif (layout := field.layout()) is not None:
        for item in (layout.itemAt(index) for index in range(layout.count())):
            if item is not None and (part := item.widget()) is not None:
                part.ensurePolished()
        layout.invalidate()
    return field.sizeHint().height()
