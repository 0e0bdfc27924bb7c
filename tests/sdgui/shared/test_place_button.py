"""Where the next run trains: what the button says, what its menu offers, and the head that it stands in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from core.spec.errors import UserError
from core.spec.machines.answers import Facts, Gpu
from core.spec.machines.machine import LOCAL, Machine, this_computer
from sdgui.shared.experiment_header import PlaceButton
from sdgui.store.records import THIS_COMPUTER, Place


class Hosts(QObject):
    place_changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.place, self.known, self.broken = THIS_COMPUTER, dict[str, Facts](), False
        self.list = [this_computer(), Machine(name="r&d", host="rd"), Machine(name="slow", host="s", launcher="slurm")]
        self.machines = SimpleNamespace(list=SimpleNamespace(find=lambda name: self.list[0] if name == LOCAL else None))

    def listing(self) -> list[Machine]:
        if self.broken:
            raise UserError("The list cannot be read.")
        return self.list

    def facts(self, name: str) -> Facts | None:
        return self.known.get(name)

    def set_place(self, place: Place) -> None:
        self.place = place
        self.place_changed.emit(place)


@pytest.fixture
def hosts(qapp: object) -> Hosts:
    return Hosts()


@pytest.fixture
def button(qtbot: QtBot, hosts: Hosts) -> PlaceButton:
    button = PlaceButton(cast(Any, hosts))
    qtbot.addWidget(button)
    return button


def test_the_button_shows_where_the_next_run_trains(button: PlaceButton, hosts: Hosts) -> None:
    assert (button.text(), button.toolTip()) == (
        "This computer", "The next run trains on: This computer, the first free device"
    )  # fmt: skip
    icon = button.icon().cacheKey()
    hosts.set_place(Place("r&d", "0,1"))
    assert button.text() == "r&&d · GPU 0,1"
    assert button.icon().cacheKey() != icon
    assert button.accessibleName() == "Machine of the next run: r&d, GPU 0,1"
    for name, text in (("x" * 24, "x" * 24), ("x" * 25, "x" * 23 + "…")):
        hosts.set_place(Place(name))
        assert button.text() == text
    hosts.set_place(Place("a", "MIG-" + "x" * 40))
    assert button.text() == "a · GPU MIG-" + "x" * 20


def test_machines_are_offered_with_their_devices(button: PlaceButton, hosts: Hosts) -> None:
    gpus = [Gpu(index=0, name="A100", used=2048, memory=4096, users=["x"]), Gpu(index=1), Gpu(index=2, uuid="MIG-a")]
    hosts.known = {"r&d": Facts(host="x", gpus=gpus), "slow": Facts(host="x", gpus=gpus)}
    hosts.set_place(Place("r&d", "1"))
    button.places.aboutToShow.emit()
    this_computer, far, slow = button.places.actions()
    assert [(action.text(), action.menu() is None) for action in (this_computer, far, slow)] == [
        ("This computer", True), ("r&&d", False), ("slow", True)
    ]  # fmt: skip
    inner = far.menu()
    assert isinstance(inner, QWidget)
    devices = [action for action in inner.actions() if not action.isSeparator()]
    assert [(action.text(), action.isChecked()) for action in devices] == [
        ("First free GPU", False), ("GPU 0 · A100 · 2.0 of 4.0 GiB in use", False), ("GPU 1 · free", True),
        ("GPU 2 · free", False), ("All 2 GPUs", False),
    ]  # fmt: skip
    places = []
    for action in (this_computer, *devices, slow):
        action.trigger()
        places.append(hosts.place)
    assert places == [
        THIS_COMPUTER,
        *(Place("r&d", device) for device in ("", "0", "1", "MIG-a", "0,1")),
        Place("slow"),
    ]
    hosts.known["r&d"] = Facts(host="x", gpus=gpus[:1])
    button.fill()
    inner = button.places.actions()[1].menu()
    assert isinstance(inner, QWidget)
    assert "All" not in " ".join(action.text() for action in inner.actions())


def test_an_unreadable_list_leaves_this_computer(button: PlaceButton, hosts: Hosts) -> None:
    hosts.broken = True
    button.fill()
    assert [(action.text(), action.isEnabled()) for action in button.places.actions()] == [
        ("The list cannot be read.", False), ("This computer", True)
    ]  # fmt: skip
