"""Rows of ``bench search`` about making an index: its speed, an update, and search as you type."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.bench.results import BenchResult, result
from core.checkpoint.opening import open_model
from core.inference.encoder import encode_images
from core.search.index.build import build_index
from core.search.index.encoding import BATCH
from core.spec.children import python_command
from tests.benchmarks.alternating import alternate

BIG = "open_clip:ViT-B-32"  # random weights: speed does not depend on what was learnt
LITTLE = "open_clip:sd-tiny"
DEMO = "open_clip:sd-demo"
TWO_MEGAPIXELS = (1632, 1224)


def build_rows(folder: Path, full: bool) -> list[BenchResult]:
    """All of them; the index folders and images go into ``folder``."""
    return [
        _speed(folder / "speed", 512 if full else 96, 3 if full else 1),
        *_unchanged(folder / "unchanged", 100_000 if full else 5_000),
        _typing(folder / "typing", 4_050 if full else 500),
    ]


def _speed(folder: Path, count: int, rounds: int) -> BenchResult:
    """Images per second while an index is built, against the encoder alone on ready tensors."""
    write_images(folder / "images", count, TWO_MEGAPIXELS, "jpg")
    model = open_model(BIG)
    size = model.network.image_size
    ready = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
    encode_images(model.network, ready, model.runtime)  # warm up
    number = iter(range(1_000))

    def ours() -> float:
        report = _build(BIG, folder / "images", folder / f"index-{next(number)}")
        return count / float(report["encoding"])

    def encoder() -> float:
        began = time.perf_counter()
        for _ in range(count // BATCH):
            encode_images(model.network, ready, model.runtime)
        return count // BATCH * BATCH / (time.perf_counter() - began)

    mine, theirs, ratio = alternate(ours, encoder, rounds)
    return result(f"build, {count} JPEGs of 2 MP, ViT-B-32", mine, theirs, "images/s", ratio, 0.8)


def _build(model: str, source: Path, folder: Path) -> dict[str, Any]:
    """Builds; ``encoding`` is how long that took from the first image on, in seconds."""
    first: list[float] = []

    def progress(doing: str, done: int, total: int) -> None:
        if doing == "encoding images" and not done:
            first.append(time.perf_counter())

    report = build_index(model, str(source), folder, progress, lambda text: None)
    return {"encoding": time.perf_counter() - first[0], "seconds": report.seconds}


def _unchanged(folder: Path, count: int) -> list[BenchResult]:
    write_images(folder / "images", min(count, 1000), (40, 40), "png", links=count)
    command = _command(LITTLE, folder / "images", folder / "index")
    subprocess.run(command, check=True, capture_output=True)
    report = build_index(LITTLE, str(folder / "images"), folder / "index", lambda *_: None, lambda text: None)
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.perf_counter() - began
    assert report.unchanged == count
    limit = 5.0
    return [
        result(f"{count:,} unchanged files, the work itself", report.seconds, limit, "s", limit / report.seconds, 1.0),
        result(f"{count:,} unchanged files, with the program's start", whole, limit, "s", limit / whole, 1.0),
    ]


def _typing(folder: Path, count: int) -> BenchResult:
    """From a request to its answer, through the worker's pipes, as somebody types."""
    write_images(folder / "images", count, (72, 72), "png")
    build_index(DEMO, str(folder / "images"), folder / "index", lambda *_: None, lambda text: None)
    words = "a smiling face with open hands"
    with subprocess.Popen(
        [*python_command("core"), "worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as worker:
        key = _ask(worker, do="search_open", index=str(folder / "index"))["key"]
        times = []
        for end in range(1, len(words) + 1):
            began = time.perf_counter()
            _ask(worker, do="search_query", key=key, texts=[words[:end]], k=100)
            times.append(1e3 * (time.perf_counter() - began))
        _send(worker, do="shutdown")
    median = statistics.median(times)
    return result(f"key press to 100 results of {count:,}, median", median, 150, "ms", 150 / median, 1.0)


def _send(worker: subprocess.Popen[str], **request: Any) -> None:
    assert worker.stdin is not None
    worker.stdin.write(json.dumps({"id": 1, **request}) + "\n")
    worker.stdin.flush()


def _ask(worker: subprocess.Popen[str], **request: Any) -> dict[str, Any]:
    _send(worker, **request)
    assert worker.stdout is not None
    while True:
        reply = json.loads(worker.stdout.readline())
        if reply["event"] == "failed":
            raise RuntimeError(reply["message"])
        if reply["event"] == "done":
            answer: dict[str, Any] = reply["result"]
            return answer


def _command(model: str, source: Path, index: Path) -> list[str]:
    return [*python_command("core"), "index", model, str(source), str(index)]


def write_images(folder: Path, count: int, size: tuple[int, int], suffix: str, links: int = 0) -> None:
    """``count`` different images of ``size`` (width, height); with ``links`` so many names for them."""
    folder.mkdir(parents=True)
    random_ = np.random.default_rng(0)
    width, height = size
    for i in range(count):
        coarse = random_.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        image.save(folder / f"{i:06d}.{suffix}", quality=90)  # which PNG has none of
    for i in range(count, links):
        (folder / f"{i:06d}.{suffix}").hardlink_to(folder / f"{i % count:06d}.{suffix}")
