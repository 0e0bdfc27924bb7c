"""``python -m tests.benchmarks caption [--peer DIR]``: our captions against open_clip's own generate, in turn.

With ``--peer DIR``, a folder into which ``pip install --target DIR transformers==4.51.3`` was run, the peer is
open_clip's ``CoCa.generate`` in a process of its own (it does not run with a later transformers). Without it, the peer
is our search on an uncached decoder that does the same work: the image encoded once for each beam, the whole prefix
for each token.

All models are randomly initialised: speed does not depend on what was learnt.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from core.bench.results import BenchResult, alternate, result
from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import generate
from core.inference.generation.coca import CocaDecoder
from core.spec.children import python_command
from core.spec.errors import UserError
from core.spec.generation import GenerationSettings
from tests.benchmarks.caption_peer import BEAMS, LENGTH, MIN_LENGTH, random_coca, random_images
from tests.benchmarks.jpeg import jpeg_rows
from tests.benchmarks.uncached import UncachedDecoder

IMAGES = 4
IDS = SpecialTokens()
_LENGTHS = {"max_tokens": LENGTH - 2, "min_tokens": MIN_LENGTH - 1}
GREEDY = GenerationSettings.model_validate({"search": "greedy", **_LENGTHS})
BEAM = GenerationSettings.model_validate({"search": "beam", "beams": BEAMS, **_LENGTHS})

Peer = Callable[[str], tuple[float, list[list[int]]]]  # a search: seconds, and each image's tokens


def run(peer: Path | None = None) -> list[BenchResult]:
    """All rows; takes some minutes on two cores."""
    model = random_coca(0)
    images = random_images(IMAGES, 0)
    memory = _memory(model, images)  # before the rest: what earlier work has freed would hide some of it
    if peer is None:
        rows = _speed(model, images, _uncached(model, images), "uncached")
    else:
        with _OpenClip(peer) as theirs:
            rows = _speed(model, images, theirs, "open_clip")
            rows.append(_same_as_open_clip(model, images, theirs))
    rows.append(_against_floor(model, images))
    _say("JPEG")
    return [*rows, *_alone(model, images), memory, *jpeg_rows()]


def _speed(model: nn.Module, images: Tensor, peer: Peer, name: str) -> list[BenchResult]:
    """Greedy and beam search against ``peer``; ratios pair by pair."""
    peer("greedy")  # warm up
    rows = []
    for search, rounds, sorts in (
        ("greedy", 3, [(f"greedy, {IMAGES} images x {LENGTH} tokens, {name}", GREEDY, 12.0)]),
        ("beam", 2, [(f"{BEAMS} beams, {name}", BEAM, 15.0)]),
    ):
        ours: list[list[float]] = [[] for _ in sorts]
        theirs = []
        for round_ in range(rounds):
            _say(f"{search} search, round {round_ + 1} of {rounds}")
            for times, (_, settings, _) in zip(ours, sorts, strict=True):
                times.append(_seconds(model, images, settings))
            theirs.append(peer(search)[0])
        for times, (title, _, at_least) in zip(ours, sorts, strict=True):
            ratio = statistics.median(other / mine for mine, other in zip(times, theirs, strict=True))
            rows.append(result(title, statistics.median(times), statistics.median(theirs), "s", ratio, at_least))
    return rows


def _against_floor(model: nn.Module, images: Tensor) -> BenchResult:
    """Greedy search against what no exact search can do without: one encoding, and the weights read once per token.

    How often it is faster than another program depends on the machine; this shows how much could still be gained on it.
    """
    _say("greedy search: the floor of this machine")
    read = [part for name in ("text.transformer", "text_decoder") for part in model.get_submodule(name).parameters()]
    first = GREEDY.model_copy(update={"max_tokens": 1, "min_tokens": 0})

    def floor() -> float:
        start = _seconds(model, images, first)
        began = time.perf_counter()
        for part in read:
            part.sum()
        return start + (GREEDY.max_tokens - 1) * (time.perf_counter() - began)

    with torch.inference_mode():
        ours, least, ratio = alternate(lambda: _seconds(model, images, GREEDY), floor, 3)
    return result("  greedy, the floor: weights read once per token", ours, least, "s", 1 / ratio, None)


def _alone(model: nn.Module, images: Tensor) -> list[BenchResult]:
    """What needs no peer: exactness and batches."""
    rows = []
    for title, settings in (("greedy", GREEDY), (f"{BEAMS} beams", BEAM)):
        _say(f"{title}: the same captions as uncached")
        count = len(images) if title == "greedy" else 2
        same = share_of_same(model, images[:count], settings)
        rows.append(result(f"{title}: captions as uncached decoding's", same, 1.0, "share", same, 1.0))
    return [*rows, _batches(model)]


def _uncached(model: nn.Module, images: Tensor) -> Peer:
    decoder = UncachedDecoder(model)

    def peer(search: str) -> tuple[float, list[list[int]]]:
        started = time.perf_counter()
        made = generate(decoder, images, GREEDY if search == "greedy" else BEAM, ids=IDS)
        return time.perf_counter() - started, [list(captions[0].tokens) for captions in made]

    return peer


def _seconds(model: nn.Module, images: Tensor, settings: GenerationSettings) -> float:
    started = time.perf_counter()
    generate(model, images, settings)
    return time.perf_counter() - started


def share_of_same(model: nn.Module, images: Tensor, settings: GenerationSettings) -> float:
    """Share of images whose captions, tokens and number, equal those of uncached decoding."""
    ours = generate(model, images, settings)
    plain = generate(UncachedDecoder(model), images, settings, ids=IDS)
    same = [[c.tokens for c in mine] == [c.tokens for c in other] for mine, other in zip(ours, plain, strict=True)]
    return statistics.mean(same)


def _same_as_open_clip(model: nn.Module, images: Tensor, peer: Peer) -> BenchResult:
    _say("greedy: the same tokens as open_clip's")
    ours = [_as_open_clip(captions[0].tokens) for captions in generate(model, images, GREEDY)]
    theirs = [_until_end(tokens) for tokens in peer("greedy")[1]]
    same = statistics.mean(mine == other for mine, other in zip(ours, theirs, strict=True))
    return result("greedy: tokens as open_clip's", same, 1.0, "share", same, 1.0)


def _as_open_clip(tokens: Sequence[int]) -> list[int]:
    return [IDS.start, *tokens, IDS.end]


def _until_end(tokens: list[int]) -> list[int]:
    """Without the padding after the end."""
    return tokens[: tokens.index(IDS.end) + 1] if IDS.end in tokens else tokens


def _batches(model: nn.Module, count: int = 64, singles: int = 6) -> BenchResult:
    """Images per second in one batch, against one by one."""
    _say(f"{count} images in one batch")
    images = random_images(count, 1)

    def one_by_one() -> float:
        return singles / sum(_seconds(model, images[i : i + 1], GREEDY) for i in range(singles))

    ours, peer, ratio = alternate(lambda: count / _seconds(model, images, GREEDY), one_by_one, 2)
    return result(f"{count} images in one batch, one by one", ours, peer, "images/s", ratio, 4.0)


def _memory(model: nn.Module, images: Tensor) -> BenchResult:
    """Most memory over the model's while a beam search runs, against what its cached keys and values need."""
    _say("memory")
    # The libraries' own buffers come with the first images and stay; one token keeps next to nothing else.
    generate(model, images, GenerationSettings(search="greedy", max_tokens=1, min_tokens=0))
    used = _peak_rise(lambda: generate(model, images, BEAM)) / 2**20
    state, _ = CocaDecoder(model).start(images, [IDS.start], BEAMS, BEAM.max_tokens)
    needed = state.nbytes / 2**20
    return result(
        "memory over the model, 1.2 x cached keys and values", used, 1.2 * needed, "MiB", 1.2 * needed / used, 1.0
    )


def _peak_rise(work: Callable[[], Any]) -> float:
    """By how many bytes the process grew at most while ``work`` ran, sampled each millisecond."""
    process, over = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peak = before

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.001):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        over.set()
        watcher.join()
    return peak - before


class _OpenClip:
    """open_clip's generate in a process whose path begins with ``folder``."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "transformers").is_dir():
            raise UserError(
                f"{folder} holds no transformers; fill it with: pip install --target {folder} transformers==4.51.3"
            )
        root = Path(__file__).resolve().parents[2]
        path = os.pathsep.join([str(folder.resolve()), str(root), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            python_command("tests.benchmarks.caption_peer"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)},
            text=True,
        )

    def __enter__(self) -> _OpenClip:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its input, which ends it

    def __call__(self, search: str) -> tuple[float, list[list[int]]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"seed": 0, "images": IMAGES, "search": search}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise UserError("open_clip's generate ended early; its messages are above. It needs transformers 4.51.")
        answer = json.loads(line)
        return answer["seconds"], answer["tokens"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
