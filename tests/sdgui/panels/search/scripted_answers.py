"""What workers of the Search panel answer when the test says so."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from sdgui.panels.search.panel import SearchPanel
from sdgui.panels.search.tabs.evaluation import EvaluationPane
from sdgui.panels.search.tabs.known_queries import KnownQuery
from sdgui.shared.pickers.entries import ModelChoice
from tests.sdgui.panels.scripted_workers import Worker, Workers

ONE = ModelChoice("open_clip:ViT-B-32,openai", "", "ViT-B-32")
TWO = ModelChoice("open_clip:RN50,openai", "", "RN50")


def facts(key: str, **more: Any) -> dict[str, Any]:
    return {
        "key": key, "title": "val.csv", "source": "/val.csv", "model": key, "weights": "", "dim": 8, "images": 3,
        "captions": 3, "search_method": "exact, in memory", "notes": [], **more,
    }  # fmt: skip


def results(count: int = 3, **more: Any) -> Any:
    rows = [
        {
            "row": 10 + at, "path": f"/p/{at}.png", "exists": at != 1, "caption": f"c{at}", "captions": [f"c{at}", "m"],
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
    worker.answer("search_open", facts(target.model or "made by") | more)
    return worker


def side_of(ranks: dict[str, float], **more: Any) -> dict[str, Any]:
    texts = [
        {"text": i, "caption": name, "row": i, "path": f"/{name}", "rank": rank}
        for i, (name, rank) in enumerate(ranks.items())
    ]
    images = [
        {"row": i, "path": f"/{name}", "captions": [name, "twice"], "rank": rank}
        for i, (name, rank) in enumerate(ranks.items())
    ]
    curve = {"k": [1, 5], "text_to_image": [0.25, 1.0], "image_to_text": [0.5, 1.0]}
    queries = {"text_to_image": len(texts), "image_to_text": len(images)}
    return {"text_to_image": texts, "image_to_text": images, "curve": curve, "queries": queries, **more}


def a_map(labels: tuple[str, ...] = ("warm", "cold", "warm"), method: str = "t-SNE") -> dict[str, Any]:
    images = [
        {"x": float(i), "y": float(i % 2), "row": 10 + i, "path": f"/{i}.png", "labels": {"tone": label}}
        for i, label in enumerate(labels)
    ]
    captions = [{"x": 0.5, "y": 0.5, "row": 11, "text": 0, "caption": "a cold one"}]
    return {"images": images, "captions": captions, "method": method}


def packed_map(answer: dict[str, Any]) -> dict[str, Any]:
    """The same answer as of a very large map."""

    def pack(values: Any, kind: str = "<i4") -> str:
        return base64.b64encode(np.asarray(values, kind).tobytes()).decode()

    both = [*answer["images"], *answer["captions"]]
    tones = list(dict.fromkeys(one["labels"]["tone"] for one in answer["images"]))
    packed = {
        "x": pack([one["x"] for one in both], "<f4"),
        "y": pack([one["y"] for one in both], "<f4"),
        "rows": pack([one["row"] for one in answer["images"]]),
        "texts": pack([one["text"] for one in answer["captions"]]),
        "owners": pack([one["row"] for one in answer["captions"]]),
        "labels": {
            "tone": {"values": tones, "codes": pack([tones.index(p["labels"]["tone"]) for p in answer["images"]])}
        },
    }
    return {"method": "t-SNE of all points by openTSNE", "images": [], "captions": [], "packed": packed}


def shown(pane: EvaluationPane) -> list[KnownQuery]:
    """The queries that the table shows, top to bottom."""
    return [pane.model.rows[row] for row in pane.model.visible_rows]
