"""``python -m tests.benchmarks caption``: our captions against uncached decoding, as open_clip's own generate does it.

The peer is our search on an uncached decoder that does the work of open_clip's: it encodes the image once for each
beam, and runs the whole prefix for each token. Models are randomly initialised: speed does not depend on training.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import psutil
import torch
from torch import Tensor, nn

from core.bench.results import BenchResult, result
from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import generate
from core.inference.generation.coca import CocaDecoder
from core.spec.generation import GenerationSettings
from tests.benchmarks.alternating import alternate
from tests.benchmarks.jpeg import jpeg_rows
from tests.benchmarks.uncached import UncachedDecoder

ARCHITECTURE = "coca_ViT-B-32"
LENGTH, MIN_LENGTH = 30, 5  # tokens, start and end included
BEAMS = 6
IMAGES = 4
IDS = SpecialTokens()
_LENGTHS = {"max_tokens": LENGTH - 2, "min_tokens": MIN_LENGTH - 1}
GREEDY = GenerationSettings.model_validate({"search": "greedy", **_LENGTHS})
BEAM = GenerationSettings.model_validate({"search": "beam", "beams": BEAMS, **_LENGTHS})


def random_coca(seed: int) -> nn.Module:
    """A randomly initialised CoCa, in evaluation; open_clip leaves the vocabulary's projection unset."""
    torch.manual_seed(seed)
    model: nn.Module = open_clip.create_model(ARCHITECTURE)
    projection = model.get_parameter("text_decoder.text_projection")
    nn.init.normal_(projection, std=projection.shape[0] ** -0.5)
    return model.eval()


def random_images(count: int, seed: int) -> Tensor:
    """Random colour patches with noise, as the model takes them: (count, 3, 224, 224)."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(count, 3, 7, 7, generator=generator) * 1.5
    smooth = nn.functional.interpolate(patches, size=224, mode="bilinear")
    return smooth + 0.3 * torch.randn(count, 3, 224, 224, generator=generator)


def run(peer: Path | None = None) -> list[BenchResult]:
    """All rows; takes some minutes on two cores."""
    model = random_coca(0)
    images = random_images(IMAGES, 0)
    memory = _memory(model, images)  # before the rest: what earlier work has freed would hide some of it
    rows = [*_speed(model, images), _against_floor(model, images)]
    _say("JPEG")
    return [*rows, *_alone(model, images), memory, *jpeg_rows()]


def _speed(model: nn.Module, images: Tensor) -> list[BenchResult]:
    """Greedy and beam search against uncached decoding; ratios pair by pair."""
    decoder = UncachedDecoder(model)

    _seconds(decoder, images, GREEDY)  # warm up
    rows = []
    for title, rounds, settings, at_least in (
        (f"greedy, {IMAGES} images x {LENGTH} tokens, uncached", 3, GREEDY, 12.0),
        (f"{BEAMS} beams, uncached", 2, BEAM, 15.0),
    ):
        _say(title)
        ours, theirs, ratio = alternate(
            partial(_seconds, model, images, settings), partial(_seconds, decoder, images, settings), rounds
        )
        rows.append(result(title, ours, theirs, "s", 1 / ratio, at_least))
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


def _seconds(model: nn.Module | UncachedDecoder, images: Tensor, settings: GenerationSettings) -> float:
    started = time.perf_counter()
    generate(model, images, settings, ids=IDS)
    return time.perf_counter() - started


def share_of_same(model: nn.Module, images: Tensor, settings: GenerationSettings) -> float:
    """Share of images whose captions, tokens and number, equal those of uncached decoding."""
    ours = generate(model, images, settings)
    plain = generate(UncachedDecoder(model), images, settings, ids=IDS)
    same = [[c.tokens for c in mine] == [c.tokens for c in other] for mine, other in zip(ours, plain, strict=True)]
    return statistics.mean(same)


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


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
