"""What workers of the Search panel answer when the test says so."""

from __future__ import annotations

from typing import Any

from sdgui.panels.search.panel import SearchPanel
from tests.sdgui.panels.scripted_workers import Worker, Workers


def facts(key: str, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "title": "val.csv", "source": "/val.csv", "model": key, "weights": "", "dim": 8, "images": 3,
        "captions": 3, "how": "exact, in memory", "notes": [], **more,
    }  # fmt: skip


def results(count: int = 3, **more: Any) -> Any:
    rows = [
        {
            "row": 10 + at, "path": f"/p/{at}.png", "there": at != 1, "caption": f"c{at}", "captions": [f"c{at}", "m"],
            "cosine": 0.9 - at / 10, "softmax": 0.5, "rank": at + 1, "above_cutoff": at == 0, "duplicates": [],
            "labels": {"tone": "dark", "x": ""}, "size": 2048, "time": 0.0,
        }
        for at in range(count)
    ]  # fmt: skip
    cutoff = {"cosine": 0.85, "rate": 0.001, "meaning": "few are above"}
    return {"rows": rows, "cutoff": cutoff, "above": 1, "searched": 9, "notes": [], "true_rank": None,
            "true_row": None, **more}  # fmt: skip


def opened(panel: SearchPanel, workers: Workers, side: int = 0, **more: Any) -> Worker:
    """This side's model has opened what is searched."""
    target = panel.sessions[side].target
    assert target is not None
    worker = workers[target.worker or target.model or target.index]
    worker.answer("search_open", facts(target.model or "made by", **more))
    return worker
