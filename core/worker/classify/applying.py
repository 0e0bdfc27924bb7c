"""Applies a probe to a folder and writes each image's class and probabilities as CSV.

Flow: ``session`` -> **applying** -> features (`core.inference.extraction`, cached) -> the file. Unreadable images
are listed too, with the reason.

Legend: N images, K classes.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.checkpoint.opening import Model
from core.data.dataset import PairDataset, pack_source
from core.data.errors import BadRow
from core.data.preprocessing import decoding_for
from core.data.sources.rows import Row, Source
from core.inference.extraction import extract_layers
from core.inference.fusing import FusedEncoder, fused_features
from core.inference.images import find_images
from core.metrics.classification.probe import Probe
from core.spec.cells import escape_row
from core.spec.config import DataConfig
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.reporter import Progress

MAX_CLASS_COLUMNS = 200  # up to this many classes, each has its own column
BEST_CLASSES = 5  # with more classes, there are columns for this many of the most likely classes of each image


@dataclass(frozen=True)
class AppliedProbe:
    """The probabilities (N, K) of the readable images, and the unreadable images with reasons."""

    paths: list[str]
    probabilities: Tensor  # (N, K) float32
    unreadable: list[BadRow]


def image_set(paths: Sequence[str], model: Model, progress: Progress) -> PairDataset:
    """The images of files and folders, without captions or labels. Raises UserError if there are no images."""
    files = find_images(paths, progress).inputs
    rows = [Row(item.path, ("",)) for item in files if not item.error]
    bad_rows = [BadRow(item.path, item.error) for item in files if item.error]
    if not rows:
        reason = f" ({bad_rows[0]})" if bad_rows else ""
        raise UserError(f"there are no images in {', '.join(paths)}{reason}; choose a folder with images.")
    size = model.network.image_size
    config: DataConfig = model.data
    decoding = decoding_for(size, config)
    source = Source(", ".join(paths), "images", rows, bad_rows)
    return PairDataset(pack_source(source, torch.zeros(len(rows), 1, dtype=torch.int32)), decoding, None)


def apply_probe(
    probe: Probe, model: Model, layer: str, fused_encoder: FusedEncoder | None, paths: Sequence[str], progress: Progress
) -> AppliedProbe:
    """The probabilities of every image in ``paths``. Raises UserError if no image is readable."""
    dataset = image_set(paths, model, progress)
    if fused_encoder is not None:
        extracted = fused_features(fused_encoder, dataset, progress)
        features = extracted.values[fused_encoder.layer]
    else:
        extracted = extract_layers(model, dataset, [layer], progress)
        features = extracted.values[layer]
    progress("classifying", 0, 0)
    return AppliedProbe(
        [str(dataset.path(row)) for row in extracted.rows.tolist()], probe.probabilities(features), dataset.all_bad()
    )


def write_csv(applied: AppliedProbe, probe: Probe, file: Path) -> None:
    """Write ``filepath, class, probability``, probabilities of all (or the best) classes, and ``error``.

    Raises UserError if the file cannot be written.
    """
    all_classes = len(probe.classes) <= MAX_CLASS_COLUMNS
    ranks = range(1, min(BEST_CLASSES, len(probe.classes)) + 1)
    columns = (
        [f"p({name})" for name in probe.classes]
        if all_classes
        else [text for rank in ranks for text in (f"class {rank}", f"probability {rank}")]
    )
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(escape_row(["filepath", "class", "probability", *columns, "error"]))
    for path, row in zip(applied.paths, applied.probabilities, strict=True):
        first = int(row.argmax())
        if all_classes:
            columns_of_row: list[Any] = [f"{value:.6f}" for value in row.tolist()]
        else:
            values, best = row.topk(len(ranks))
            pairs = zip(best.tolist(), values.tolist(), strict=True)
            columns_of_row = [item for index, value in pairs for item in (probe.classes[index], f"{value:.6f}")]
        writer.writerow(escape_row([path, probe.classes[first], f"{float(row[first]):.6f}", *columns_of_row, ""]))
    for bad_row in applied.unreadable:
        writer.writerow(escape_row([bad_row.location, "", "", *[""] * len(columns), bad_row.reason]))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text.getvalue().encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose another folder.") from error


def summary(applied: AppliedProbe, probe: Probe, file: Path, shown: int) -> dict[str, Any]:
    """The answer, as plain data, with the first ``shown`` unreadable images."""
    classes = Counter(probe.classes[index] for index in applied.probabilities.argmax(dim=1).tolist())
    return {
        "path": str(file),
        "images": len(applied.paths),
        "classes": [{"class": name, "images": count} for name, count in classes.most_common()],
        "unreadable": [{"where": bad_row.location, "reason": bad_row.reason} for bad_row in applied.unreadable[:shown]],
        "unreadable_count": len(applied.unreadable),
    }
