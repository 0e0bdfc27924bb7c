"""The worker in miniature for the Classify place, without torch: what is asked is written down, answers are known.

The linear probe gets 3 of 6 images of each class right, the teacher 5; zero-shot 2, the fused probe 4, the
neighbours 1. Wrong ones are taken for the next class. ``data`` named "broken" cannot be opened, "garbage" is answered
by what is no answer, "slow" takes long and can be cancelled, "many" has 1,000 classes. Every request is written to
``requests.jsonl`` in the folder that is given; a second argument is the name of one
more class, the first.
"""

from __future__ import annotations

import array
import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

from worker_loop import reply, serve

FOLDER = Path(sys.argv[1])
CLASSES = [*sys.argv[2:3], "cat", "Große Katze", "snow_leopard", "🐯 tiger"]
EACH = 6  # images of a class
RIGHT = {"zero-shot": 2, "linear-probe": 3, "fused-probe": 4, "knn": 1}
Request = dict[str, Any]


class Failed(Exception):
    pass


def key_of(**asked: Any) -> str:
    """A key that describes what it names, so that any process knows it."""
    return json.dumps(asked, sort_keys=True)


def result_named(key: str) -> dict[str, Any]:
    """What is known of a result by its key: right, names, data."""
    found = json.loads(key)
    return {"right": found["right"], "names": classes(found), "data": found["data"]}


def image(true: int, number: int) -> str:
    return str(FOLDER / "images" / f"{true % 4}-{number % 6}.png")


def open_data(request: Request, cancelled: set[int]) -> dict[str, Any]:
    name = Path(request["data"]).stem
    for done in range(200 if name == "slow" else 2):
        if request["id"] in cancelled:
            raise Failed("cancelled")
        reply(id=request["id"], event="progress", doing="encoding images", done=done, total=200)
        time.sleep(0.05 if name == "slow" else 0)
    if name == "garbage":
        return {"opened": 5, "model": {"layers": None}}
    if name == "broken":
        raise Failed("the label 'kind' has no value in any row of broken.csv; choose another label.")
    number = key_of(model=request["model"], weights=request["weights"], data=request["data"])
    split = {"source": request["data"], "skipped": [], "skipped_count": 0}
    skipped = {"skipped": [{"where": "row 7", "reason": "no label"}], "skipped_count": 3}
    return {
        "opened": number,
        "model": {"layers": ["before the projection", "embedding", "block 1"], "title": request["model"]},
        "classes": classes(request),
        "data": {**split, **skipped},
        "train": split,
        "val": None,
        "notes": ["3 of 27 rows have no label and are left out."],
    }


def classes(request: Request) -> list[str]:
    many = Path(request["data"]).stem == "many"
    return [f"class {number:03}" for number in range(1000)] if many else CLASSES


def measured(request: Request, kind: str, title: str) -> dict[str, Any]:
    opened = json.loads(request["opened"])
    names = classes(opened)
    right = RIGHT[kind] + 2 * (opened["weights"] == "teacher")
    size, wrong = len(names), EACH - right
    true = [i for i in range(size) for _ in range(2)]
    predicted = [place for i in range(size) for place in (i, (i + 1) % size)]
    counts = [n for _ in range(size) for n in (right, wrong)]
    cells = {
        name: base64.b64encode(array.array("i", values).tobytes()).decode()
        for name, values in (("true", true), ("predicted", predicted), ("count", counts))
    }
    share = right / EACH
    interval = {"value": share, "low": share - 0.1, "high": share + 0.1}
    number = key_of(right=right, data=opened["data"], kind=kind, title=title)
    probe = kind.endswith("probe")
    return {
        "result": number,
        "opened": request["opened"],
        "kind": kind,
        "title": title,
        "samples": EACH * size,
        "accuracy": interval,
        "metrics": {"acc1": interval, "acc5": {"value": 1.0, "low": 0.9, "high": 1.0}},
        "classes": names,
        "per_class": [
            {"class": name, "index": i, "rows": EACH, "accuracy": share, "low": share - 0.2, "high": share + 0.2}
            for i, name in enumerate(names)
        ],
        "confusion": cells,
        "C": 0.1 if probe else None,
        "curve": [[0.001, 0.4], [0.1, 0.6], [10.0, 0.5]] if probe else [],
        "mistakes": mistakes(number, 0, 60)["images"],
        "mistake_count": wrong * size,
        "can_save": probe,
        "notes": [f"{kind}: C was chosen on held-out rows."] if probe else [],
    }


def mistakes(number: str, offset: int, limit: int) -> dict[str, Any]:
    found = result_named(number)
    names, wrong = found["names"], EACH - found["right"]
    every = [
        {
            "image": image(i, n),
            "true": names[i],
            "predicted": names[(i + 1) % len(names)],
            "probability": 0.9 - 0.0001 * i,
        }
        for i in range(len(names))
        for n in range(wrong)
    ]
    return {"total": len(every), "images": every[offset : offset + limit]}


def cell(request: Request) -> dict[str, Any]:
    found = result_named(request["result"])
    true, predicted = request["true"], request["predicted"]
    size = found["right"] if true == predicted else EACH - found["right"]
    images = [{"image": image(true, n), "probability": 0.8} for n in range(size)]
    names = found["names"]
    return {"true": names[true], "predicted": names[predicted], "total": size, "images": images}


def compare(request: Request) -> dict[str, Any]:
    a, b = result_named(request["a"]), result_named(request["b"])
    if a["data"] != b["data"]:
        raise Failed("the two were evaluated on different data; evaluate both on the same data.")
    gap = (a["right"] - b["right"]) / EACH
    one = {
        "value": gap,
        "interval": {"low": gap - 0.05, "high": gap + 0.05, "level": 0.95},
        "p": 0.01,
        "significant": abs(gap) > 0.05,
    }
    names = a["names"]
    return {
        "differences": {"acc1": one, "acc5": {**one, "significant": False}},
        "per_class": [
            {"class": name, "index": i, "rows": EACH, "a": a["right"] / EACH, "b": b["right"] / EACH}
            for i, name in enumerate(names)
        ],
        "only_a": [{"image": image(0, 0), "true": names[0], "a": names[0], "b": names[1]}] if gap > 0 else [],
        "only_b": [{"image": image(0, 1), "true": names[0], "a": names[1], "b": names[0]}] if gap < 0 else [],
        "both_right": 12,
        "both_wrong": 6,
    }


def few_shot(request: Request) -> dict[str, Any]:
    curve: list[dict[str, Any]] = []
    for shots in (1, 2, 4):
        accuracy = 0.3 + 0.1 * shots
        curve.append({"shots": shots, "accuracy": accuracy, "low": accuracy - 0.05, "high": accuracy + 0.05})
        reply(id=request["id"], event="partial", result={"curve": list(curve)})
        time.sleep(0.05)
    return {"curve": curve, "notes": ["class cat has fewer than 4 images and gave all."]}


def tried(request: Request) -> dict[str, Any]:
    names = request["classes"]
    known = bool(request["probe"])
    return {
        "images": [
            {
                "image": path,
                "probe": [{"class": "cat", "probability": 0.75}, {"class": "tiger", "probability": 0.25}]
                if known
                else None,
                "zero_shot": [{"class": name, "probability": 1 / len(names)} for name in names] or None,
                "error": "it is no image" if path.endswith("bad.png") else "",
            }
            for path in request["images"]
        ]
    }


def load(request: Request) -> dict[str, Any]:
    if not Path(request["path"]).exists():
        raise Failed(f"there is no probe {request['path']}; choose another file.")
    number = key_of(path=request["path"])
    result = measured(request, "linear-probe", "saved") if request.get("opened") else None
    return {"probe": number, "classes": CLASSES, "C": 0.1, "path": request["path"], "result": result}


def apply(request: Request) -> dict[str, Any]:
    Path(request["out"]).write_text("filepath,class\n", encoding="utf-8")
    return {
        "path": request["out"],
        "images": 23,
        "classes": [{"class": "cat", "images": 23}],
        "unreadable": [{"where": "x.png", "reason": "it is torn"}],
        "unreadable_count": 1,
    }


def described(request: Request) -> dict[str, Any]:
    path = Path(request["source"])
    labels = {} if path.stem == "bare" else {"kind": len(classes({"data": str(path)})), "tone": 2}
    return {
        "source": str(path), "format": "CSV", "pairs": 24, "images": 24, "labels": labels, "bad": 0, "reasons": [],
    }  # fmt: skip


def result_of(request: Request, cancelled: set[int]) -> dict[str, Any]:
    do = request["do"]
    if do == "classify_open":
        return open_data(request, cancelled)
    if do == "classify_zero_shot":
        return measured(request, "zero-shot", "zero-shot")
    if do == "classify_probe":
        if request["kind"] == "fused" and "single" in json.loads(request["opened"])["model"]:
            raise Failed("the model has no fusion; there is no fused probe.")
        return measured(request, "fused-probe" if request["kind"] == "fused" else "linear-probe", "probe")
    if do == "classify_knn":
        return measured(request, "knn", "knn")
    if do == "classify_mistakes":
        return mistakes(request["result"], request["offset"], request["limit"])
    if do == "classify_save_probe":
        file = Path(request["path"])
        file.write_bytes(b"probe")
        file.with_suffix(".json").write_text("{}", encoding="utf-8")
        return {"path": str(file), "json": str(file.with_suffix(".json"))}
    answers = {
        "describe_source": described,
        "classify_apply": apply,
        "classify_few_shot": few_shot,
        "classify_cell": cell,
        "classify_compare": compare,
        "classify_try": tried,
        "classify_load_probe": load,
    }
    return answers[do](request)


def answer(request: Request, cancelled: set[int]) -> None:
    with (FOLDER / "requests.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(request) + "\n")
    try:
        reply(id=request["id"], event="done", result=result_of(request, cancelled))
    except (Failed, KeyError) as error:
        reply(id=request["id"], event="failed", message=str(error.args[0]), details="")


if __name__ == "__main__":
    serve(answer)
