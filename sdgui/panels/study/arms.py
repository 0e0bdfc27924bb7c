"""The list of possible arms of a study: presets and the store's experiments, with check boxes.

Flow: ``begin`` (a new study) or ``extend`` (an existing study) -> check boxes -> ``ticked`` -> ``StudyEditor``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from core.spec.config import ConfigError, RunConfig, override, read_config
from core.spec.presets import PRESETS, preset_config
from core.spec.run.logged import settings_of
from core.spec.study import VALID_NAME, Arm, Study
from sdgui.shared.form.texts import field_title, value_text
from sdgui.store.records import Experiment
from sdgui.widgets.formats import free_name
from sdgui.widgets.plain_text import plain_tip
from sdgui.widgets.style.theme import theme

_DEFAULT_ARMS = ("clip", "sd-clip")  # presets in a new study: a baseline and our method
_SOURCE_ROLE = Qt.ItemDataRole.UserRole  # preset name, experiment id, or None for an existing arm


class ArmsList(QListWidget):
    """The list. Checked items are arms; existing arms of a study being extended stay checked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._experiments: dict[int, Experiment] = {}  # by id
        self._present_arms: list[Arm] = []
        self.setAccessibleName("Presets and experiments used as arms")
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)  # long names are shortened

    def begin(self, experiments: Sequence[Experiment], ticked: set[int]) -> None:
        """Start a new study with the experiments ``ticked`` as arms, or if there are none, with method and baseline."""
        self._present_arms = []
        self._fill(experiments, ticked, () if ticked else _DEFAULT_ARMS)

    def extend(self, arms: Sequence[Arm], experiments: Sequence[Experiment]) -> None:
        """Start extending a study with the existing ``arms``."""
        self._present_arms = list(arms)
        self._fill(experiments, set(), ())

    def ticked(self) -> list[tuple[Arm, Experiment | None]]:
        """The new arms in the list's order, each with its experiment, or None for a preset."""
        arms: list[tuple[Arm, Experiment | None]] = []
        names = {arm.name for arm in self._present_arms}
        for row in range(self.count()):
            item = self.item(row)
            source = item.data(_SOURCE_ROLE)
            if source is None or item.checkState() != Qt.CheckState.Checked:
                continue
            if isinstance(source, str):
                name = free_name(source, names, "-")
                arms.append((Arm(name=name, preset=source), None))
            else:
                experiment = self._experiments[source]
                name = free_name(arm_name(experiment.name), names, "-")
                arms.append((Arm(name=name, config=f"arms/{name}.json"), experiment))
            names.add(name)
        return arms

    def _fill(self, experiments: Sequence[Experiment], ticked: set[int], presets: Sequence[str]) -> None:
        usable = [experiment for experiment in experiments if experiment.config is not None]
        self._experiments = {experiment.id: experiment for experiment in usable}
        unchanged_presets = {  # presets that are arms of the study without further settings
            arm.preset for arm in self._present_arms if arm.preset and arm == Arm(name=arm.preset, preset=arm.preset)
        }
        with QSignalBlocker(self):
            self.clear()
            for arm in self._present_arms:
                title = PRESETS[arm.preset].title if arm.name in unchanged_presets else arm.name
                item = self._add(f"{title} (in the study)", None, True)
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
            for experiment in usable:
                self._add(f"{experiment.name} (experiment)", experiment.id, experiment.id in ticked)
            for preset in PRESETS.values():
                if preset.name not in unchanged_presets:
                    item = self._add(preset.title, preset.name, preset.name in presets)
                    item.setToolTip(plain_tip(preset.description))

    def _add(self, title: str, source: str | int | None, ticked: bool) -> QListWidgetItem:
        item = QListWidgetItem(title)
        item.setData(_SOURCE_ROLE, source)
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if ticked else Qt.CheckState.Unchecked)
        self.addItem(item)
        return item


def arm_name(text: str) -> str:
    """``text`` as an arm name, which is valid as a folder name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:50] or "arm"
    return name if VALID_NAME.match(name) else "arm"


def arm_config(study: Study, arm: Arm) -> RunConfig:
    """The arm's config without data. Raises ConfigError if a setting is invalid."""
    base = preset_config(arm.preset, study.size) if arm.preset else read_config(Path(arm.config))
    return override(base, [*study.set, *arm.set])


def fill_arms(tree: QTreeWidget, study: Study) -> None:
    """Fill ``tree`` with the arms, their presets and their differences from the first arm."""
    tree.clear()
    first: dict[str, object] | None = None
    for arm in study.arms:
        origin = PRESETS[arm.preset].title if arm.preset else arm.config
        data = f", trained on {arm.train}" if arm.train else ""
        item = QTreeWidgetItem([arm.name, "", f"{origin}{data}"])
        tree.addTopLevelItem(item)
        try:
            settings = settings_of(arm_config(study, arm))
        except ConfigError as error:
            item.setText(2, str(error))
            item.setForeground(2, theme().color("error"))
            continue
        if first is None:
            first = settings
            continue
        for name, value in settings.items():
            if first.get(name) != value and name not in ("name", "preset"):
                row = QTreeWidgetItem([field_title(name), value_text(first.get(name)), value_text(value)])
                row.setToolTip(0, plain_tip(name))
                item.addChild(row)
        item.setText(1, "1 difference" if item.childCount() == 1 else f"{item.childCount()} differences")
    tree.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
