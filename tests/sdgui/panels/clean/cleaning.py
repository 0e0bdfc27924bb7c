"""What tests of the Clean panel share: a run to rank with, and what a user does there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QProcess, Qt
from pytestqt.qtbot import QtBot

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from sdgui.panels.clean.model import RankedPairs
from sdgui.panels.clean.panel import CleanPanel
from sdgui.shared.services import Services

Open = Callable[..., CleanPanel]


def make_run(services: Services, folder: Path, data: Path, name: str = "clip", checkpoint: bool = True) -> int:
    """A run of these training data in the store; returns its number."""
    run = RunDir(folder)
    data.write_text("filepath,title\n", encoding="utf-8")
    run.create()
    if checkpoint:
        place = run.checkpoints / "step-00000003"
        place.mkdir()
        (place / "checkpoint.json").write_text(json.dumps({"step": 3}), encoding="utf-8")
        for network in ("student", "teacher"):
            (place / f"{network}.safetensors").touch()
        for checkpoint_name in ("last", "best"):
            (run.checkpoints / checkpoint_name).write_text("step-00000003", encoding="ascii")
    config = override(preset_config("clip", "tiny"), [f"data.train={data}"]).model_copy(update={"name": name})
    run.config.write_text(config.to_json(), encoding="utf-8")
    return services.store.import_run(run.path).id


def close(place: CleanPanel, qtbot: QtBot) -> None:
    place.work.background.wait()
    place.view.gallery.close_threads()
    place._services.pool.shutdown()
    qtbot.waitUntil(lambda: not place._services.pool.findChildren(QProcess), timeout=10000)
    place._services.launcher.close()


def ranked(qtbot: QtBot, place: CleanPanel) -> RankedPairs:
    place.rank()
    qtbot.waitUntil(lambda: place.ranked is not None and not place.view.strip.isVisible(), timeout=15000)
    assert place.ranked is not None
    return place.ranked


def press(qtbot: QtBot, place: CleanPanel, *keys: Qt.Key) -> None:
    for key in keys:
        qtbot.keyClick(place.view.gallery.view, key)


BELIEFS = (0.1, 0.2, 0.4, 0.8)


def some_pairs(names: str = "abcd", total: int = 4, shuffled: int | None = None, **more: Any) -> dict[str, Any]:
    """An answer of ``noise_open``: four pairs are listed, the first is shuffled where that is known."""
    bins = [0] * 1000
    for score in BELIEFS:
        bins[int(score * 1000)] += 1
    bins[990] += total - len(BELIEFS)
    pairs: list[dict[str, Any]] = [
        {
            "path": f"/{name}.png",
            "caption": name,
            "match_score": score,
            "clean_probability": 1 - score,
            "rank": rank,
            "shuffled": None,
        }
        for rank, (name, score) in enumerate(zip(names, BELIEFS, strict=True), start=1)
    ]
    pairs[3]["clean_probability"] = None
    if shuffled is not None:
        for row, truth in enumerate((True, False, False, None)):
            pairs[row]["shuffled"] = truth
    return {
        "list": pairs, "key": "k", "model": "m", "data": "/d.csv", "pairs": total, "mismatched": 2, "groups": 2,
        "shuffled": shuffled, "precision": None, "bins": bins,
        "shuffled_bins": None, **more,
    }  # fmt: skip
