"""The Data panel with answers that are given by hand, and what tests of it share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QComboBox
from pytestqt.qtbot import QtBot

from sdgui.app.start import make_application, make_services
from sdgui.panels.data.panel import DataPanel
from sdgui.panels.data.work import DataWork
from tests.sdgui.conftest import program

Asked = list[tuple[Any, ...]]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What was asked of the worker, which answers nothing by itself."""
    recorded: Asked = []
    for name in ("open", "check", "save"):
        monkeypatch.setattr(DataWork, name, lambda _self, *args, _name=name: recorded.append((_name, *args)))
    return recorded


@pytest.fixture
def panel(qtbot: QtBot, tmp_path: Path, requests: Asked) -> Iterator[DataPanel]:
    make_application()
    services = make_services(tmp_path / "home", worker=program("fake_worker.py"))
    panel = DataPanel(services)
    qtbot.addWidget(panel)
    panel.show()
    yield panel
    panel.work.wait()
    panel.view.gallery.close_threads()
    panel.view.groups.gallery.close_threads()
    services.pool.close()
    services.launcher.close()
    services.store.close()


def part(*names: str) -> dict[str, Any]:
    return {
        "paths": [f"/p/{name}.png" for name in names],
        "captions": [[f"a {name}"] for name in names],
        "labels": {"split": ["val" if name == "b" else "train" for name in names], "kind": ["x"] * len(names)},
    }


def facts(source: str, images: int, **more: Any) -> Any:
    return {
        "source": source, "format": "CSV", "images": images, "listed": images, "pairs": images,
        "distinct": images, "words": [0, 0, images], "median_words": 2.0, "captions": [[1, images]],
        "labels": {"kind": [{"value": "x", "images": images}]}, "values": {"kind": 1}, "split": "split", "bad": 0,
        "reasons": [], **more,
    }  # fmt: skip


def checked(source: str, **more: Any) -> Any:
    return {
        "source": source, "images": 3, "broken": [], "exact": [], "near": [], "exact_groups": 0, "near_groups": 0,
        "leaks": [], "leak_count": 0, "unreadable": {}, **more,
    }  # fmt: skip


def opened(qtbot: QtBot, panel: DataPanel, source: str, *names: str, **more: Any) -> None:
    panel.open(source)
    panel.work.part.emit(part(*names))
    panel.work.opened.emit(facts(source, len(names), **more))
    qtbot.waitUntil(lambda: panel.facts is not None and not panel._parts)


def choose(box: QComboBox, row: int) -> None:
    """As a user does in its list."""
    box.setCurrentIndex(row)
    box.activated.emit(row)


def captions(panel: DataPanel) -> list[str]:
    return [item.caption for item in panel.view.gallery.items()]
