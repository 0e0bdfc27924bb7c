"""The Define panel with a worker that knows one source of data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from sdgui.panels.define.panel import DefinePanel
from sdgui.shared.services import Services
from tests.sdgui.panels.scripted_workers import services_in

WORKER = """
import json, sys
print(json.dumps({"event": "ready"}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "shutdown":
        break
    if asked["do"] == "describe_source":
        facts = {"source": asked["source"], "format": "CSV", "pairs": 2555, "images": 2555,
                 "labels": {"concept": 55, "group": 9}, "bad": 0, "reasons": []}
        print(json.dumps({"id": asked["id"], "event": "done", "result": facts}), flush=True)
"""


@pytest.fixture
def services(qapp: object, tmp_path: Path) -> Iterator[Services]:
    (tmp_path / "worker.py").write_text(WORKER)
    with services_in(tmp_path / "home", [sys.executable, "-S", "-u", str(tmp_path / "worker.py")]) as services:
        yield services


@pytest.fixture
def define(qtbot: QtBot, services: Services) -> DefinePanel:
    panel = DefinePanel(services)
    qtbot.addWidget(panel)
    panel.resize(1000, 700)
    panel.show()
    return panel
