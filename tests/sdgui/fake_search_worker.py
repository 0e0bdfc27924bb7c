"""The worker in miniature for the Search place, without torch: six images, ranks known beforehand.

The student finds caption i at rank i + 1, the teacher always at rank 1; for words the student lists images in order,
the teacher in reverse. Every request is written to ``requests.jsonl`` in the folder that is given. ``data`` "broken"
cannot be opened, "slow" takes long and can be cancelled, "pause" takes half a second; an index called "other" is
another model's, "moved" has images that are gone, "stamps" has two images. The words "wrong" cannot be searched
for, "slow" take a while. "garbage", as data or words, is answered by what is no answer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from worker_loop import reply, serve

FOLDER = Path(sys.argv[1])
CAPTIONS = ("a red circle", "a blue square", "a green star", "a yellow moon", "a black dot", "a white line")
LABELS = ("warm", "cold", "cold", "warm", "dark", "dark")
N = len(CAPTIONS)
Request = dict[str, Any]


class Failed(Exception):
    pass


def image(row: int, key: dict[str, str]) -> str:
    return str(FOLDER / ("gone" if Path(key["index"]).name == "moved" else "images") / f"{row}.png")


def size(index: str) -> int:
    return 2 if Path(index).name == "stamps" else N


def opened(request: Request, cancelled: set[int]) -> dict[str, Any]:
    slow = request["data"] == "slow"
    for done in range(100 if slow else 2):
        if request["id"] in cancelled:
            raise Failed("cancelled")
        reply(id=request["id"], event="progress", doing="encoding images", done=done, total=100)
        time.sleep(0.05 if slow else 0)
    if Path(request["data"]).name == "pause":
        time.sleep(0.5)
    if request["data"] == "garbage":
        return {"key": 5, "notes": None}
    if request["data"] == "broken":
        raise Failed("the table has no column filepath; name one.")
    if Path(request["index"]).name == "other":
        raise Failed("the index other was built with open_clip:A (weights 1), not open_clip:B (weights 2).")
    number = size(request["index"])
    asked = {name: request[name] for name in ("index", "model", "weights", "data")}
    return {
        "key": json.dumps(asked),
        "title": request["index"] or request["data"] or "val.csv",
        "source": "stamps.csv" if number < N else "val.csv",
        "model": request["model"] or "open_clip:ViT-B-32,openai",
        "weights": request["weights"],
        "dim": 8,
        "images": number,
        "captions": number,
        "search_method": "exact, in memory",
        "notes": ["1 of 3 segments are damaged."] if Path(request["index"]).name == "damaged" else [],
    }


def found(request: Request) -> dict[str, Any]:
    key = json.loads(request["key"])
    student = key["weights"] != "teacher"
    caption, words = request.get("caption"), [one.get("text") for one in request.get("texts", [])]
    if "wrong" in words:
        raise Failed("the terms of the query cancel out; change a weight or remove a term.")
    if caption is not None and caption >= size(key["index"]):
        raise Failed(f"there is no caption {caption}; there are {size(key['index'])}.")
    if "garbage" in words:
        return {"rows": [{"path": 5}], "notes": 1}
    if "slow" in words:
        time.sleep(0.3)
    order = list(range(N)) if student or caption is not None else list(reversed(range(N)))
    if caption is not None and not student:
        order = [caption, *(i for i in order if i != caption)]
    if (request["filters"].get("labels") or {}).get("tone"):
        order = [i for i in order if LABELS[i] in request["filters"]["labels"]["tone"]]
    rows = []
    for rank, i in enumerate(order, start=1):
        row: dict[str, Any] = {
            "row": i,
            "path": image(i, key),
            "exists": Path(image(i, key)).exists(),
            "caption": CAPTIONS[i],
            "captions": [CAPTIONS[i]],
            "labels": {"tone": LABELS[i]},
            "size": 2048,
            "time": 1e9,
            "cosine": 1 - rank / 10,
            "softmax": 1 / 2**rank,
            "rank": rank,
            "above_cutoff": rank <= 2,
            "duplicates": [],
        }
        rows.append({**row, "text": i} if request["find"] == "captions" else row)
    return {
        "rows": rows[: request["k"]],
        "cutoff": {"cosine": 0.75, "rate": 0.001, "meaning": "0.1% of unrelated images score above 0.750"},
        "above": 2,
        "searched": len(order),
        "notes": ["the query is long."] if any(len(word or "") > 1000 for word in words) else [],
        "true_rank": None if caption is None else order.index(caption) + 1.0,
        "true_row": caption,
    }


def evaluated(request: Request) -> dict[str, Any]:
    student = json.loads(request["key"])["weights"] != "teacher"
    key = json.loads(request["key"])
    number = size(key["index"])
    order = sorted(range(number), reverse=student)
    ranks = {i: i + 1.0 if student else 1.0 for i in order}
    texts = [{"text": i, "caption": CAPTIONS[i], "row": i, "path": image(i, key), "rank": ranks[i]} for i in order]
    images = [{"row": i, "path": image(i, key), "captions": [CAPTIONS[i]], "rank": ranks[i]} for i in order]
    curve = {"k": [1, 2, 3], "text_to_image": [0.2, 0.5, 1.0], "image_to_text": [0.1, 0.4, 1.0]}
    return {
        "recall": {},
        "curve": curve,
        "text_to_image": texts,
        "image_to_text": images,
        "queries": {"text_to_image": number, "image_to_text": number},
        "notes": [],
    }


def compared(request: Request) -> dict[str, Any]:
    key = json.loads(request["a"])
    only = [
        {"caption": CAPTIONS[i], "path": image(i, key), "rank_a": i + 1.0, "rank_b": 1.0, "text_a": i, "text_b": i}
        for i in range(request["k"], N)
    ]
    counts = {"only_a": 0, "only_b": len(only), "both": request["k"], "neither": 0}
    return {"at": request["k"], "pairs": N, "counts": counts, "only_a": [], "only_b": only}


def mapped(request: Request, method: str) -> dict[str, Any]:
    key = json.loads(request["key"])
    places = [(i / N - 0.5, (i % 2) - 0.5) for i in range(N)]
    images = [
        {"x": x, "y": y, "row": i, "path": image(i, key), "labels": {"tone": LABELS[i]}}
        for i, (x, y) in enumerate(places)
    ]
    captions = [{"x": x, "y": 0.0, "text": i, "caption": CAPTIONS[i], "row": i} for i, (x, _) in enumerate(places)]
    return {"method": method, "images": images, "captions": captions if request["captions"] else []}


def reasons(request: Request) -> dict[str, Any]:
    """The student looks at the upper left and at the last word, the teacher at the lower right and the first."""
    student = json.loads(request["key"])["weights"] != "teacher"
    words = request["text"].split()
    if "wrong" in words:
        raise Failed("only models with a ViT show why an image matches; choose such a model.")
    at = 0 if student else 3
    chosen = len(words) - 1 if student else 0
    return {
        "cosine": 0.3 if student else 0.4,
        "patches": [[float(2 * y + x == at) for x in range(2)] for y in range(2)],
        "words": [{"text": word, "relevance": float(i == chosen)} for i, word in enumerate(words)],
    }


def indexed(request: Request, cancelled: set[int]) -> dict[str, Any]:
    for done in range(100 if request.get("source") == "slow" else 2):
        if request["id"] in cancelled:
            raise Failed("cancelled")
        reply(id=request["id"], event="progress", doing="encoding images", done=done, total=100)
        time.sleep(0.05 if request.get("source") == "slow" else 0)
    counts = {"added": 4, "changed": 0, "removed": 1, "unchanged": 2, "unreachable": 0, "images": 6, "captions": 6}
    return {**counts, "bad": ["x.png: truncated"], "log": []}


def answer(request: Request, cancelled: set[int]) -> None:
    number, do = request["id"], request["do"]
    with (FOLDER / "requests.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(request) + "\n")
    try:
        if number in cancelled:
            raise Failed("cancelled")
        if do == "search_open":
            result = opened(request, cancelled)
        elif do == "search_query":
            result = found(request)
        elif do == "search_facets":
            result = {"folders": [str(FOLDER / "images")], "labels": {"tone": ["cold", "dark", "warm"]}}
        elif do == "search_evaluate":
            result = evaluated(request)
        elif do == "search_compare":
            result = compared(request)
        elif do == "search_map":
            reply(id=number, event="partial", result=mapped(request, "PCA"))
            result = mapped(request, "t-SNE")
        elif do == "search_why":
            result = reasons(request)
        elif do == "search_travel":
            result = {"path": request["to"], "frames": len(request["steps"])}
        elif do == "search_index":
            result = indexed(request, cancelled)
        elif do == "search_relocate":
            result = {"relocated": N}
        else:
            result = {"source": request["source"], "format": "folder", "pairs": 0, "images": N, "labels": {}}
            result |= {"bad": 0, "reasons": []}
        reply(id=number, event="done", result=result)
    except Failed as error:
        reply(id=number, event="failed", message=str(error), details="")


if __name__ == "__main__":
    serve(answer)
