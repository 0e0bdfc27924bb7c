"""The findings of a check: one line each, with a remedy where something does not work."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from core.spec.machines.answers import Finding
from sdgui.widgets.plain_text import PlainLabel
from sdgui.widgets.style.theme import SPACE, set_role, theme

_ICONS = {True: ("ph.check-circle-fill", "good"), False: ("ph.x-circle-fill", "error")}
_ICON = 16


class FindingList(QWidget):
    """Icon, subject and outcome of each finding; the remedy below a failed one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._findings: Sequence[Finding] = ()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(SPACE)
        self._grid.setVerticalSpacing(SPACE // 2)
        self._grid.setColumnStretch(2, 1)
        theme().changed.connect(self._restyle)

    def show_findings(self, findings: Sequence[Finding]) -> None:
        """Replace the findings."""
        self._findings = findings
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        row = 0
        for finding in findings:
            row = self._add(finding, row)
        wrong = sum(not finding.works for finding in findings)
        self.setAccessibleName(f"Check: {len(findings)} items, {wrong} to fix")
        self.setVisible(bool(findings))

    def _restyle(self) -> None:
        self.show_findings(self._findings)

    def _add(self, finding: Finding, row: int) -> int:
        name, role = _ICONS[finding.works]
        image = PlainLabel(self)
        image.setPixmap(theme().icon(name, role).pixmap(_ICON, _ICON))
        image.setAccessibleName("works" if finding.works else "does not work")
        subject, outcome = PlainLabel(finding.name, self), PlainLabel(finding.detail, self, wordWrap=True)
        set_role(outcome, "muted")
        top = Qt.AlignmentFlag.AlignTop
        self._grid.addWidget(image, row, 0, top)
        self._grid.addWidget(subject, row, 1, top)
        self._grid.addWidget(outcome, row, 2, top)
        if finding.works or not finding.remedy:
            return row + 1
        remedy = PlainLabel(finding.remedy, self, wordWrap=True)
        remedy.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._grid.addWidget(remedy, row + 1, 1, 1, 2)
        return row + 2
