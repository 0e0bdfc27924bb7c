"""What tests of the Classify panel share: a run to choose, and what the worker was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from core.spec.config import RunConfig
from core.spec.files import write_whole
from core.spec.presets import preset_config
from sdgui.app.main_window import MainWindow
from sdgui.panels.classify.model import Evaluation, EvaluationResult, Method, Settings, Target, read_result
from sdgui.panels.classify.panel import ClassifyPanel

OpenClassify = Callable[..., ClassifyPanel]
Request = dict[str, Any]


def make_run(window: MainWindow, config: RunConfig | None = None) -> None:
    store = window.services.store
    config = config or preset_config("sd-clip", "tiny")
    run = store.add_run(store.add_experiment(config).id)
    run.dir.create()
    write_whole(run.dir.config, config.to_json().encode())
    checkpoint = run.dir.checkpoints / "step-00000003"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text('{"model": {}}', encoding="utf-8")
    for network in ("student", "teacher"):
        (checkpoint / f"{network}.safetensors").write_bytes(b"")
    window.reload()


def choose(qtbot: QtBot, panel: ClassifyPanel, data: Path) -> None:
    panel.view.source.data.set_source(str(data))
    qtbot.waitUntil(lambda: panel.view.source.data.facts() is not None, timeout=20000)


def classify(qtbot: QtBot, panel: ClassifyPanel, method: str = "image") -> None:
    there = {found.evaluation for found in panel.view.results.results()}
    panel.view.source.set_method(method)
    qtbot.mouseClick(panel.view.source.classify_button, Qt.MouseButton.LeftButton)
    wanted = 4 if method == "all" else len(there) + 1
    qtbot.waitUntil(lambda: len(panel.view.results.results()) == wanted and panel.view.strip.isHidden(), timeout=20000)


def asked(folder: Path, verb: str) -> list[Request]:
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    return [request for request in map(json.loads, lines) if request["do"] == verb]


CLASSES = ("cat", "dog", "fox")
#        true       predicted  images
CELLS = ((0, 0, 1, 2, 2), (0, 1, 1, 0, 2), (9, 1, 2, 3, 1))


def an_evaluation(method: Method = "image", model: str = "run@best", **settings: Any) -> Evaluation:
    target = Target(model=model, weights="teacher", title="demo · teacher", data="/data/images.csv", label="kind")
    return Evaluation(target, method, Settings(**settings))


def a_result(
    evaluation: Evaluation | None = None, cells: Any = CELLS, classes: Any = CLASSES, **fields: Any
) -> EvaluationResult:
    """A result without a worker: three classes, 16 images, 12 of them classified correctly."""
    share = {"value": 0.75, "low": 0.5, "high": 0.9}
    answer: dict[str, Any] = {
        "title": "probe",
        "samples": 16,
        "accuracy": share,
        "metrics": {"acc1": share, "acc5": {"value": 1.0, "low": 0.9, "high": 1.0}},
        "classes": list(classes),
        "per_class": [
            {"class": name, "index": i, "rows": 1, "accuracy": 0.5, "low": 0.1, "high": 0.9}
            for i, name in enumerate(classes)
        ],
        "confusion": dict(zip(("true", "predicted", "count"), map(list, cells), strict=True)),
        "C": 0.1,
        "curve": [[10.0, 0.5], [0.001, 0.4], [0.1, 0.6]],
        "mistakes": [],
        "mistake_count": 0,
        "can_save": True,
        "notes": [],
    }
    return read_result(evaluation or an_evaluation(), answer | fields)
