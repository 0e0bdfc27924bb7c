"""Training and held-out subsets of the pairs by one artist, optionally with mismatched captions.

Manifests are written next to their sources, since a manifest must be in a folder above its images.
"""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import numpy as np

from core.data.derived.manifest import manifest
from core.data.derived.noisy import mismatched_captions
from core.spec.cells import unescape_cell
from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.resources import GENERAL
from core.spec.study.config import NoiseKind

SPLIT_SEED = 33  # selects the held-out pairs, which are the same for all cells
COLUMNS = ("concept", "group")

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """The rows of a manifest."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: unescape_cell(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; render it with packaging/icon_sets.py.") from error


def held_out_pairs(data: Path, source: str, count: int) -> Path:
    """A manifest of the ``count`` held-out pairs of the manifest ``source``, or of all its pairs if there are fewer."""
    rows = read_rows(data / source)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))[:count]
    return _write(data, f"test-{Path(source).stem}.csv", [rows[i] for i in sorted(order.tolist())])


def training_pairs(
    data: Path,
    source: str,
    held_out: int,
    pairs: int,
    mismatched: float,
    draw: int,
    replay: tuple[str, float] = ("", 0.0),
    kind: NoiseKind = "shuffled",
) -> Path:
    """A manifest of ``pairs`` training pairs of the manifest ``source``, drawn by ``draw``; a share ``mismatched`` has
    another pair's caption, with ``kind`` "in-group" one of the same group. ``replay``: another manifest, and the share
    of ``pairs`` to add from it.

    Raises UserError if there are too few pairs.
    """
    rows = read_rows(data / source)
    pool = np.random.default_rng(SPLIT_SEED).permutation(len(rows))[held_out:]
    if len(pool) < pairs:
        raise UserError(
            f"{data / source} has only {len(pool)} training pairs, fewer than {pairs}; lower pairs or held_out."
        )
    rng = np.random.default_rng([SPLIT_SEED, draw])
    sampled_rows = [rows[i] for i in sorted(rng.permutation(pool)[:pairs].tolist())]
    if mismatched:
        originals = [(row["title"],) for row in sampled_rows]
        captions = mismatched_captions(originals, mismatched, draw, kind, [row["group"] for row in sampled_rows])
        sampled_rows = [row | {"title": title} for row, (title,) in zip(sampled_rows, captions, strict=True)]
    name = f"train-{Path(source).stem}-{pairs}-{100 * mismatched:g}-{draw}"
    if kind != "shuffled":
        name += f"-{kind}"
    replay_manifest, share = replay
    if share:
        replayed = read_rows(data / replay_manifest)
        folder = Path(replay_manifest).parent
        selected = rng.permutation(len(replayed))[: round(share * pairs)].tolist()
        sampled_rows += [
            replayed[i] | {"filepath": (folder / replayed[i]["filepath"]).as_posix()} for i in sorted(selected)
        ]
        name += "-replay"
    return _write(data, f"{name}.csv", sampled_rows)


def anchor_texts(data: Path, manifest: str, kind: str) -> str:
    """The value of ``objectives.text_anchors.source`` for one of an arm's ``anchors``, with texts of ``manifest``."""
    if kind == "words":
        return GENERAL
    rows = [row for row in read_rows(data / manifest) if kind != "half" or _is_in_first_half(row["concept"])]
    column = "concept" if kind == "names" else "title"
    path = data / f"anchors-{Path(manifest).stem}-{kind}.txt"
    write_whole(path, "".join(f"{text}\n" for text in dict.fromkeys(row[column] for row in rows)).encode())
    return str(path)


def _is_in_first_half(concept: str) -> bool:
    return zlib.crc32(concept.encode()) % 2 == 0


def _write(data: Path, name: str, rows: list[Row]) -> Path:
    path = data / name
    pairs = ((row["filepath"], row["title"], [row.get(column, "") for column in COLUMNS]) for row in rows)
    write_whole(path, manifest(pairs, COLUMNS))
    return path
