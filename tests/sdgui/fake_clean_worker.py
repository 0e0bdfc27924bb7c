"""A worker in miniature for the Clean panel: eight pairs, the first three shuffled, ``data`` "slow" and "broken"."""

from __future__ import annotations

import json
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from worker_loop import reply, serve

CAPTIONS = ("a cat", "a dog", "a hat", "a red kite", "an old boat", "a moon", "a star", "a sun")

RANKED: list[str] = []  # runs, by this process


def ranked(request: dict[str, Any]) -> dict[str, Any]:
    """Beliefs are 0.05, 0.15, ...; as many are listed as were asked for, at most six."""
    pairs = [
        {
            "row": i,
            "path": f"/images/{i}.png",
            "caption": caption,
            "match_score": 0.05 + i / 10,
            "clean_probability": 0.1 + i / 10,
            "rank": i + 1,
            "shuffled": i in (0, 1, 4),
            "suggestion": CAPTIONS[(i + 1) % len(CAPTIONS)],
        }
        for i, caption in enumerate(CAPTIONS)
    ]
    one_group = Path(request["data"]).name == "clean.csv"
    if one_group:
        pairs = [{**pair, "clean_probability": None} for pair in pairs]
    bins, shuffled = [0] * 1000, [0] * 1000
    for pair in pairs:
        bins[int(pair["match_score"] * 1000)] += 1
        shuffled[int(pair["match_score"] * 1000)] += pair["shuffled"]
    listed = 6 if "long" in request["data"] else 8
    return {
        "key": json.dumps({"model": request["model"], "data": request["data"]}),
        "model": request["model"],
        "data": request["data"],
        "pairs": 8,
        "mismatched": 0 if one_group else 3,
        "groups": 1 if one_group else 2,
        "shuffled": 3,
        "precision": 2 / 3,
        "listed": listed,
        "list": pairs[:listed],
        "bins": bins,
        "shuffled_bins": shuffled,
    }


def save_fixes(number: int, request: dict[str, Any]) -> None:
    """As the worker itself does; half a second of imports that other tests do not wait for."""
    fixed, kinds, errors = map(import_module, ("core.data.derived.fixed", "core.spec.data.fixes", "core.spec.errors"))
    to, fixes = Path(request["to"]), [kinds.Fix.model_validate(one) for one in request["fixes"]]
    try:
        made = fixed.save_fixed(request["data"], fixes, to, request["replace"])
    except errors.UserError as error:
        reply(id=number, event="failed", message=str(error), details="")
        return
    result = {"path": str(to), "record": str(kinds.record_path(to)), "images": made.images, "captions": made.captions}
    reply(id=number, event="done", result=result)


def answer(request: dict[str, Any], cancelled: set[int]) -> None:
    number = request["id"]
    data = str(request.get("data", ""))
    if request["do"] == "describe_source":
        facts = {"pairs": 8, "images": 8, "labels": {}, "bad": 0, "reasons": [], "format": "CSV"}
        reply(id=number, event="done", result={"source": request["source"], **facts})
    elif request["do"] == "noise_save":
        asked = {**request, "ranked": RANKED}
        Path(request["to"]).with_suffix(".asked.json").write_text(json.dumps(asked), encoding="utf-8")
        reply(id=number, event="done", result={"path": request["to"], "images": 5, "excluded": 3, "captions": 5})
    elif request["do"] == "fixes_save":
        save_fixes(number, request)
    elif request["do"] == "before_after":
        Path(request["to"]).write_text(json.dumps([request["before"], request["after"]]), encoding="utf-8")
        reply(id=number, event="done", result={"path": request["to"], "differences": {"R@1": [0.1, 0.0, 0.2]}})
    elif "broken" in data:
        reply(id=number, event="failed", message=f"{data} has no column title; add it.", details="")
    else:
        for done in range(200 if "slow" in data else 2):
            if number in cancelled:
                reply(id=number, event="failed", message="cancelled", details="")
                return
            reply(id=number, event="progress", doing="encoding images", done=done, total=200)
            time.sleep(0.05 if "slow" in data else 0)
        RANKED.append(request["model"])
        reply(id=number, event="done", result=ranked(request))


if __name__ == "__main__":
    serve(answer)
