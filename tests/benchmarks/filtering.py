"""Precision and recall of the caption filter (``noise.caption_filter``) for several draws, rates and kinds of noise.

Flow: ``python -m tests.benchmarks.filtering OUT.json NAME=DATA.csv ... [--pretrained MODEL]`` writes rows to
``OUT.json``; `table` renders them for ``docs/results/caption-filter.md``. A row is ``{"data", "kind", "rate", "draw",
"pairs", "mismatched", "dropped", "precision", "found"}``: precision and recall ("found") in per cent, null if nothing
is dropped or mismatched. The noise is seeded in the same way as in a study with ``noise.seed: null``. Existing rows are
not computed again. With a pretrained model, the filter is the one of fine-tuning.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoint.opening import open_model
from core.data.dataset import PairDataset, open_dataset
from core.data.derived.noisy import mismatched_captions
from core.inference.encoder import encode_dataset
from core.objectives.weighting.caption_filter import describe_images
from core.objectives.weighting.model_fit import ModelFit
from core.objectives.weighting.words import clean_probability
from core.spec.config import override
from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.resources import resource_folder
from core.spec.study.config import NoiseKind
from core.studies.study.job import ignore_progress
from core.studies.study.statistics import mean_of
from core.studies.study.table import markdown_table

DRAWS = (10, 11, 12, 13, 14)
GROUP = "group"  # label column within which "in-group" noise shuffles captions
PUBLISHED = resource_folder("studies") / "caption-filter" / "draws.json"
CASES: tuple[tuple[NoiseKind, float], ...] = (
    ("shuffled", 0.0),
    ("shuffled", 0.2),
    ("shuffled", 0.3),
    ("shuffled", 0.4),
    ("shuffled", 0.6),
    ("in-group", 0.2),
    ("in-group", 0.3),
    ("in-group", 0.4),
    ("in-group", 0.6),
)


def evaluate_draw(
    descriptors: Tensor,
    captions: list[str],
    groups: list[str],
    kind: NoiseKind,
    rate: float,
    draw: int,
    fit: ModelFit | None = None,
) -> dict[str, Any]:
    """The row of one noise draw, for images with ``descriptors`` (P, F) and one caption each.

    ``fit``: how well the original captions fit according to a pretrained model.
    """
    originals = [(caption,) for caption in captions]
    changed = mismatched_captions(originals, rate, draw, kind, groups) if rate else originals
    mismatched = torch.tensor([new != old for new, old in zip(changed, originals, strict=True)])
    if fit is not None:
        first_row = {caption: row for row, caption in reversed(list(enumerate(captions)))}
        given = torch.tensor([first_row[caption] for (caption,) in changed])
        fit = replace(fit, texts=fit.texts[given])
    rows, texts = torch.arange(len(captions)), [caption for (caption,) in changed]
    dropped = clean_probability(descriptors, texts, rows, model_fit=fit) < 0.5
    dropped_mismatched, mismatched_count, dropped_count = (
        int(mask.sum()) for mask in (mismatched & dropped, mismatched, dropped)
    )
    return {
        "kind": kind,
        "rate": rate,
        "draw": draw,
        "pairs": len(captions),
        "mismatched": mismatched_count,
        "dropped": dropped_count,
        "precision": round(100 * dropped_mismatched / dropped_count, 1) if dropped_count else None,
        "found": round(100 * dropped_mismatched / mismatched_count, 1) if mismatched_count else None,
    }


def read_rows(path: Path = PUBLISHED) -> list[dict[str, Any]]:
    """The rows in a file that `main` wrote; by default the published rows."""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """``rows`` as Markdown: means over draws with Student's 95 % intervals, one line per data set, kind and rate."""
    lines = []
    for data, kind, rate in dict.fromkeys((row["data"], row["kind"], row["rate"]) for row in rows):
        draws = [row for row in rows if (row["data"], row["kind"], row["rate"]) == (data, kind, rate)]
        dropped = [100 * row["dropped"] / row["pairs"] for row in draws]
        remaining = [
            100 * row["mismatched"] * (1 - (row["found"] or 0) / 100) / (row["pairs"] - row["dropped"]) for row in draws
        ]
        columns = [dropped, [row["precision"] for row in draws], [row["found"] for row in draws], remaining]
        title = f"{100 * rate:g} % {kind}" if rate else "all clean"
        lines.append([data, title, str(len(draws)), *map(_cell, columns)])
    head = ["data", "captions", "draws", "dropped", "precision", "found", "mismatched among the rest"]
    return markdown_table(head, lines) + "\n"


def _cell(values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    mean = mean_of(numbers)
    return f"{mean.mean:.1f}" + ("" if mean.low is None else f" ({mean.low:.1f} to {mean.high:.1f})")


def main(arguments: list[str]) -> int:
    """Compute the missing rows, and write the file after each row."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.filtering")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("data", nargs="+", metavar="NAME=DATA.csv")
    parser.add_argument("--pretrained", default="", metavar="MODEL", help="a run: filter as in fine-tuning from it")
    options = parser.parse_args(arguments)
    out: Path = options.out
    rows: list[dict[str, Any]] = json.loads(out.read_text()) if out.exists() else []
    for name, _, source in (argument.partition("=") for argument in options.data):
        dataset = open_pairs(source)
        fit = encode_pairs(source, options.pretrained) if options.pretrained else None
        groups = [dataset.labels(row).get(GROUP, "") for row in range(len(dataset))]
        readable, descriptors = describe_images(dataset, None)
        assert torch.equal(readable, torch.arange(len(dataset)))
        cases = [(kind, rate, draw) for draw in DRAWS for kind, rate in CASES]
        for kind, rate, draw in cases:
            if (not rate and draw != DRAWS[0]) or (kind == "in-group" and not any(groups)):
                continue
            key = {"data": name, "kind": kind, "rate": rate, "draw": draw}
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append(
                {"data": name} | evaluate_draw(descriptors, list(dataset.captions), groups, kind, rate, draw, fit)
            )
            print(rows[-1], flush=True)
            write_whole(out, ("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n").encode())
    return 0


def encode_pairs(source: str, pretrained: str) -> ModelFit:
    """How well the captions of ``source`` fit according to the model ``pretrained``."""
    model = open_model(pretrained)
    network, towers = model.network, model.network.towers
    dataset = open_dataset(
        source, model.data, network.image_size, towers.tokenize, pad_id=towers.pad_id, progress=None, log=None
    )
    features = encode_dataset(network, dataset, model.runtime, model.batch, ignore_progress)
    return ModelFit(features.images, features.texts, float(network.logit_scale.detach()))


def open_pairs(source: str) -> PairDataset:
    config = override(preset_config("clip", "demo"), [f"data.train={source}"])
    return open_dataset(
        source, config.data, 96, lambda texts: torch.zeros(len(texts), 1, dtype=torch.long), pad_id=0, log=None
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
