"""The worker in miniature for captions, without torch: what it says of an image follows from the file's name.

A model named "other" says it in capitals. A name with "bad" is refused, one with "die" (or such a prompt) ends the
process, one with "slow" takes long and can be cancelled, one with "later" comes somewhat later. A model "none" cannot
be opened.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from worker_loop import reply, serve


class Failed(Exception):
    pass


def about(request: dict[str, Any]) -> dict[str, Any]:
    model = str(request["model"])
    if "none" in model:
        raise Failed("none cannot caption: it has no decoder.")
    return {
        "model": model,
        "pretrained": "",
        "weights": request.get("weights", ""),
        "step": 30,
        "digest": "d" * 64,
        "precision": "fp32",
        "device": "cpu",
        "max_tokens": 12,
        "image_size": 32,
        "notes": [],
    }


def words(path: str, request: dict[str, Any], rank: int) -> dict[str, Any]:
    text = f"a {Path(path).stem} {['indeed', 'perhaps', 'hardly'][rank]}"
    prompt = request["settings"]["prompt"]
    text = f"{prompt} {text}" if prompt else text
    text = text.upper() if "other" in request["model"] else text
    return {"text": text, "log_prob": -1.0 - rank, "score": -0.25 * (1 + rank), "tokens": 4, "ended": True}


def caption(request: dict[str, Any], cancelled: set[int]) -> dict[str, Any]:
    known = about(request)
    number = request["id"]
    if request["settings"]["max_tokens"] > known["max_tokens"]:
        raise Failed("the caption settings cannot be used: max_tokens is above the model's context.")
    reply(id=number, event="partial", result={"collected": len(request["paths"]), "skipped": 0})
    for index, path in enumerate(request["paths"]):
        name = Path(path).name
        if "die" in name + request["settings"]["prompt"]:
            print("memory access fault", file=sys.stderr, flush=True)
            sys.exit(3)
        for _ in range(100 if "slow" in name else 16 if "later" in name else 0):
            if number in cancelled:
                raise Failed("cancelled")
            time.sleep(0.05)
        reply(id=number, event="progress", doing="captioning", done=index, total=len(request["paths"]))
        answer: dict[str, Any] = {"index": index, "path": path}
        if "bad" in name:
            answer["error"] = "it is no image"
        else:
            answer["captions"] = [words(path, request, rank) for rank in range(request["settings"]["captions"])]
        reply(id=number, event="partial", result=answer)
    return {"captioned": 1, "failed": 0, "skipped": 0, "seconds": 0.1, "notes": [], "settings": {}}


def answer(request: dict[str, Any], cancelled: set[int]) -> None:
    try:
        result = about(request) if request["do"] == "caption_open" else caption(request, cancelled)
        reply(id=request["id"], event="done", result=result)
    except Failed as error:
        reply(id=request["id"], event="failed", message=str(error), details="")


if __name__ == "__main__":
    serve(answer)
