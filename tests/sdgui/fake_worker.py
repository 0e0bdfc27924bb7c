"""The worker in miniature, without torch: four captions over four pictures, ranks known beforehand.

The student finds caption i at rank i + 1, the teacher always at rank 1. ``data`` "broken" cannot be opened; ``data``
"slow" takes long and can be cancelled.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

CAPTIONS = ("a red circle", "a blue square", "a green star", "a yellow moon")
PICTURES = tuple(f"/pictures/{i}.png" for i in range(len(CAPTIONS)))


class Failed(Exception):
    pass


def reply(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def opened(request: dict[str, Any], cancelled: set[int]) -> dict[str, Any]:
    for done in range(40 if request.get("data") == "slow" else 2):
        if request["id"] in cancelled:
            raise Failed("cancelled")
        reply(id=request["id"], event="progress", doing="student: encoding", done=done, total=40)
        time.sleep(0.05 if request.get("data") == "slow" else 0)
    if request.get("data") == "broken":
        raise Failed("the table has no column filepath; name one.")
    entries = [{"caption": c, "image": p, "row": i} for i, (c, p) in enumerate(zip(CAPTIONS, PICTURES, strict=True))]
    recall = {"text_to_image_R@1": 0.25, "text_to_image_R@5": 1.0, "text_to_image_R@10": 1.0}
    return {
        "step": 30,
        "name": request["checkpoint"],
        "weights": ["student", "teacher"],
        "pictures": len(PICTURES),
        "captions": entries,
        "ranks": {"student": [1, 2, 3, 4], "teacher": [1, 1, 1, 1]},
        "recall": {"student": recall, "teacher": recall},
    }


def search(request: dict[str, Any]) -> dict[str, Any]:
    caption = request.get("caption")
    k = 3  # fewer than there are, so that a true picture can be outside
    true = caption if caption is not None else -1
    others = [i for i in range(len(PICTURES)) if i != true]
    student = others if caption is None else [*others[:caption], caption, *others[caption:]]
    teacher = others if caption is None else [caption, *others]
    answer: dict[str, Any] = {"true_rank": {"student": None, "teacher": None}}
    for network, order in (("student", student), ("teacher", teacher)):
        if caption is not None:
            answer["true_rank"][network] = order.index(caption) + 1
        answer[network] = [
            {"image": PICTURES[i], "caption": CAPTIONS[i], "score": 1 / rank, "rank": rank, "true": i == true}
            for rank, i in enumerate(order[:k], start=1)
        ]
    return answer


def answer(request: dict[str, Any], cancelled: set[int]) -> None:
    try:
        result = opened(request, cancelled) if request["do"] == "open" else search(request)
        reply(id=request["id"], event="done", result=result)
    except Failed as error:
        reply(id=request["id"], event="failed", message=str(error), details="")


def main() -> None:
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()
    cancelled: set[int] = set()

    def listen() -> None:
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "cancel":
                cancelled.add(request["id"])
            elif request["do"] == "shutdown":
                break
            else:
                waiting.put(request)
        waiting.put(None)

    threading.Thread(target=listen, daemon=True).start()
    reply(event="ready")
    while (request := waiting.get()) is not None:
        answer(request, cancelled)


if __name__ == "__main__":
    main()
